"""Reading queries as CSV: every driver gives the same bytes for the same rows, whatever is in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extras
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.extracts import csv_format
from airflow_provider_smartech.extracts.base import Extract
from airflow_provider_smartech.extracts.postgres import CopyExtract
from tests.support.extracts import (
    arrow_adbc,
    arrow_of,
    collected,
    connection_of,
    copy_psycopg,
    copy_psycopg2,
    rows_psycopg,
    rows_psycopg2,
)
from tests.support.postgres import PostgresServer

# Nothing of it depends on Airflow, and it takes long.
pytestmark = pytest.mark.once

AWKWARD = """
    SELECT id, empty, name, balance, active, birthday, seen, score, code::char(3) AS code FROM (VALUES
        (1, NULL, 'plain', 1.50, true, DATE '2026-01-31', TIMESTAMP '2026-01-31 23:59:59.5', 0.1::float8, 'x'),
        (2, '', 'comma, here', 0.0000001, false, DATE '0824-02-29', TIMESTAMP '1999-12-31 00:00:00', 1e15::float8, 'y'),
        (3, ' ', 'said "hi"', -12345678901234567890.5, NULL, NULL, NULL, -0.0::float8, NULL),
        (4, '"', E'two\\nlines', 100000, true, DATE '9999-12-31', TIMESTAMP '2026-01-01 10:20:30.000001', 'NaN', ' z '),
        (5, '""', E'\\r', NULL, true, NULL, TIMESTAMP '2026-01-01 00:00:00.1', 1e-5::float8, ','),
        (6, 'NULL', E'a\\r\\nb', 0, true, NULL, NULL, 'Infinity', 'q'),
        (7, '\\.', 'Łucja 王小明 🙂 محمد', 0.00, true, NULL, NULL, 123456789012345.6::float8, 'q'),
        (8, '\\N', E'tab\\there', 99999999999, true, NULL, NULL, 9007199254740993::float8, 'q'),
        (9, '=1+1', repeat('long "text", ', 100000), 7, true, NULL, NULL, 1e300::float8, 'q'),
        (10, ' lead', 'trail ', -1.10, true, NULL, NULL, 1234567890.25::float8, 'q')
    ) AS contact (id, empty, name, balance, active, birthday, seen, score, code) ORDER BY id
"""


def test_every_way_gives_the_same_bytes_for_awkward_rows(way: Callable[[], Extract], postgres: PostgresServer) -> None:
    found = collected(way(), AWKWARD)
    assert found.names == ["id", "empty", "name", "balance", "active", "birthday", "seen", "score", "code"]
    long = '"' + 'long ""text"", ' * 100000 + '"'
    assert found.content.decode().split(long) == [
        "1,,plain,1.50,true,2026-01-31,2026-01-31 23:59:59.5,0.1,x  \n"
        '2,"","comma, here",0.0000001,false,0824-02-29,1999-12-31 00:00:00,1e+15,y  \n'
        '3, ,"said ""hi""",-12345678901234567890.5,,,,-0,\n'
        '4,"""","two\nlines",100000,true,9999-12-31,2026-01-01 10:20:30.000001,NaN, z \n'
        '5,"""""","\r",,true,,2026-01-01 00:00:00.1,1e-05,",  "\n'
        '6,NULL,"a\r\nb",0,true,,,Infinity,q  \n'
        "7,\\.,Łucja 王小明 🙂 محمد,0.00,true,,,123456789012345.6,q  \n"
        "8,\\N,tab\there,99999999999,true,,,9.007199254740992e+15,q  \n"
        "9,=1+1,",
        ",7,true,,,1e+300,q  \n10, lead,trail ,-1.10,true,,,1234567890.25,q  \n",
    ]
    assert found.rows == 10


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
def test_times_with_a_zone_are_written_in_utc_whatever_the_session_says(
    way: Callable[[], Extract], postgres: PostgresServer, zone: str
) -> None:
    moments = """SELECT TIMESTAMPTZ '2026-07-01 23:30:00.25+05:30' AS a, TIMESTAMPTZ '1969-12-31 20:00:00-04' AS b,
                        NULL::timestamptz AS c"""
    with altered(postgres, f"ALTER ROLE postgres SET TimeZone = '{zone}'", "ALTER ROLE postgres RESET TimeZone"):
        assert collected(way(), moments).content == b"2026-07-01 18:00:00.25+00,1970-01-01 00:00:00+00,\n"


