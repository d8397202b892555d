"""Reading queries as CSV: every driver gives the same bytes for the same rows, whatever is in them."""

from __future__ import annotations

import csv
import io
import itertools
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import adbc_driver_postgresql.dbapi
import duckdb
import psycopg
import psycopg2
import psycopg2.extras
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_smartech.errors import ContactsQueryFailed, ContactsRefused, SmartechConfigurationError
from airflow_provider_smartech.extracts import arrow_drivers, csv_format, extract_of
from airflow_provider_smartech.extracts import postgres as postgres_way
from airflow_provider_smartech.extracts.arrow import ArrowExtract
from airflow_provider_smartech.extracts.base import Extract, Query
from airflow_provider_smartech.extracts.dbapi import DbApiExtract, cursor_of
from airflow_provider_smartech.extracts.postgres import CopyExtract
from airflow_provider_smartech.extracts.query_errors import Shown
from tests.support.postgres import PostgresServer


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


WAYS = [copy_psycopg2, copy_psycopg, rows_psycopg2, rows_psycopg, arrow_adbc]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Callable[[], Extract]]:
    """Each way to read PostgreSQL, its connections closed at the end."""
    extracts: list[Any] = []

    def make() -> Extract:
        extracts.append(request.param(postgres.uri))
        return extracts[-1]  # type: ignore[no-any-return]

    yield make
    for extract in extracts:
        connection = getattr(extract, "_connection", None) or extract._ask.args[1]
        connection.close()


def collected(extract: Extract, sql: str, parameters: Any = None, **options: Any) -> Collected:
    sink = Collected(**options)
    extract.send(Query.of(sql, parameters), sink)
    return sink


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


@pytest.mark.parametrize(
    "end",
    [
        *(";", " ;\n", ";;", "; -- done", "\n;\n-- it's done; really\n", "; /* don't; */ -- x"),
        *(" -- done;", "/* x */;", "; -- 'a' \"b\" $$c$$ /* d"),
    ],
)
def test_semicolons_and_comments_at_the_end_disturb_nothing(way: Callable[[], Extract], end: str) -> None:
    found = collected(way(), f"""SELECT 'x; -- y' AS "a; -- b", $$; /* '$$ AS c{end}""")
    assert (found.names, found.content) == (["a; -- b", "c"], b"x; -- y,; /* '\n")


@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        ("SELECT 'back\\' AS a, '; -- y'", "SELECT 'back\\' AS a, '; -- y'"),
        ("SELECT 'back\\';", "SELECT 'back\\'"),
        ("SELECT 'it\\'s; -- y'", "SELECT 'it\\'s; -- y'"),
        ("SELECT 'it\\'s'; -- it's", "SELECT 'it\\'s'; -- it's"),
        ("SELECT `a; -- b`; -- c", "SELECT `a; -- b`"),
        ("SELECT 5 # 3; -- c", "SELECT 5 # 3"),
        ("SELECT 1; -- c", "SELECT 1"),
        ("SELECT 1; SELECT 2; -- c", "SELECT 1; SELECT 2"),
        ("SELECT 'open; -- c", "SELECT 'open; -- c"),
        ("SELECT 1 # don't\n;", "SELECT 1 # don't\n"),
        ("SELECT $1 + $2; -- $1", "SELECT $1 + $2"),
        ("SELECT 1 - 1 / 2 -- c; d", "SELECT 1 - 1 / 2 -- c; d"),
    ],
)
def test_nothing_is_cut_from_a_query_but_what_surely_follows_it(sql: str, kept: str) -> None:
    assert Query.of(sql).sql == f"{kept}\n"


def test_several_statements_are_an_error(way: Callable[[], Extract]) -> None:
    with pytest.raises((ContactsRefused, Shown)) as caught:
        collected(way(), "SELECT 1 AS a; SELECT 2 AS a")
    assert re.search("more than one statement|multiple commands|syntax error", said(caught.value))


def said(error: BaseException) -> str:
    return str(error.error if isinstance(error, Shown) else error)


@contextmanager
def altered(postgres: PostgresServer, statement: str, back: str) -> Iterator[None]:
    postgres.execute(statement)
    try:
        yield
    finally:
        postgres.execute(back)


MANY = """SELECT i AS id, CASE WHEN i % 10 = 0 THEN NULL WHEN i % 10 = 1 THEN E' \\t\\n' ELSE 'c' || i END AS email
          FROM generate_series(1, 5000) AS i ORDER BY i"""


