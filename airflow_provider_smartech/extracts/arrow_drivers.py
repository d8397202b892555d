"""The drivers that return Arrow record batches, each by its own call.

Based on the documentation of ADBC's ``dbapi``, DuckDB's Python API, Snowflake's connector (``fetch_arrow_batches``),
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

# With rows of a few hundred bytes, a batch has a few megabytes.
BATCH_ROWS = 10_000

QueryResult: TypeAlias = tuple[list[str], Iterable[Any]]
RunQuery: TypeAlias = Callable[[Query], AbstractContextManager[QueryResult]]


def arrow_call(hook: Any, connection: Any) -> RunQuery | None:
    """Return the call that runs a query and yields its columns' names and its batches; None if there is none.

    :raises SmartechConfigurationError: the driver returns only Arrow batches, and ``pyarrow`` is missing.
    """
    module = type(connection).__module__
    for driver, call in _CALLS.items():
        if f"{module}.".startswith(f"{driver}."):
            if find_spec("pyarrow"):
                return partial(call, hook, connection)
            if call is _adbc:
                raise SmartechConfigurationError("An ADBC connection needs pyarrow to write CSV. Install pyarrow.")
    return None


@contextmanager
def _adbc(hook: Any, connection: Any, query: Query) -> Iterator[QueryResult]:
    with closing(connection.cursor()) as cursor:
        if connection.adbc_get_info().get("vendor_name") == "PostgreSQL":
            # Makes the server only parse the query. How to do this with other drivers is not known.
            with shown():
                cursor.adbc_execute_schema(query.sql, *query.arguments)
        cursor.execute(query.sql, *query.arguments)
        with cursor.fetch_record_batch() as reader:
            for field in reader.schema:
                if (field.metadata or {}).get(b"POSTGRESQL:type") == b"money":
                    # An integer, in the smallest unit of an unknown currency.
                    raise csv_format.without_text(field.name, "money")
            yield reader.schema.names, reader


@contextmanager
def _duckdb(hook: Any, connection: Any, query: Query) -> Iterator[QueryResult]:
    query.check_single()
    # Not with a cursor: its whole result is held in memory.
    if query.parameters is None:
        with _duckdb_s_errors():
            relation = connection.sql(query.sql)
    else:
        with _duckdb_s_errors():
            connection.execute(f"EXPLAIN {query.sql}", query.parameters)
        # This already reads rows.
        relation = connection.sql(query.sql, params=query.parameters)
    # Statements other than queries return no relation.
    names = names_of(relation and relation.description)
    for name, kind, *_ in relation.description:
        if str(kind) in _WRONG_IN_ARROW:
            raise csv_format.without_text(name, str(kind))
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    with read(BATCH_ROWS) as reader:
        yield names, reader


# DuckDB types that have a wrong sign, or no time zone, in Arrow batches.
_WRONG_IN_ARROW = ("UHUGEINT", "TIME WITH TIME ZONE")


@contextmanager
def _duckdb_s_errors() -> Iterator[None]:
    """Show DuckDB's errors about names and syntax; its errors about a file that it reads may contain anything."""
    import duckdb

    try:
        yield
    except (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException) as error:
        # Further lines list existing columns, and in a CSV file without a header these are the first contact.
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