def test_the_session_s_time_zone_still_rules_the_query(way: Callable[[], Extract], postgres: PostgresServer) -> None:
    day = "SELECT TIMESTAMPTZ '2026-07-01 23:30:00+00'::date AS day"
    with altered(postgres, "ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'", "ALTER ROLE postgres RESET TimeZone"):
        assert collected(way(), day).content == b"2026-07-02\n"


def test_the_server_s_own_style_of_dates_changes_nothing(postgres: PostgresServer) -> None:
    with altered(postgres, "ALTER ROLE postgres SET DateStyle = 'SQL, DMY'", "ALTER ROLE postgres RESET DateStyle"):
        for make in (copy_psycopg2, copy_psycopg):
            extract: Any = make(postgres.uri)
            with closing(extract._connection):
                assert collected(extract, "SELECT DATE '2026-01-31' AS day").content == b"2026-01-31\n"


def test_all_digits_of_a_float_are_written_whatever_the_server_s_setting(
    way: Callable[[], Extract], postgres: PostgresServer
) -> None:
    sums = "SELECT 0.1::float8 + 0.2::float8 AS a, 1.1::float4 * 3::float4 AS b"
    role = "ALTER ROLE postgres"
    with altered(postgres, f"{role} SET extra_float_digits = -5", f"{role} RESET extra_float_digits"):
        assert collected(way(), sums).content == b"0.30000000000000004,3.3000002\n"


def test_decimal_numbers_that_are_none_have_postgresql_s_words(way: Callable[[], Extract]) -> None:
    odd = """SELECT 'NaN'::numeric AS a, 'Infinity'::numeric AS b, '-Infinity'::numeric AS c, 1.50 AS d,
                    NULL::numeric AS e, 'nan'::text AS f"""
    assert collected(way(), odd).content == b"NaN,Infinity,-Infinity,1.50,,nan\n"


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ("(NULL), ('a'), (''), (NULL)", b'""\na\n""\n""\n'),
        ("(NULL), (1.50)", b'""\n1.50\n'),
        ("(NULL), (true)", b'""\ntrue\n'),
        ("(NULL), ('x'::char(3))", b'""\nx  \n'),
        ("(NULL), (0.1::float4)", b'""\n0.1\n'),
        ("(NULL), (TIMESTAMPTZ '2026-01-31 00:00:00Z')", b'""\n2026-01-31 00:00:00+00\n'),
    ],
)
def test_a_null_in_the_only_column_is_no_blank_line(way: Callable[[], Extract], values: str, lines: bytes) -> None:
    assert collected(way(), f"SELECT * FROM (VALUES {values}) AS c (x)").content == lines


@contextmanager
def altered(postgres: PostgresServer, statement: str, back: str) -> Iterator[None]:
    postgres.execute(statement)
    try:
        yield
    finally:
        postgres.execute(back)


@pytest.mark.parametrize("expression", ["'{1,2}'::int[]", "INTERVAL '1 day'", "'\\x00'::bytea"])
def test_a_type_without_a_text_is_refused_where_there_is_none(postgres: PostgresServer, expression: str) -> None:
    for make in (rows_psycopg2, rows_psycopg, arrow_adbc):
        extract: Any = make(postgres.uri)
        connection = connection_of(extract)
        with closing(connection), pytest.raises(ContactsRefused, match=r"column 'odd' .*cast it to text"):
            collected(extract, f"SELECT {expression} AS odd")


