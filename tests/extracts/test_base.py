"""What every way to read a query has in common."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Callable
from typing import Any

import adbc_driver_postgresql.dbapi
import duckdb
import psycopg
import psycopg2
import psycopg2.extras
import pytest

from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.extracts.arrow import ArrowExtract
from airflow_provider_smartech.extracts.base import Extract
from airflow_provider_smartech.extracts.dbapi import DbApiExtract
from airflow_provider_smartech.extracts.postgres import CopyExtract
from tests.support.extracts import SMALL, SMALL_CSV, AnyHook, collected, connection_of, through
from tests.support.postgres import PostgresServer

MANY = """SELECT i AS id, CASE WHEN i % 10 = 0 THEN NULL WHEN i % 10 = 1 THEN E' \\t\\n' ELSE 'c' || i END AS email
          FROM generate_series(1, 5000) AS i ORDER BY i"""


def test_rows_with_a_null_or_blank_key_are_left_out_and_counted(way: Callable[[], Extract]) -> None:
    found = collected(way(), MANY, key=1)
    assert (found.rows, found.skipped) == (4000, 1000)
    assert found.content.decode().splitlines() == [f"{i},c{i}" for i in range(1, 5001) if i % 10 > 1]


def test_a_key_that_is_a_number_is_missing_only_if_it_is_null(way: Callable[[], Extract]) -> None:
    found = collected(way(), "SELECT * FROM (VALUES (0), (NULL), (7)) AS c (id)", key=0)
    assert (found.content, found.skipped) == (b"0\n7\n", 1)


@pytest.mark.parametrize("per_file", [1, 999, 1000, 4000, 4001])
def test_no_piece_holds_more_rows_than_the_file_has_room_for(way: Callable[[], Extract], per_file: int) -> None:
    found = collected(way(), MANY, key=1, per_file=per_file)
    full, rest = divmod(4000, per_file)
    assert [rows for _, rows in found.files] == [per_file] * full + [rest] * bool(rest)
    assert [content.count(b"\n") for content, _ in found.files] == [rows for _, rows in found.files]


def test_without_rows_the_columns_are_known_all_the_same(way: Callable[[], Extract]) -> None:
    found = collected(way(), "SELECT 1 AS id, 'x' AS name WHERE false")
    assert (found.names, found.content, found.rows) == (["id", "name"], b"", 0)


@pytest.mark.parametrize("value", ["'; DROP TABLE x; --", "O'Neil", "back\\slash", "100%", "{braces}", "%s"])
def test_parameters_are_bound_by_the_driver(way: Callable[[], Extract], value: str) -> None:
    extract = way()
    mark = "$1" if "adbc" in type(connection_of(extract)).__module__ else "%s"
    found = collected(extract, f"SELECT {mark}::text AS name", [value])
    assert next(csv.reader(io.StringIO(found.content.decode()))) == [value]


def test_the_way_is_chosen_by_what_the_driver_can_do(postgres: PostgresServer) -> None:
    def connect_adbc() -> Any:
        return adbc_driver_postgresql.dbapi.connect(postgres.uri)

    copy, arrow, rows = (kind for kind in (CopyExtract, ArrowExtract, DbApiExtract))
    assert through(AnyHook(lambda: psycopg2.connect(postgres.uri)), SMALL) == (copy, SMALL_CSV)
    assert through(AnyHook(lambda: psycopg.connect(postgres.uri)), SMALL) == (copy, SMALL_CSV)
    assert through(AnyHook(connect_adbc), SMALL) == (arrow, SMALL_CSV)
    assert through(AnyHook(duckdb.connect), SMALL) == (arrow, SMALL_CSV)
    sqlite = "SELECT 1 AS id, 'a,b' AS name, NULL AS note UNION ALL VALUES (2, '', 'x'), (3, 'two\nlines', '\"')"
    assert through(AnyHook(lambda: sqlite3.connect(":memory:")), sqlite) == (rows, SMALL_CSV)


@pytest.mark.parametrize("connect", [duckdb.connect, lambda: sqlite3.connect(":memory:")], ids=["duckdb", "sqlite"])
def test_a_statement_that_gives_no_rows_is_refused(connect: Callable[[], Any]) -> None:
    with pytest.raises(ContactsRefused, match="returns no rows"):
        through(AnyHook(connect), "CREATE TABLE x (id int)")
