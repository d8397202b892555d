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

from airflow_provider_smartech.extracts.extract import Query, names_of

# A wide table's rows of a few hundred bytes make a few megabytes.
BATCH = 10_000

Answer: TypeAlias = tuple[list[str], Iterable[Any]]
Ask: TypeAlias = Callable[[Query], AbstractContextManager[Answer]]


def arrow_call(hook: Any, connection: Any) -> Ask | None:
    """Return the call that runs a query and gives its columns' names and its batches; None if there is none."""
    if find_spec("pyarrow") is None:
        return None
    module = type(connection).__module__
    for driver, call in _CALLS.items():
        if f"{module}.".startswith(f"{driver}."):
            return partial(call, hook, connection)
    return None


@contextmanager
def _adbc(hook: Any, connection: Any, query: Query) -> Iterator[Answer]:
    with _executed(connection, query) as cursor, cursor.fetch_record_batch() as reader:
        yield reader.schema.names, reader


@contextmanager
def _duckdb(hook: Any, connection: Any, query: Query) -> Iterator[Answer]:
    # Not by a cursor: its result is held in memory as a whole.
    relation = connection.sql(query.sql, params=query.parameters)
    # Other statements than queries give no relation.
    names = names_of(relation and relation.description)
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch
    with read(BATCH) as reader:
        yield names, reader


@contextmanager
def _snowflake(hook: Any, connection: Any, query: Query) -> Iterator[Answer]:
    with _executed(connection, query) as cursor:
        yield names_of(cursor.description), cursor.fetch_arrow_batches()


@contextmanager
def _databricks(hook: Any, connection: Any, query: Query) -> Iterator[Answer]:
    with _executed(connection, query) as cursor:
        yield names_of(cursor.description), _until_empty(partial(cursor.fetchmany_arrow, BATCH))


def _until_empty(fetch: Callable[[], Any]) -> Iterator[Any]:
    while (table := fetch()).num_rows:
        yield table


@contextmanager
def _bigquery(hook: Any, connection: Any, query: Query) -> Iterator[Answer]:
    from google.cloud.bigquery import dbapi

    client = hook.get_client(project_id=hook.project_id, location=hook.location)
    with _executed(dbapi.connect(client), query) as cursor:
        yield names_of(cursor.description), cursor.query_job.result().to_arrow_iterable()


@contextmanager
def _executed(connection: Any, query: Query) -> Iterator[Any]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(query.sql, *query.arguments)
        yield cursor


_CALLS: dict[str, Callable[[Any, Any, Query], AbstractContextManager[Answer]]] = {
    "adbc_driver_manager": _adbc,
    "duckdb": _duckdb,
    "_duckdb": _duckdb,
    "snowflake.connector": _snowflake,
    "databricks.sql": _databricks,
    "airflow.providers.google.cloud.hooks.bigquery": _bigquery,
}
