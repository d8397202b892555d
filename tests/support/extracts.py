"""Reading queries: every way to do it, and a sink that keeps what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import adbc_driver_postgresql.dbapi
import psycopg
import psycopg2
import psycopg2.extras
import pyarrow as pa

from airflow_provider_smartech.extracts import arrow_drivers, extract_of
from airflow_provider_smartech.extracts.arrow import ArrowExtract
from airflow_provider_smartech.extracts.base import Extract, Query
from airflow_provider_smartech.extracts.dbapi import DbApiExtract
from airflow_provider_smartech.extracts.postgres import CopyExtract


class Collected:
    """A sink that keeps everything, in files of so many rows."""

    def __init__(self, key: int | None = None, per_file: int | None = None) -> None:
        self.key, self.per_file = key, per_file
        self.names: list[str] = []
        self.files: list[tuple[bytes, int]] = []
        self.skipped = 0

    def begin(self, names: Sequence[str]) -> int | None:
        self.names = list(names)
        return self.key

    @property
    def room(self) -> int | None:
        if self.per_file is None:
            return None
        return self.per_file - (self.files[-1][1] % self.per_file if self.files else 0)

    def add(self, lines: bytes | bytearray | memoryview, rows: int) -> None:
        room = self.room
        assert room is None or rows <= room
        if not self.files or (self.per_file and self.files[-1][1] == self.per_file):
            self.files.append((b"", 0))
        content, before = self.files.pop()
        self.files.append((content + bytes(lines), before + rows))

    def skip(self, rows: int) -> None:
        self.skipped += rows

    @property
    def content(self) -> bytes:
        return b"".join(content for content, _ in self.files)

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.files)


def copy_psycopg2(uri: str) -> Extract:
    return CopyExtract(psycopg2.connect(uri, cursor_factory=psycopg2.extras.DictCursor))


def copy_psycopg(uri: str) -> Extract:
    return CopyExtract(psycopg.connect(uri, row_factory=psycopg.rows.dict_row))


def rows_psycopg2(uri: str) -> Extract:
    return DbApiExtract(psycopg2.connect(uri, cursor_factory=psycopg2.extras.DictCursor))


def rows_psycopg(uri: str) -> Extract:
    return DbApiExtract(psycopg.connect(uri, row_factory=psycopg.rows.dict_row))


def arrow_adbc(uri: str) -> Extract:
    call = arrow_drivers.arrow_call(None, adbc_driver_postgresql.dbapi.connect(uri))
    assert call is not None
    return ArrowExtract(call)


def connection_of(extract: Any) -> Any:
    """Return the connection that is read."""
    return getattr(extract, "_connection", None) or extract._run.args[1]


WAYS = [copy_psycopg2, copy_psycopg, rows_psycopg2, rows_psycopg, arrow_adbc]


def collected(extract: Extract, sql: str, parameters: Any = None, **options: Any) -> Collected:
    sink = Collected(**options)
    extract.send(Query.of(sql, parameters), sink)
    return sink


def arrow_of(batch: pa.RecordBatch, **options: Any) -> Collected:
    return collected(ArrowExtract(lambda query: nullcontext((batch.schema.names, [batch]))), "", **options)


SMALL = """SELECT * FROM (VALUES (1, 'a,b', NULL), (2, '', 'x'), (3, 'two
lines', '"')) AS c (id, name, note) ORDER BY id"""


SMALL_CSV = b'1,"a,b",\n2,"",x\n3,"two\nlines",""""\n'


class AnyHook:
    """As much of a DbApiHook as is needed: a new connection."""

    def __init__(self, connect: Callable[[], Any], **attributes: Any) -> None:
        self.get_conn = connect
        self.__dict__.update(attributes)


def through(hook: Any, sql: str, parameters: Any = None) -> tuple[type, bytes]:
    sink = Collected()
    with extract_of(hook) as extract:
        extract.send(Query.of(sql, parameters), sink)
        return type(extract), sink.content
