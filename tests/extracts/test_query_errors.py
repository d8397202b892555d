"""What a database says of the query is shown, and never what it says of the data."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import duckdb
import psycopg
import psycopg2
import psycopg2.extensions
import pytest

from airflow_provider_smartech.errors import ContactsQueryFailed
from airflow_provider_smartech.extracts import postgres as postgres_way
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.staging.staged_query import StagedQuery
from tests.support.postgres import PostgresServer
from tests.support.submissions import submitted
from tests.support.tasks import run
from tests.support.transfers import from_sql, keys

pytestmark = pytest.mark.usefixtures("receiver", "warehouse")

# How PostgreSQL is read.
WAYS = ["psycopg2", "psycopg", "psycopg2 by rows", "psycopg by rows"]


def test_an_error_that_quotes_the_data_is_not_shown(sandbox: SandboxServer, s3: Any, bucket: str) -> None:
    sql = """SELECT 'c' || i AS email, (CASE WHEN i = 4000 THEN 'ana@example.com' ELSE '1' END)::int AS age
             FROM generate_series(1, 9999) AS i"""
    with pytest.raises(ContactsQueryFailed, match=r"InvalidTextRepresentation, SQLSTATE 22P02") as caught:
        run(from_sql(bucket, sql=sql))
    assert_hides("ana@", caught.value)
    assert (keys(s3, bucket), submitted(sandbox)) == ([], [])


@pytest.mark.parametrize("way", [*WAYS, "adbc"])
@pytest.mark.parametrize(
    "expression",
    [
        "to_tsquery(email)::text",
        "email::regtype::text",
        "has_table_privilege(email, 'select')",
        "(SELECT max(email) FROM people)::regclass::text",
    ],
)
def test_no_error_while_rows_are_read_is_shown_whatever_its_class(
    warehouses: Any, bucket: str, expression: str, way: str
) -> None:
    warehouses(way)
    with pytest.raises(ContactsQueryFailed) as caught:
        run(from_sql(bucket, sql=f"SELECT {expression} AS a FROM people"))
    assert_hides("ana", caught.value)


def test_a_value_that_the_driver_itself_cannot_read_is_not_shown(warehouses: Any, bucket: str) -> None:
    warehouses("psycopg by rows")
    with pytest.raises(ContactsQueryFailed, match=r"\(DataError\)") as caught:
        run(from_sql(bucket, sql="SELECT '20000-01-01'::date AS a"))
    assert_hides("20000", caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", ["sql IMMUTABLE", "plpgsql STABLE", "plpgsql VOLATILE"])
def test_what_a_function_says_that_the_planner_runs_is_not_shown(
    warehouses: Any, postgres: PostgresServer, bucket: str, way: str, function: str
) -> None:
    warehouses(way)
    read = "SELECT max(email)::regclass::int FROM people"
    body = read if function.startswith("sql") else f"BEGIN RETURN ({read}); END"
    postgres.execute(f"CREATE FUNCTION bad() RETURNS int LANGUAGE {function} AS $${body}$$")
    with pytest.raises(ContactsQueryFailed) as caught:
        run(from_sql(bucket, sql="SELECT id FROM people WHERE id < bad()"))
    assert_hides("ana", caught.value)


@pytest.fixture
def warehouses(sandbox: SandboxServer, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Choose the driver by which ``people`` are read, and whether by rows."""
    postgres.execute(
        "CREATE TABLE people (id int, email text)",
        "INSERT INTO people SELECT i, 'ana & | @example.com' FROM generate_series(1, 3000) AS i",
        "ANALYZE people",
    )

    def choose(way: str) -> None:
        driver, _, by_rows = way.partition(" ")
        connect = {"psycopg2": psycopg2, "psycopg": psycopg, "adbc": adbc_driver_postgresql.dbapi}[driver].connect
        if by_rows:
            monkeypatch.setattr(postgres_way.CopyExtract, "suits", lambda connection: False)
        hook = SimpleNamespace(get_conn=lambda: connect(postgres.uri))
        monkeypatch.setattr(StagedQuery, "database", lambda self: hook)

    yield choose
    postgres.execute("DROP TABLE people", "DROP FUNCTION IF EXISTS bad")


