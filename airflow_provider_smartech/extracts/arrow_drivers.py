"""The drivers that give Arrow's record batches, each by a call of its own.

Rests on the documentation of ADBC's ``dbapi``, DuckDB's Python API, Snowflake's connector (``fetch_arrow_batches``),
Databricks' SQL connector (``fetchmany_arrow``) and BigQuery's client (``to_arrow_iterable``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeAlias

from airflow_provider_smartech.errors import SmartechConfigurationError
from airflow_provider_smartech.extracts import csv_format
from airflow_provider_smartech.extracts.base import Query, names_of
from airflow_provider_smartech.extracts.query_errors import Shown, shown

# A wide table's rows of a few hundred bytes make a few megabytes.
BATCH_ROWS = 10_000

QueryResult: TypeAlias = tuple[list[str], Iterable[Any]]
RunQuery: TypeAlias = Callable[[Query], AbstractContextManager[QueryResult]]


def arrow_call(hook: Any, connection: Any) -> RunQuery | None:
    """Return the call that runs a query and gives its columns' names and its batches; None if there is none.

    :raises SmartechConfigurationError: the driver gives nothing else, and ``pyarrow`` is missing.
    """
    module = type(connection).__module__
    for driver, call in _CALLS.items():
        if f"{module}.".startswith(f"{driver}."):
            if find_spec("pyarrow"):
                return partial(call, hook, connection)
            if call is _adbc:
                raise SmartechConfigurationError("What ADBC reads is written as CSV by pyarrow. Install pyarrow.")
    return None


@contextmanager
def _adbc(hook: Any, connection: Any, query: Query) -> Iterator[QueryResult]:
    with closing(connection.cursor()) as cursor:
        if connection.adbc_get_info().get("vendor_name") == "PostgreSQL":
            # Has the server parse the query, no more. Other drivers' ways to do so are not known.
            with shown():
                cursor.adbc_execute_schema(query.sql, *query.arguments)
        cursor.execute(query.sql, *query.arguments)
        with cursor.fetch_record_batch() as reader:
            for field in reader.schema:
                if (field.metadata or {}).get(b"POSTGRESQL:type") == b"money":
                    # A whole number, of the smallest unit of whatever currency.
                    raise csv_format.without_text(field.name, "money")
            yield reader.schema.names, reader


@contextmanager
def _duckdb(hook: Any, connection: Any, query: Query) -> Iterator[QueryResult]:
    query.check_single()
    # Not by a cursor: its result is held in memory as a whole.
    if query.parameters is None:
        with _duckdb_s_errors():
            relation = connection.sql(query.sql)
    else:
        with _duckdb_s_errors():
            connection.execute(f"EXPLAIN {query.sql}", query.parameters)
        # This reads rows already.
        relation = connection.sql(query.sql, params=query.parameters)
    # Other statements than queries give no relation.
    names = names_of(relation and relation.description)
    for name, kind, *_ in relation.description:
        if str(kind) in _WRONG_IN_ARROW:
            raise csv_format.without_text(name, str(kind))
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    with read(BATCH_ROWS) as reader:
        yield names, reader


# DuckDB's types that Arrow's batches hold with another sign, or without their zone.
_WRONG_IN_ARROW = ("UHUGEINT", "TIME WITH TIME ZONE")


@contextmanager
def _duckdb_s_errors() -> Iterator[None]:
    """Show what DuckDB says of names and syntax; what it says of a file that it looks into could be anything."""
    import duckdb

    try:
        yield
    except (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException) as error:
        # Further lines name columns that are there, and those of a CSV file without a header are its first contact.
        raise Shown(type(error)(str(error).partition("\n")[0])) from None


@contextmanager
def _snowflake(hook: Any, connection: Any, query: Query) -> Iterator[QueryResult]:
    with _executed(connection, query) as cursor:
        yield names_of(cursor.description), cursor.fetch_arrow_batches()


@contextmanager
def _databricks(hook: Any, connection: Any, query: Query) -> Iterator[QueryResult]:
    with _executed(connection, query) as cursor:
        yield names_of(cursor.description), _until_empty(partial(cursor.fetchmany_arrow, BATCH_ROWS))


def _until_empty(fetch: Callable[[], Any]) -> Iterator[Any]:
    while (table := fetch()).num_rows:
        yield table


@contextmanager
def _bigquery(hook: Any, connection: Any, query: Query) -> Iterator[QueryResult]:
    from google.cloud.bigquery import dbapi

    with shown():
        connection = dbapi.connect(hook.get_client(project_id=hook.project_id, location=hook.location))
    with _executed(connection, query) as cursor:
        yield names_of(cursor.description), cursor.query_job.result().to_arrow_iterable()


@contextmanager
def _executed(connection: Any, query: Query) -> Iterator[Any]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(query.sql, *query.arguments)
        yield cursor


_CALLS: dict[str, Callable[[Any, Any, Query], AbstractContextManager[QueryResult]]] = {
    "adbc_driver_manager": _adbc,
    "duckdb": _duckdb,
    "_duckdb": _duckdb,
    "snowflake.connector": _snowflake,
    "databricks.sql": _databricks,
    "airflow.providers.google.cloud.hooks.bigquery": _bigquery,
}
