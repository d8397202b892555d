"""PostgreSQL through psycopg2 or psycopg: the server writes the CSV itself, by ``COPY (query) TO STDOUT``."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from typing import Any

from airflow_provider_smartech.errors import ContactsQueryFailed
from airflow_provider_smartech.extracts import csv_format
from airflow_provider_smartech.extracts.base import Query, Sink, names_of
from airflow_provider_smartech.extracts.query_errors import outside_functions, shown

BOOLEAN_OID = 16
SHORT_FLOAT_OID = 700
TIMESTAMP_WITH_TIME_ZONE_OID = 1184

# Few enough to stay in the processor's cache, and to take little memory if they are long.
PIECE_MESSAGES = 64

# Floating-point numbers with all their digits, regardless of the settings of the role or connection. 2 is Redshift's
# highest value; since PostgreSQL 12, any value above 0 means the fewest digits that are exact.
ALL_DIGITS = "SET extra_float_digits = 2"

# The first version with COPY of a query. Redshift, which has the same protocol, reports version 8.0.2.
OLDEST_SERVER_VERSION = 80200


class CopyExtract:
    """Reads a query of PostgreSQL."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @staticmethod
    def suits(connection: Any) -> bool:
        """Whether this is a connection of psycopg2 or psycopg to a server that has the command."""
        driver = type(connection).__module__.partition(".")[0]
        return driver in ("psycopg2", "psycopg") and connection.info.server_version >= OLDEST_SERVER_VERSION

    def send(self, query: Query, sink: Sink) -> None:
        """Read the whole query and pass its rows to the sink."""
        with closing(self._cursor()) as cursor:
            with shown(outside_functions):
                inner = _bound(cursor, query)
                # Planned, but no row is read.
                cursor.execute(f"SELECT * FROM ({inner}) AS query LIMIT 0")
            names, types = names_of(cursor.description), [column[1] for column in cursor.description]
            key = sink.begin(names)
            cursor.execute("SHOW TimeZone")
            in_utc = cursor.fetchone()[0] in ("UTC", "Etc/UTC")
            columns = [_expression(name, kind, in_utc) for name, kind in zip(names, types, strict=True)]
            if len(columns) == 1:
                # Makes NULL an empty text, which is quoted: COPY cannot write NULL as a quoted text.
                columns = [f"concat({columns[0]})"]
            lines = _Lines(sink)
            # The first column says whether the row has a key.
            mark = f"'{lines.kept}'"
            if key is not None:
                mark = f"CASE WHEN {_has_key(names[key])} THEN {mark} ELSE '{lines.skipped}' END"
            copy = f"SELECT {mark}, {', '.join(columns)} FROM ({inner}) AS query"
            cursor.execute("SET DateStyle = 'ISO'")
            cursor.execute(ALL_DIGITS)
            _copy(cursor, f"COPY ({copy}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')", lines)
            lines.close()

    def _cursor(self) -> Any:
        """Return a cursor that returns tuples and binds parameters itself, regardless of the connection's default."""
        if type(self._connection).__module__.startswith("psycopg2"):
            from psycopg2.extensions import cursor

            # The query with bound parameters is decoded as text below.
            self._connection.set_client_encoding("UTF8")
            return self._connection.cursor(cursor_factory=cursor)
        from psycopg import ClientCursor
        from psycopg.rows import tuple_row

        return ClientCursor(self._connection, row_factory=tuple_row)


class _Lines:
    """Takes the output of COPY in pieces of any size, and passes complete lines to the sink.

    The server sends each row as a piece, but software in between may split the stream differently. So each line begins
    with a random mark that no value contains.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._mark = secrets.token_urlsafe(9)
        # How a row with a key begins, and one without.
        self.kept, self.skipped = f"{self._mark}t", f"{self._mark}f"
        self._begin, self._kept = self._mark.encode(), f"{self.kept},".encode()
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> None:
        """Take a piece; called once per row."""
        self._pieces.append(piece)
        if len(self._pieces) == PIECE_MESSAGES:
            self.take()

    def take(self, pieces: Iterable[bytes] = ()) -> None:
        """Take pieces, and pass on all lines but the last: only the next mark shows where it ends."""
        data = b"".join([*self._pieces, *pieces])
        last = max(0, data.rfind(self._begin))
        self._pieces = [data[last:]]
        self._hand_on(data[:last])

    def close(self) -> None:
        """Pass on the rest."""
        data, self._pieces = b"".join(self._pieces), []
        self._hand_on(data)

    def _hand_on(self, data: bytes) -> None:
        if not data:
            return
        if not (data.startswith(self._begin) and data.endswith(b"\n")):
            raise ContactsQueryFailed("it sent an incomplete COPY", None)
        lines = data.replace(self._kept, b"")
        rows, room = (len(data) - len(lines)) // len(self._kept), self._sink.room
        if self._begin in lines or (room is not None and rows > room):
            self._hand_on_singly(data)
        else:
            self._sink.add(lines, rows)

    def _hand_on_singly(self, data: bytes) -> None:
        rows = data.split(self._begin)[1:]
        kept = [row[len("t,") :] for row in rows if row.startswith(b"t")]
        if len(kept) < len(rows):
            self._sink.skip(len(rows) - len(kept))
        while kept:
            part = kept[: self._sink.room]
            self._sink.add(b"".join(part), len(part))
            kept = kept[len(part) :]


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
        # psycopg yields views of its memory, and many small views are slow to work with.
        pieces = map(bytes, copy)
        while some := list(islice(pieces, PIECE_MESSAGES)):
            lines.take(some)


def _expression(name: str, kind: int, in_utc: bool) -> str:
    column = _quoted(name)
    if kind == BOOLEAN_OID:
        return f"{column}::text"
    if kind == SHORT_FLOAT_OID:
        # With the same digits, but in the format of all other floating-point numbers.
        return f"{column}::text::float8"
    if kind == TIMESTAMP_WITH_TIME_ZONE_OID and not in_utc:
        # The session's time zone stays as it is: the query itself may depend on it.
        return f"({column} AT TIME ZONE 'UTC')::text || '+00'"
    return column


def _has_key(name: str) -> str:
    blanks = "".join(f"\\x{ord(character):02x}" for character in csv_format.BLANKS)
    text = f"{_quoted(name)}::text"
    # All blanks sort before the first printable character, and comparing is much cheaper than trimming.
    return f"""{text} COLLATE "C" >= '!' OR btrim({text}, E'{blanks}') <> ''"""


def _quoted(name: str) -> str:
    return 'query."{}"'.format(name.replace('"', '""'))
