"""Any DB-API driver: rows by ``fetchmany``, from a server-side cursor if the driver has one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from airflow_provider_smartech.extracts import csv_format
from airflow_provider_smartech.extracts.base import Query, Sink, names_of
from airflow_provider_smartech.extracts.postgres import ALL_DIGITS
from airflow_provider_smartech.extracts.query_errors import outside_functions, shown

# How many rows are fetched from the driver at a time.
BATCH_ROWS = 1000


class DbApiExtract:
    """Reads a query row by row through a DB-API connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def send(self, query: Query, sink: Sink) -> None:
        """Read the whole query and pass its rows to the sink."""
        with closing(cursor_of(self._connection)) as cursor:
            self._ask(cursor, query)
            # Some server-side cursors know their columns only after the first rows.
            rows = cursor.fetchmany(BATCH_ROWS)
            names = names_of(cursor.description)
            key = sink.begin(names)
            while rows:
                for part in _fitting(_with_key(rows, key, sink), sink):
                    sink.add(csv_format.lines(part, names), len(part))
                rows = cursor.fetchmany(BATCH_ROWS)

    def _ask(self, cursor: Any, query: Query) -> None:
        driver = _driver(self._connection)
        if driver in ("psycopg2", "psycopg"):
            query.check_single()
            with closing(self._connection.cursor()) as setting:
                setting.execute(ALL_DIGITS)
            # DECLARE, which only plans the query.
            with shown(outside_functions):
                cursor.execute(query.sql, *query.arguments)
            return
        if driver == "sqlite3":
            with shown():
                cursor.execute(f"EXPLAIN {query.sql}", *query.arguments)
        cursor.execute(query.sql, *query.arguments)


def cursor_of(connection: Any) -> Any:
    """Return a cursor that leaves the result on the server: the default cursors of some drivers fetch all of it."""
    driver = _driver(connection)
    name = f"smartech_{uuid.uuid4().hex}"
    if driver == "psycopg2":
        from psycopg2.extensions import cursor

        return connection.cursor(name, cursor_factory=cursor)
    if driver == "psycopg":
        from psycopg.rows import tuple_row

        return connection.cursor(name, row_factory=tuple_row)
    if driver == "MySQLdb":
        from MySQLdb.cursors import SSCursor

        return connection.cursor(SSCursor)
    if driver == "pymysql":
        from pymysql.cursors import SSCursor

        return connection.cursor(SSCursor)
    return connection.cursor()


def _driver(connection: Any) -> str:
    return type(connection).__module__.partition(".")[0]


def _with_key(rows: Sequence[Sequence[Any]], key: int | None, sink: Sink) -> Sequence[Sequence[Any]]:
    if key is None:
        return rows
    kept = [row for row in rows if not csv_format.is_blank(row[key])]
    sink.skip(len(rows) - len(kept))
    return kept


def _fitting(rows: Sequence[Sequence[Any]], sink: Sink) -> Iterator[Sequence[Sequence[Any]]]:
    """Split rows into parts that fit into the sink's files."""
    while rows:
        part = rows if sink.room is None else rows[: sink.room]
        yield part
        rows = rows[len(part) :]