@pytest.mark.parametrize("way", [*WAYS, "adbc"])
def test_what_a_server_says_of_the_query_is_shown_by_every_way(warehouses: Any, bucket: str, way: str) -> None:
    warehouses(way)
    for sql, message in (
        ("SELECT nothing FROM people", 'column "nothing" does not exist'),
        ("SELECT id FROM people, WHERE", "syntax error"),
    ):
        with pytest.raises((psycopg.Error, psycopg2.Error, adbc_driver_manager.Error), match=message):
            run(from_sql(bucket, sql=sql))


@pytest.mark.parametrize("driver", ["psycopg2", "sqlite3"])
def test_what_breaks_while_a_value_is_converted_is_not_shown(
    sandbox: SandboxServer,
    postgres: PostgresServer,
    bucket: str,
    driver: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(value: Any, *rest: Any) -> Any:
        raise KeyError(value)

    def connect() -> Any:
        if driver == "sqlite3":
            sqlite3.register_converter("broken", fail)
            return sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_COLNAMES)
        connection = psycopg2.connect(postgres.uri)
        broken = psycopg2.extensions.new_type((25,), "broken", fail)
        psycopg2.extensions.register_type(broken, connection)
        return connection

    monkeypatch.setattr(postgres_way.CopyExtract, "suits", lambda connection: False)
    monkeypatch.setattr(StagedQuery, "database", lambda self: SimpleNamespace(get_conn=connect))
    with pytest.raises(ContactsQueryFailed, match=r"\(KeyError\)") as caught:
        run(from_sql(bucket, sql="SELECT 'ana@example.com' AS \"a [broken]\""))
    assert_hides("ana@", caught.value)