def test_rows_with_a_null_or_blank_key_are_left_out_and_counted(way: Callable[[], Extract]) -> None:
    found = collected(way(), MANY, key=1)
    assert (found.rows, found.skipped) == (4000, 1000)
    assert found.content.decode().splitlines() == [f"{i},c{i}" for i in range(1, 5001) if i % 10 > 1]


def test_a_key_that_is_a_number_is_missing_only_if_it_is_null(way: Callable[[], Extract]) -> None:
    found = collected(way(), "SELECT * FROM (VALUES (0), (NULL), (7)) AS c (id)", key=0)
    assert (found.content, found.skipped) == (b"0\n7\n", 1)


@pytest.mark.parametrize("per_file", [1, 999, 1000, 4000, 4001])
def test_no_piece_holds_more_rows_than_the_file_has_room_for(way: Callable[[], Extract], per_file: int) -> None:
    found = collected(way(), MANY, key=1, per_file=per_file)
    full, rest = divmod(4000, per_file)
    assert [rows for _, rows in found.files] == [per_file] * full + [rest] * bool(rest)
    assert [content.count(b"\n") for content, _ in found.files] == [rows for _, rows in found.files]


def test_without_rows_the_columns_are_known_all_the_same(way: Callable[[], Extract]) -> None:
    found = collected(way(), "SELECT 1 AS id, 'x' AS name WHERE false")
    assert (found.names, found.content, found.rows) == (["id", "name"], b"", 0)


def test_a_percent_sign_a_comment_and_odd_names_disturb_nothing(way: Callable[[], Extract]) -> None:
    found = collected(way(), """SELECT '100%' AS "per ""cent"" %s", 'x' AS "a,b" -- the end""")
    assert (found.names, found.content) == (['per "cent" %s', "a,b"], b"100%,x\n")


@pytest.mark.parametrize("value", ["'; DROP TABLE x; --", "O'Neil", "back\\slash", "100%", "{braces}", "%s"])
def test_parameters_are_bound_by_the_driver(way: Callable[[], Extract], value: str) -> None:
    extract = way()
    mark = "$1" if "adbc" in type(getattr(extract, "_connection", None) or extract._ask.args[1]).__module__ else "%s"  # type: ignore[attr-defined]
    found = collected(extract, f"SELECT {mark}::text AS name", [value])
    assert next(csv.reader(io.StringIO(found.content.decode()))) == [value]


def test_named_parameters_are_bound_too(postgres: PostgresServer) -> None:
    for make in (copy_psycopg2, copy_psycopg, rows_psycopg2, rows_psycopg):
        extract: Any = make(postgres.uri)
        with closing(extract._connection):
            assert collected(extract, "SELECT %(n)s::text AS name", {"n": "it's"}).content == b"it's\n"


@pytest.mark.parametrize("expression", ["'{1,2}'::int[]", "INTERVAL '1 day'", "'\\x00'::bytea"])
def test_a_type_without_a_text_is_refused_where_there_is_none(postgres: PostgresServer, expression: str) -> None:
    for make in (rows_psycopg2, rows_psycopg, arrow_adbc):
        extract: Any = make(postgres.uri)
        connection = getattr(extract, "_connection", None) or extract._ask.args[1]
        with closing(connection), pytest.raises(ContactsRefused, match=r"column 'odd' .*cast it to text"):
            collected(extract, f"SELECT {expression} AS odd")


def test_money_is_refused_where_it_would_lose_its_unit(postgres: PostgresServer) -> None:
    extract: Any = arrow_adbc(postgres.uri)
    with closing(extract._ask.args[1]), pytest.raises(ContactsRefused, match=r"'odd' holds values of type money"):
        collected(extract, "SELECT 12::money AS odd")


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


def arrow_of(batch: pa.RecordBatch, **options: Any) -> Collected:
    return collected(ArrowExtract(lambda query: nullcontext((batch.schema.names, [batch]))), "", **options)


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
    with pytest.raises(ContactsQueryFailed, match="no whole COPY"):
        lines.close()


VIEWS = ["a@example.com", None, " \t", 'b, "c"', "a@example.com"]


