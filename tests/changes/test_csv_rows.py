"""The lines of a piece of CSV, and the key of each: whatever is in the values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_smartech.changes.csv_rows import lines_and_keys
from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.extracts import csv_format

TEXTS = st.none() | st.text(st.sampled_from('ab",\n\r \\é\x0b\x85\u2028'), max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[list[str | None]], int]:
    """Rows of texts, and the position of the key."""
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(TEXTS, min_size=width, max_size=width), min_size=1, max_size=5))
    return rows, draw(st.integers(0, width - 1))


def line_of(row: list[Any]) -> bytes:
    return csv_format.lines([row], [""] * len(row))


def key_of(row: list[Any], key: int) -> bytes:
    """The text of a key as it stands in its line."""
    # A second column, because one that is alone is never empty.
    return line_of([row[key], None] if len(row) > 1 else [row[key]]).removesuffix(b"\n").removesuffix(b",")


@given(tables())
@example(([["a", "b"], ["c\rd", "e"]], 1))
@example(([["a", None], [None, "b"]], 1))
@example(([["a", '"'], ["\n,", ""]], 0))
def test_each_row_gives_its_line_and_the_text_of_its_key(table: tuple[list[list[str | None]], int]) -> None:
    rows, key = table
    lines, keys = lines_and_keys(csv_format.lines(rows, [""] * len(rows[0])), len(rows), key)
    assert lines == [line_of(row) for row in rows]
    assert keys == [key_of(row, key) for row in rows]


def test_a_key_has_the_same_text_in_every_piece() -> None:
    for key in (0, 1):
        rows = [["a", "a"], ["b", "b"]]
        without = lines_and_keys(b"a,a\nb,b\n", 2, key)
        beside_quotes = lines_and_keys(b'a,a\nb,b\n"x,y","x,y"\n', 3, key)
        assert without[1] == beside_quotes[1][:2] == [row[key].encode() for row in rows]


def test_a_carriage_return_that_is_not_quoted_ends_no_line() -> None:
    assert lines_and_keys(b"a,x\ry\nb,z\r\n", 2, 0) == ([b"a,x\ry\n", b"b,z\r\n"], [b"a", b"b"])


@pytest.mark.parametrize("piece", [b"a,1\nb,2\n", b'"a",1\nb,2\n', b'a,"1\nb,2\n', b""])
def test_lines_that_cannot_be_told_apart_are_refused(piece: bytes) -> None:
    with pytest.raises(ContactsRefused, match="cannot be told apart"):
        lines_and_keys(piece, 3, 0)
