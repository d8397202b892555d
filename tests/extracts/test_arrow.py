"""Arrow's batches as lines of CSV."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from airflow_provider_smartech.errors import ContactsRefused
from tests.support.extracts import AnyHook, arrow_adbc, arrow_of, collected, connection_of, through
from tests.support.postgres import PostgresServer


def test_money_is_refused_where_it_would_lose_its_unit(postgres: PostgresServer) -> None:
    extract: Any = arrow_adbc(postgres.uri)
    with closing(connection_of(extract)), pytest.raises(ContactsRefused, match=r"'odd' has the type money"):
        collected(extract, "SELECT 12::money AS odd")


VIEWS = ["a@example.com", None, " \t", 'b, "c"', "a@example.com"]


def test_views_of_text_are_written_and_looked_at_as_text() -> None:
    views = pa.array(VIEWS, pa.string_view())
    shared = pa.DictionaryArray.from_arrays(
        pa.array([0, None, 1, 2, 0], pa.int8()), pa.array(["a@example.com", " \t", 'b, "c"'], pa.string_view())
    )
    for columns in ([views, shared], [shared, views]):
        batch = pa.RecordBatch.from_arrays(columns, ["a", "b"])
        for key in (0, 1):
            found = arrow_of(batch, key=key)
            quoted = '"b, ""c"""'
            lines = [f"{text},{text}\n" for text in ("a@example.com", quoted, "a@example.com")]
            assert (found.content.decode(), found.skipped) == ("".join(lines), 2)


def test_duckdb_s_largest_numbers_keep_their_digits() -> None:
    for number in (2**127 - 1, -(2**127)):
        assert through(AnyHook(duckdb.connect), f"SELECT '{number}'::HUGEINT AS a")[1] == f"{number}\n".encode()


@pytest.mark.parametrize(
    "value", ["'infinity'::timestamp", "'infinity'::date", "'0044-03-15 (BC)'::date", "'24:00:00'::time"]
)
def test_times_that_arrow_cannot_write_are_refused(value: str) -> None:
    with pytest.raises(ContactsRefused, match=r"column 'odd' has a date or time outside"):
        through(AnyHook(duckdb.connect), f"SELECT {value} AS odd")