def test_views_of_text_are_written_and_looked_at_as_text() -> None:
    views = pa.array(VIEWS, pa.string_view())
    shared = pa.DictionaryArray.from_arrays(
        pa.array([0, None, 1, 2, 0], pa.int8()), pa.array(["a@example.com", " \t", 'b, "c"'], pa.string_view())
    )
    for columns in ([views, shared], [shared, views]):
        batch = pa.RecordBatch.from_arrays(columns, ["a", "b"])
        for key in (0, 1):
            found = arrow_of(batch, key=key)
            quoted = '"b, ""c"""'
            lines = [f"{text},{text}\n" for text in ("a@example.com", quoted, "a@example.com")]
            assert (found.content.decode(), found.skipped) == ("".join(lines), 2)


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
    with pytest.raises(ContactsRefused, match=r"column 'b' holds text that is not valid Unicode") as caught:
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
    with pytest.raises(ContactsRefused, match="'spell' holds values of type timedelta"):
        csv_format.column([timedelta(1)], "spell")


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


def test_the_way_is_chosen_by_what_the_driver_can_do(postgres: PostgresServer) -> None:
    def connect_adbc() -> Any:
        return adbc_driver_postgresql.dbapi.connect(postgres.uri)

    copy, arrow, rows = (kind for kind in (CopyExtract, ArrowExtract, DbApiExtract))
    assert through(AnyHook(lambda: psycopg2.connect(postgres.uri)), SMALL) == (copy, SMALL_CSV)
    assert through(AnyHook(lambda: psycopg.connect(postgres.uri)), SMALL) == (copy, SMALL_CSV)
    assert through(AnyHook(connect_adbc), SMALL) == (arrow, SMALL_CSV)
    assert through(AnyHook(duckdb.connect), SMALL) == (arrow, SMALL_CSV)
    sqlite = "SELECT 1 AS id, 'a,b' AS name, NULL AS note UNION ALL VALUES (2, '', 'x'), (3, 'two\nlines', '\"')"
    assert through(AnyHook(lambda: sqlite3.connect(":memory:")), sqlite) == (rows, SMALL_CSV)


def test_a_server_without_copy_of_a_query_is_read_by_rows() -> None:
    connection = type(
        "connection", (), {"__module__": "psycopg2.extensions", "info": SimpleNamespace(server_version=80002)}
    )
    assert not CopyExtract.suits(connection())


def test_duckdb_is_read_by_arrow_with_bound_parameters_and_all_its_types() -> None:
    sql = """SELECT ? AS name, 1.50::decimal(10,2) AS d, TIMESTAMPTZ '2026-01-01 00:00:00.5+05:30' AS t,
             TIME '01:02:03' AS c, 'x'::ENUM('x', 'y,z') AS e, 1::HUGEINT AS h, true AS b, 0.1::FLOAT AS f,
             UUID '00000000-0000-0000-0000-000000000007' AS u, DATE '2026-01-01' AS day, 255::UTINYINT AS small"""
    kind, content = through(AnyHook(duckdb.connect), sql, ["it's"])
    assert kind is ArrowExtract
    assert content == (
        b"it's,1.50,2025-12-31 18:30:00.5+00,01:02:03,x,1,true,0.1,"
        b"00000000-0000-0000-0000-000000000007,2026-01-01,255\n"
    )


@pytest.mark.parametrize("kind", ["UHUGEINT", "TIME WITH TIME ZONE"])
def test_a_type_that_duckdb_gives_wrongly_is_refused(kind: str) -> None:
    with pytest.raises(ContactsRefused, match=rf"'odd' holds values of type {kind}, .*cast it to text"):
        through(AnyHook(duckdb.connect), f"SELECT 1 AS id, NULL::{kind} AS odd")


def test_duckdb_s_largest_numbers_keep_their_digits() -> None:
    for number in (2**127 - 1, -(2**127)):
        assert through(AnyHook(duckdb.connect), f"SELECT '{number}'::HUGEINT AS a")[1] == f"{number}\n".encode()


def test_several_statements_of_duckdb_are_refused() -> None:
    with pytest.raises(ContactsRefused, match="more than one statement"):
        through(AnyHook(duckdb.connect), "SELECT 1 AS a; SELECT 2 AS a; -- done")


def test_adbc_without_pyarrow_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer) -> None:
    monkeypatch.setattr(arrow_drivers, "find_spec", lambda name: None)
    with pytest.raises(SmartechConfigurationError, match="Install pyarrow"):
        through(AnyHook(lambda: adbc_driver_postgresql.dbapi.connect(postgres.uri)), SMALL)
    assert through(AnyHook(duckdb.connect), "SELECT 'a,b' AS a") == (DbApiExtract, b'"a,b"\n')


def test_sqlite_is_read_by_rows_with_bound_parameters() -> None:
    hook = AnyHook(lambda: sqlite3.connect(":memory:"))
    assert through(hook, "SELECT ? AS a, 1.5 AS b, NULL AS c", ("x,y",)) == (DbApiExtract, b'"x,y",1.5,\n')


