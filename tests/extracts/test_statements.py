"""Where a query ends."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.extracts.base import Extract, Query
from airflow_provider_smartech.extracts.query_errors import Shown
from tests.support.extracts import collected


@pytest.mark.parametrize(
    "end",
    [
        *(";", " ;\n", ";;", "; -- done", "\n;\n-- it's done; really\n", "; /* don't; */ -- x"),
        *(" -- done;", "/* x */;", "; -- 'a' \"b\" $$c$$ /* d"),
    ],
)
def test_semicolons_and_comments_at_the_end_disturb_nothing(way: Callable[[], Extract], end: str) -> None:
    found = collected(way(), f"""SELECT 'x; -- y' AS "a; -- b", $$; /* '$$ AS c{end}""")
    assert (found.names, found.content) == (["a; -- b", "c"], b"x; -- y,; /* '\n")


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("SELECT 'back\\' AS a, '; -- y'", "SELECT 'back\\' AS a, '; -- y'"),
        ("SELECT 'back\\';", "SELECT 'back\\'"),
        ("SELECT 'it\\'s; -- y'", "SELECT 'it\\'s; -- y'"),
        ("SELECT 'it\\'s'; -- it's", "SELECT 'it\\'s'; -- it's"),
        ("SELECT `a; -- b`; -- c", "SELECT `a; -- b`"),
        ("SELECT 5 # 3; -- c", "SELECT 5 # 3"),
        ("SELECT 1; -- c", "SELECT 1"),
        ("SELECT 1; SELECT 2; -- c", "SELECT 1; SELECT 2"),
        ("SELECT 'open; -- c", "SELECT 'open; -- c"),
        ("SELECT 1 # don't\n;", "SELECT 1 # don't\n"),
        ("SELECT $1 + $2; -- $1", "SELECT $1 + $2"),
        ("SELECT 1 - 1 / 2 -- c; d", "SELECT 1 - 1 / 2 -- c; d"),
    ],
)
def test_nothing_is_cut_from_a_query_but_what_surely_follows_it(sql: str, kept: str) -> None:
    assert Query.of(sql).sql == f"{kept}\n"


def test_several_statements_are_an_error(way: Callable[[], Extract]) -> None:
    with pytest.raises((ContactsRefused, Shown)) as caught:
        collected(way(), "SELECT 1 AS a; SELECT 2 AS a")
    assert re.search("more than one statement|multiple commands|syntax error", said(caught.value))


def said(error: BaseException) -> str:
    return str(error.error if isinstance(error, Shown) else error)


def test_a_percent_sign_a_comment_and_odd_names_disturb_nothing(way: Callable[[], Extract]) -> None:
    found = collected(way(), """SELECT '100%' AS "per ""cent"" %s", 'x' AS "a,b" -- the end""")
    assert (found.names, found.content) == (['per "cent" %s', "a,b"], b"100%,x\n")
