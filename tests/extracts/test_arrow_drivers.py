"""Drivers that give Arrow's batches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import adbc_driver_postgresql.dbapi
import duckdb
import pyarrow as pa
import pytest

from airflow_provider_smartech.errors import ContactsRefused, SmartechConfigurationError
from airflow_provider_smartech.extracts import arrow_drivers
from airflow_provider_smartech.extracts.arrow import ArrowExtract
from airflow_provider_smartech.extracts.dbapi import DbApiExtract
from tests.support.extracts import SMALL, SMALL_CSV, AnyHook, through
from tests.support.postgres import PostgresServer


def test_duckdb_is_read_by_arrow_with_bound_parameters_and_all_its_types() -> None:
    sql = """SELECT ? AS name, 1.50::decimal(10,2) AS d, TIMESTAMPTZ '2026-01-01 00:00:00.5+05:30' AS t,
             TIME '01:02:03' AS c, 'x'::ENUM('x', 'y,z') AS e, 1::HUGEINT AS h, true AS b, 0.1::FLOAT AS f,
             UUID '00000000-0000-0000-0000-000000000007' AS u, DATE '2026-01-01' AS day, 255::UTINYINT AS small"""
    kind, content = through(AnyHook(duckdb.connect), sql, ["it's"])
    assert kind is ArrowExtract
    assert content == (
        b"it's,1.50,2025-12-31 18:30:00.5+00,01:02:03,x,1,true,0.1,"
        b"00000000-0000-0000-0000-000000000007,2026-01-01,255\n"
    )


@pytest.mark.parametrize("kind", ["UHUGEINT", "TIME WITH TIME ZONE"])
def test_a_type_that_duckdb_gives_wrongly_is_refused(kind: str) -> None:
    with pytest.raises(ContactsRefused, match=rf"'odd' has the type {kind}, .*cast it to text"):
        through(AnyHook(duckdb.connect), f"SELECT 1 AS id, NULL::{kind} AS odd")


def test_several_statements_of_duckdb_are_refused() -> None:
    with pytest.raises(ContactsRefused, match="more than one statement"):
        through(AnyHook(duckdb.connect), "SELECT 1 AS a; SELECT 2 AS a; -- done")


def test_adbc_without_pyarrow_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer) -> None:
    monkeypatch.setattr(arrow_drivers, "find_spec", lambda name: None)
    with pytest.raises(SmartechConfigurationError, match="Install pyarrow"):
        through(AnyHook(lambda: adbc_driver_postgresql.dbapi.connect(postgres.uri)), SMALL)
    assert through(AnyHook(duckdb.connect), "SELECT 'a,b' AS a") == (DbApiExtract, b'"a,b"\n')


class Cloud:
    """A stand-in of a cloud warehouse's connection and cursor, with the calls that its driver documents."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.query_job: Any = None
        self.description = [("id", 1), ("name", 2), ("note", 3)]
        table = pa.table({"id": [1, 2, 3], "name": ["a,b", "", "two\nlines"], "note": [None, "x", '"']})
        self._tables = [table.slice(0, 2), table.slice(2)]

    def cursor(self) -> Cloud:
        return self

    def execute(self, *arguments: Any) -> None:
        self.asked.append(arguments)

    def fetch_arrow_batches(self) -> Iterator[pa.Table]:
        return iter(self._tables)

    def fetchmany_arrow(self, size: int) -> pa.Table:
        return self._tables.pop(0) if self._tables else pa.table({"id": []})

    def close(self) -> None:
        self.asked.append("closed")


@pytest.mark.parametrize("module", ["snowflake.connector.connection", "databricks.sql.client"])
def test_snowflake_and_databricks_are_read_by_their_arrow_calls(module: str) -> None:
    cloud = type("Connection", (Cloud,), {"__module__": module})()
    assert through(AnyHook(lambda: cloud), "SELECT 1", {"a": 1}) == (ArrowExtract, SMALL_CSV)
    assert cloud.asked == [("SELECT 1\n", {"a": 1}), "closed", "closed"]


def test_bigquery_is_read_by_the_arrow_call_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud()
    rows = SimpleNamespace(to_arrow_iterable=cloud.fetch_arrow_batches)
    cloud.query_job = SimpleNamespace(result=lambda: rows)
    clients: list[Any] = []

    def connect(client: Any) -> Cloud:
        clients.append(client)
        return cloud

    monkeypatch.setitem(sys.modules, "google.cloud.bigquery", SimpleNamespace(dbapi=SimpleNamespace(connect=connect)))
    module = "airflow.providers.google.cloud.hooks.bigquery"
    connection = type("BigQueryConnection", (Cloud,), {"__module__": module})()
    asked: dict[str, Any] = {}
    hook = AnyHook(lambda: connection, project_id="p", location="EU", get_client=lambda **given: asked.update(given))
    assert through(hook, "SELECT 1", {"a": 1}) == (ArrowExtract, SMALL_CSV)
    assert (cloud.asked[0], asked) == (("SELECT 1\n", {"a": 1}), {"project_id": "p", "location": "EU"})