@pytest.mark.parametrize("connect", [duckdb.connect, lambda: sqlite3.connect(":memory:")], ids=["duckdb", "sqlite"])
def test_a_statement_that_gives_no_rows_is_refused(connect: Callable[[], Any]) -> None:
    with pytest.raises(ContactsRefused, match="gives no rows"):
        through(AnyHook(connect), "CREATE TABLE x (id int)")


class Cloud:
    """A stand-in of a cloud warehouse's connection and cursor, with the calls that its driver documents."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.query_job: Any = None
        self.description = [("id", 1), ("name", 2), ("note", 3)]
        table = pa.table({"id": [1, 2, 3], "name": ["a,b", "", "two\nlines"], "note": [None, "x", '"']})
        self._tables = [table.slice(0, 2), table.slice(2)]

    def cursor(self) -> Cloud:
        return self

    def execute(self, *arguments: Any) -> None:
        self.asked.append(arguments)

    def fetch_arrow_batches(self) -> Iterator[pa.Table]:
        return iter(self._tables)

    def fetchmany_arrow(self, size: int) -> pa.Table:
        return self._tables.pop(0) if self._tables else pa.table({"id": []})

    def close(self) -> None:
        self.asked.append("closed")


@pytest.mark.parametrize("module", ["snowflake.connector.connection", "databricks.sql.client"])
def test_snowflake_and_databricks_are_read_by_their_arrow_calls(module: str) -> None:
    cloud = type("Connection", (Cloud,), {"__module__": module})()
    assert through(AnyHook(lambda: cloud), "SELECT 1", {"a": 1}) == (ArrowExtract, SMALL_CSV)
    assert cloud.asked == [("SELECT 1\n", {"a": 1}), "closed", "closed"]


def test_bigquery_is_read_by_the_arrow_call_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud()
    rows = SimpleNamespace(to_arrow_iterable=cloud.fetch_arrow_batches)
    cloud.query_job = SimpleNamespace(result=lambda: rows)
    clients: list[Any] = []

    def connect(client: Any) -> Cloud:
        clients.append(client)
        return cloud

    monkeypatch.setitem(sys.modules, "google.cloud.bigquery", SimpleNamespace(dbapi=SimpleNamespace(connect=connect)))
    module = "airflow.providers.google.cloud.hooks.bigquery"
    connection = type("BigQueryConnection", (Cloud,), {"__module__": module})()
    asked: dict[str, Any] = {}
    hook = AnyHook(lambda: connection, project_id="p", location="EU", get_client=lambda **given: asked.update(given))
    assert through(hook, "SELECT 1", {"a": 1}) == (ArrowExtract, SMALL_CSV)
    assert (cloud.asked[0], asked) == (("SELECT 1\n", {"a": 1}), {"project_id": "p", "location": "EU"})


@pytest.mark.parametrize("driver", ["MySQLdb", "pymysql"])
def test_mysql_s_cursor_leaves_the_result_on_the_server(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    kind = type("SSCursor", (), {})
    monkeypatch.setitem(sys.modules, driver, SimpleNamespace())
    monkeypatch.setitem(sys.modules, f"{driver}.cursors", SimpleNamespace(SSCursor=kind))
    connection = type("Connection", (), {"__module__": f"{driver}.connections", "cursor": lambda self, kind: kind})()
    assert cursor_of(connection) is kind


@pytest.mark.parametrize(
    "value", ["'infinity'::timestamp", "'infinity'::date", "'0044-03-15 (BC)'::date", "'24:00:00'::time"]
)
def test_times_that_arrow_cannot_write_are_refused(value: str) -> None:
    with pytest.raises(ContactsRefused, match=r"column 'odd' holds a date or time outside"):
        through(AnyHook(duckdb.connect), f"SELECT {value} AS odd")


def test_a_time_that_has_no_moment_in_utc_is_refused() -> None:
    late = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))
    with pytest.raises(ContactsRefused, match=r"'odd' holds a date or time outside"):
        csv_format.lines([(late,)], ["odd"])


def test_parameters_are_read_whatever_the_connection_s_encoding(postgres: PostgresServer) -> None:
    with closing(psycopg2.connect(postgres.uri, client_encoding="LATIN1")) as connection:
        assert collected(CopyExtract(connection), "SELECT %s::text AS name", ["José"]).content == "José\n".encode()
