"""Reading PostgreSQL by COPY."""

from __future__ import annotations

import itertools
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_smartech.errors import ContactsQueryFailed
from airflow_provider_smartech.extracts import postgres as postgres_way
from airflow_provider_smartech.extracts.postgres import CopyExtract
from tests.support.extracts import Collected, collected, copy_psycopg, copy_psycopg2, rows_psycopg, rows_psycopg2
from tests.support.postgres import PostgresServer


def test_named_parameters_are_bound_too(postgres: PostgresServer) -> None:
    for make in (copy_psycopg2, copy_psycopg, rows_psycopg2, rows_psycopg):
        extract: Any = make(postgres.uri)
        with closing(extract._connection):
            assert collected(extract, "SELECT %(n)s::text AS name", {"n": "it's"}).content == b"it's\n"


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["", "a", '"t,\nf,"', '"\n"', "t", "ü", 'x,"""\n\n"""']))),
    st.lists(st.integers(0, 400)),
    st.sampled_from([None, 1, 3]),
)
def test_lines_of_copy_are_told_however_the_stream_is_cut(
    rows: list[tuple[bool, str]], cuts: list[int], per_file: int | None
) -> None:
    sink = Collected(per_file=per_file)
    lines = postgres_way._Lines(sink)
    stream = "".join(f"{lines.kept if kept else lines.skipped},{text}\n" for kept, text in rows).encode()
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    for start, end in itertools.pairwise(places):
        lines.write(stream[start:end])
    lines.close()
    wanted = [f"{text}\n".encode() for kept, text in rows if kept]
    assert (sink.content, sink.rows, sink.skipped) == (b"".join(wanted), len(wanted), len(rows) - len(wanted))
    if per_file:
        files = [b"".join(wanted[start : start + per_file]) for start in range(0, len(wanted), per_file)]
        assert [content for content, _ in sink.files] == files


@pytest.mark.parametrize("cut", [slice(1, None), slice(None, -1)])
def test_a_stream_of_copy_that_is_not_whole_is_an_error(cut: slice) -> None:
    lines = postgres_way._Lines(Collected())
    lines.write(f"{lines.kept},a\n{lines.kept},b\n".encode()[cut])
    with pytest.raises(ContactsQueryFailed, match="an incomplete COPY"):
        lines.close()


def test_a_server_without_copy_of_a_query_is_read_by_rows() -> None:
    connection = type(
        "connection", (), {"__module__": "psycopg2.extensions", "info": SimpleNamespace(server_version=80002)}
    )
    assert not CopyExtract.suits(connection())


def test_parameters_are_read_whatever_the_connection_s_encoding(postgres: PostgresServer) -> None:
    with closing(psycopg2.connect(postgres.uri, client_encoding="LATIN1")) as connection:
        assert collected(CopyExtract(connection), "SELECT %s::text AS name", ["José"]).content == "José\n".encode()
