"""PostgreSQL through psycopg2 or psycopg: the server writes the CSV itself, by ``COPY (query) TO STDOUT``."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Any

from airflow_provider_smartech.extracts import texts
from airflow_provider_smartech.extracts.extract import Query, Sink, names_of

BOOLEAN = 16
SHORT_FLOAT = 700
TIMESTAMP_WITH_TIME_ZONE = 1184

# Few enough to stay in the processor's cache, and to take little memory if they are long.
LINES = 64

# COPY of a query came with this version. Redshift, which speaks the same protocol, says that it is 8.0.2.
OLDEST = 80200


class CopyExtract:
    """Reads a query of PostgreSQL."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @staticmethod
    def suits(connection: Any) -> bool:
        """Whether the connection is one of psycopg2 or psycopg to a server that knows the command."""
        driver = type(connection).__module__.partition(".")[0]
        return driver in ("psycopg2", "psycopg") and connection.info.server_version >= OLDEST

    def send(self, query: Query, sink: Sink) -> None:
        """Read the whole query and give its rows to the sink."""
        with closing(self._cursor()) as cursor:
            inner = _bound(cursor, query)
            cursor.execute(f"SELECT * FROM ({inner}) AS query LIMIT 0")
            names, types = names_of(cursor.description), [column[1] for column in cursor.description]
            key = sink.begin(names)
            cursor.execute("SHOW TimeZone")
            in_utc = cursor.fetchone()[0] in ("UTC", "Etc/UTC")
            columns = [_expression(name, kind, in_utc) for name, kind in zip(names, types, strict=True)]
            wanted = "TRUE" if key is None else _has_key(names[key])
            # The first column says whether the row has a key; COPY gives each row as a piece of its own.
            copy = f"SELECT ({wanted}) IS TRUE, {', '.join(columns)} FROM ({inner}) AS query"
            cursor.execute("SET DateStyle = 'ISO'")
            lines = _Lines(sink)
            _copy(cursor, f"COPY ({copy}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')", lines)
            lines.flush()

    def _cursor(self) -> Any:
        """Return a cursor that gives tuples and binds parameters itself, whatever the connection's own does."""
        if type(self._connection).__module__.startswith("psycopg2"):
            from psycopg2.extensions import cursor

            # What the driver binds is read as text below.
            self._connection.set_client_encoding("UTF8")
            return self._connection.cursor(cursor_factory=cursor)
        from psycopg import ClientCursor
        from psycopg.rows import tuple_row

        return ClientCursor(self._connection, row_factory=tuple_row)


class _Lines:
    """Gathers a few lines of COPY, then hands them to the sink at once."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines: list[bytes] = []
        self._full = self.wanted

    @property
    def wanted(self) -> int:
        """How many lines to gather."""
        return LINES if self._sink.room is None else min(LINES, self._sink.room)

    def write(self, line: bytes) -> None:
        """Take one row; called a million times."""
        self._lines.append(line)
        if len(self._lines) == self._full:
            self.flush()

    def flush(self) -> None:
        """Hand on what has been gathered."""
        lines, self._lines = self._lines, []
        self.take(lines)
        self._full = self.wanted

    def take(self, lines: list[bytes]) -> None:
        """Hand on lines."""
        kept = [line[len(_KEY) :] for line in lines if line[: len(_KEY)] == _KEY]
        if len(kept) < len(lines):
            self._sink.skip(len(lines) - len(kept))
        if kept:
            self._sink.add(b"".join(kept), len(kept))


# How the line of a row with a key begins.
_KEY = b"t,"


def _bound(cursor: Any, query: Query) -> str:
    if query.parameters is None:
        return query.sql
    bound = cursor.mogrify(query.sql, query.parameters)
    return bound.decode() if isinstance(bound, bytes) else str(bound)


def _copy(cursor: Any, statement: str, lines: _Lines) -> None:
    if hasattr(cursor, "copy_expert"):
        cursor.copy_expert(statement, lines)
        return
    with cursor.copy(statement) as copy:
        # What it gives are views of the driver's memory, and working with many small views is slow.
        rows = map(bytes, copy)
        while batch := list(islice(rows, lines.wanted)):
            lines.take(batch)


def _expression(name: str, kind: int, in_utc: bool) -> str:
    column = _quoted(name)
    if kind == BOOLEAN:
        return f"{column}::text"
    if kind == SHORT_FLOAT:
        # With the same digits, but in the form of all other floating-point numbers.
        return f"{column}::text::float8"
    if kind == TIMESTAMP_WITH_TIME_ZONE and not in_utc:
        # The session's time zone stays as it is: the query itself may depend on it.
        return f"({column} AT TIME ZONE 'UTC')::text || '+00'"
    return column


def _has_key(name: str) -> str:
    blanks = "".join(f"\\x{ord(character):02x}" for character in texts.BLANKS)
    text = f"{_quoted(name)}::text"
    # All blanks come before the first printable character, and comparing is much cheaper than trimming.
    return f"""{text} COLLATE "C" >= '!' OR btrim({text}, E'{blanks}') <> ''"""


def _quoted(name: str) -> str:
    return 'query."{}"'.format(name.replace('"', '""'))