@pytest.mark.parametrize("parameters", [None, [1]])
@pytest.mark.parametrize(
    ("connect", "expression"),
    [
        (lambda: sqlite3.connect(":memory:"), "json_extract('{}', email)"),
        (duckdb.connect, "CAST(email AS INT)"),
        (duckdb.connect, "error(email)"),
    ],
    ids=["sqlite", "duckdb", "duckdb's error"],
)
def test_nor_does_an_embedded_database_s_error_quote_the_data(
    sandbox: SandboxServer,
    bucket: str,
    connect: Any,
    expression: str,
    parameters: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def filled() -> Any:
        connection = connect()
        connection.execute("CREATE TABLE people (email VARCHAR)")
        connection.execute("INSERT INTO people VALUES ('ana@example.com')")
        return connection

    monkeypatch.setattr(StagedQuery, "database", lambda self: SimpleNamespace(get_conn=filled))
    where = "" if parameters is None else " WHERE 1 = ?"
    with pytest.raises(ContactsQueryFailed) as caught:
        run(from_sql(bucket, sql=f"SELECT {expression} AS a FROM people{where}", parameters=parameters))
    assert_hides("ana@", caught.value)


def test_columns_that_are_contacts_are_not_shown(
    sandbox: SandboxServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.csv").write_text("ana@example.com,Ana\nbob@example.com,Bob\n", "utf-8")
    monkeypatch.setattr(StagedQuery, "database", lambda self: SimpleNamespace(get_conn=duckdb.connect))
    with pytest.raises(duckdb.BinderException, match='"email" not found') as caught:
        run(from_sql(bucket, sql=f"SELECT email FROM '{tmp_path}/rows.csv'"))
    assert_hides("Ana", caught.value)


def test_of_other_databases_only_the_type_of_an_error_is_shown(
    sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def cursor(self) -> Any:
            return self

        def execute(self, sql: str) -> None:
            raise LookupError("bad address ana@example.com")

        def close(self) -> None:
            pass

    monkeypatch.setattr(StagedQuery, "database", lambda self: SimpleNamespace(get_conn=Broken))
    with pytest.raises(ContactsQueryFailed, match=r"\(LookupError\)") as caught:
        run(from_sql(bucket, sql="SELECT 1 AS a"))
    assert_hides("ana@", caught.value)


def test_an_error_of_connecting_is_shown(sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "schema": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", json.dumps(nowhere))
    with pytest.raises((psycopg.Error, psycopg2.Error), match="Connection refused"):
        run(from_sql(bucket, conn_id="nowhere"))


@pytest.mark.parametrize("driver", ["sqlite", "duckdb", "adbc", "raise"])
def test_no_driver_s_error_quotes_the_data(
    sandbox: SandboxServer,
    postgres: PostgresServer,
    bucket: str,
    driver: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast = "SELECT CAST('ana@example.com' || i AS INT) AS age FROM generate_series(1, 3000) AS c (i)"
    connect, sql = {
        "sqlite": (
            lambda: sqlite3.connect(":memory:"),
            "SELECT CAST(x'616e61406578616d706c652e636f6dff' AS TEXT) AS a",
        ),
        "duckdb": (duckdb.connect, cast),
        "adbc": (lambda: adbc_driver_postgresql.dbapi.connect(postgres.uri), cast),
        "raise": (lambda: psycopg2.connect(postgres.uri), "SELECT bad()"),
    }[driver]
    if driver == "raise":
        body = "BEGIN RAISE 'bad address ana@example.com'; END"
        postgres.execute(f"CREATE OR REPLACE FUNCTION bad() RETURNS int LANGUAGE plpgsql AS $${body}$$")
    hook = SimpleNamespace(get_conn=connect)
    monkeypatch.setattr(StagedQuery, "database", lambda self: hook)
    with pytest.raises(ContactsQueryFailed) as caught:
        run(from_sql(bucket, sql=sql))
    assert_hides("ana@", caught.value)


@pytest.mark.parametrize("parameters", [None, [1]])
@pytest.mark.parametrize(
    ("connect", "message"),
    [
        (lambda: sqlite3.connect(":memory:"), "no such table: nowhere"),
        (duckdb.connect, "Table with name nowhere does not exist"),
    ],
)
def test_other_drivers_errors_in_the_query_itself_are_shown_too(
    sandbox: SandboxServer,
    bucket: str,
    connect: Any,
    message: str,
    parameters: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(StagedQuery, "database", lambda self: SimpleNamespace(get_conn=connect))
    sql = "SELECT * FROM nowhere" if parameters is None else "SELECT * FROM nowhere WHERE 1 = ?"
    with pytest.raises((sqlite3.Error, duckdb.Error), match=message):
        run(from_sql(bucket, sql=sql, parameters=parameters))


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT 1 AS a WHERE 'x' LIKE 'a%' AND 'IN' = %(country)s", {"country": "IN"}),
        ("SELECT %(country)s AS a", {"contry": "IN"}),
        ("SELECT %(country)s AS a", ["IN"]),
    ],
)
def test_an_error_in_the_parameters_is_shown(sandbox: SandboxServer, bucket: str, sql: str, parameters: Any) -> None:
    with pytest.raises((psycopg.Error, psycopg2.Error, TypeError, LookupError)) as caught:
        run(from_sql(bucket, sql=sql, parameters=parameters))
    assert str(caught.value)


def test_an_error_in_the_query_itself_is_shown_as_it_is(sandbox: SandboxServer, bucket: str) -> None:
    with pytest.raises((psycopg.Error, psycopg2.Error), match='relation "nowhere" does not exist'):
        run(from_sql(bucket, sql="SELECT * FROM nowhere"))


def assert_hides(text: str, error: BaseException | None) -> None:
    """See that neither an error nor what it is chained to holds a text."""
    while error:
        assert text not in str(error)
        assert not error.__cause__ or not error.__context__ or error.__cause__ is error.__context__
        error = error.__cause__ or error.__context__