DATES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
ROW = st.tuples(
    st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    st.none() | st.sampled_from(["", '"', ",", "\n", "\r", " ", "\\.", "NULL"]),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(),
    st.none() | st.decimals(-(10**15), 10**15, places=9),
    st.none() | st.booleans(),
    st.none() | st.dates(),
    st.none() | DATES,
    st.none() | DATES,
    st.none() | st.times(),
    st.none() | st.uuids(),
)
NAMES = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]
SCHEMA = pa.schema(
    zip(
        NAMES,
        [
            *(pa.string(), pa.string(), pa.int64(), pa.float64(), pa.decimal128(30, 9), pa.bool_()),
            *(pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.time64("us"), pa.uuid()),
        ],
        strict=True,
    )
)
COPIED = """SELECT a, b, c, d, e, f, g, h, i, j, k FROM unnest(%s::text[], %s::text[], %s::int8[], %s::text[]::float8[],
    %s::numeric(30,9)[], %s::bool[], %s::date[], %s::timestamp[], %s::timestamptz[], %s::time[], %s::text[]::uuid[])
    AS row (a, b, c, d, e, f, g, h, i, j, k)"""


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, min_size=1, max_size=20))
def test_copy_arrow_and_rows_write_any_value_alike(postgres: PostgresServer, rows: list[tuple[Any, ...]]) -> None:
    rows = [(*row[:8], row[8] and row[8].replace(tzinfo=UTC), *row[9:]) for row in rows]
    written = csv_format.lines(rows, NAMES)
    columns = [pa.array(values, kind.type) for values, kind in zip(zip(*rows, strict=True), SCHEMA, strict=False)]
    assert arrow_of(pa.RecordBatch.from_arrays(columns, schema=SCHEMA)).content == written
    # As text where a driver's own form would come between.
    parameters = [list(column) for column in zip(*rows, strict=True)]
    for position in (3, 10):
        parameters[position] = [None if value is None else str(value) for value in parameters[position]]
    with closing(psycopg2.connect(postgres.uri)) as connection:
        assert collected(CopyExtract(connection), COPIED, parameters).content == written


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW.map(lambda row: row[0]), min_size=1, max_size=20))
def test_a_single_column_is_written_alike_and_no_row_of_it_is_lost(
    postgres: PostgresServer, values: list[str | None]
) -> None:
    written = csv_format.lines([(value,) for value in values], ["a"])
    assert arrow_of(pa.RecordBatch.from_arrays([pa.array(values, pa.string())], ["a"])).content == written
    with closing(psycopg2.connect(postgres.uri)) as connection:
        copied = collected(CopyExtract(connection), "SELECT a FROM unnest(%s::text[]) AS row (a)", [values])
    assert copied.content == written
    read = csv.reader(io.StringIO(written.decode(), newline=""), strict=True)
    assert list(read) == [[value or ""] for value in values]


SHORT = "SELECT x FROM unnest(%s::text[]::float4[]) AS c (x)"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | st.floats(width=32), min_size=1))
def test_short_floats_are_written_with_their_own_digits(postgres: PostgresServer, values: list[float | None]) -> None:
    written = arrow_of(pa.RecordBatch.from_arrays([pa.array(values, pa.float32())], ["x"])).content
    with closing(psycopg2.connect(postgres.uri)) as connection:
        copied = collected(
            CopyExtract(connection), SHORT, [[None if value is None else str(value) for value in values]]
        )
    assert copied.content == written


@given(st.lists(st.lists(st.text(max_size=5), min_size=2, max_size=2), min_size=1))
def test_what_is_written_is_read_back_by_a_csv_reader(rows: list[list[str]]) -> None:
    try:
        written = csv_format.lines(rows, ["a", "b"])
    except ContactsRefused:
        assert any("\ud800" <= character <= "\udfff" for character in "".join("".join(row) for row in rows))
        return
    assert list(csv.reader(io.StringIO(written.decode(), newline=""), strict=True)) == rows


def test_half_a_character_is_refused_by_the_name_of_its_column() -> None:
    with pytest.raises(ContactsRefused, match=r"column 'b' has text that is not valid Unicode") as caught:
        csv_format.lines([("x", "secret\ud800")], ["a", "b"])
    assert "secret" not in f"{caught.value}{caught.value.__context__}{caught.value.__cause__}"


def test_python_values_of_mixed_and_derived_types_have_texts() -> None:
    class Name(str):
        __slots__ = ()

    values = [Name("a,b"), 1, 2.0, Decimal("1E+3"), True, None, UUID(int=7), time(1, 2, 3), date(2026, 1, 2)]
    written = [
        '"a,b"',
        "1",
        "2",
        "1000",
        "true",
        "",
        "00000000-0000-0000-0000-000000000007",
        "01:02:03",
        "2026-01-02",
    ]
    assert list(csv_format.column(values, "x")) == written
    east = datetime(2026, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert list(csv_format.column([east], "x")) == ["2026-01-01 00:00:00+00"]
    assert list(csv_format.column([time(1, 2, 3, tzinfo=UTC), east.timetz()], "x")) == ["01:02:03+00", "05:30:00+05:30"]
    with pytest.raises(ContactsRefused, match="'spell' has the type timedelta"):
        csv_format.column([timedelta(1)], "spell")


def test_a_time_that_has_no_moment_in_utc_is_refused() -> None:
    late = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(ContactsRefused, match=r"'odd' has a date or time outside"):
        csv_format.lines([(late,)], ["odd"])
