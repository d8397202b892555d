"""Drivers that return Arrow record batches: lines are made column by column, without a Python object for each value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_smartech.extracts import csv_format
from airflow_provider_smartech.extracts.base import Query, Sink

if TYPE_CHECKING:
    from airflow_provider_smartech.extracts.arrow_drivers import RunQuery

# Bytes of a batch that are converted to lines at once.
PIECE_BYTES = 1 << 20

# The first day of the years that Python and Arrow format alike, and the first day after them; the same for times.
DAYS = pa.array([-719_162, 2_932_897], pa.int32()).view(pa.date32())
HOURS = pa.array([0, 24 * 3600 * 1_000_000], pa.int64()).view(pa.time64("us"))

_SPECIAL = "[{}]".format("".join(csv_format.SPECIAL))


class ArrowExtract:
    """Reads a query as record batches or tables; ``run`` runs it."""

    def __init__(self, run: RunQuery) -> None:
        self._run = run

    def send(self, query: Query, sink: Sink) -> None:
        """Read the whole query and pass its rows to the sink."""
        with self._run(query) as (names, batches):
            key = sink.begin(names)
            for batch in batches:
                for part in map(_without_views, _small(batch)):
                    _add(part if key is None else _with_key(part, key, sink), sink)


def _small(batch: pa.RecordBatch | pa.Table) -> Iterator[pa.RecordBatch]:
    """Split a batch so that the lines of each part are small, if the rows have about the same size."""
    tables = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
    for table in tables:
        rows = max(1, PIECE_BYTES * table.num_rows // max(1, table.nbytes))
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Convert string views to strings: Arrow cannot compute with views."""
    columns = [_without_view(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _without_view(column: pa.Array) -> pa.Array:
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    if pa.types.is_dictionary(column.type) and pa.types.is_string_view(column.type.value_type):
        return pa.DictionaryArray.from_arrays(column.indices, _without_view(column.dictionary))
    return column


def _with_key(batch: pa.RecordBatch, key: int, sink: Sink) -> pa.RecordBatch:
    column = batch.column(key)
    if _is_text(column.type):
        keep = pc.not_equal(pc.utf8_trim(_plain(column), csv_format.BLANKS), "").fill_null(False)
    else:
        keep = column.is_valid()
    kept = batch.filter(keep)
    sink.skip(batch.num_rows - kept.num_rows)
    return kept


def _add(batch: pa.RecordBatch, sink: Sink) -> None:
    while batch.num_rows:
        part = batch if sink.room is None else batch.slice(0, sink.room)
        sink.add(_lines(part), part.num_rows)
        batch = batch.slice(part.num_rows)


def _lines(batch: pa.RecordBatch) -> memoryview:
    """Return the rows as lines of CSV: the texts of an Arrow array are stored one after the other in memory."""
    columns = [_texts(column, name) for column, name in zip(batch.columns, batch.schema.names, strict=True)]
    null = "" if len(columns) > 1 else '""'
    rows = pc.binary_join_element_wise(*columns, _large(","), null_handling="replace", null_replacement=null)
    lines = pc.binary_join_element_wise(rows, _large(""), _large("\n"))
    _, offsets, data = lines.buffers()
    first, last = memoryview(offsets).cast("q")[lines.offset], memoryview(offsets).cast("q")[lines.offset + len(lines)]
    return memoryview(data)[first:last]


def _large(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def _texts(column: pa.Array, name: str) -> pa.Array:
    """Return the texts of a column, as an array of large strings."""
    numeric = isinstance(column.type, pa.OpaqueType) and column.type.type_name == "numeric"
    column = _plain(column)
    kind = column.type
    if numeric:
        return _numeric(column.cast(pa.large_string()))
    if _is_text(kind):
        return _quoted(column.cast(pa.large_string()))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return column.cast(pa.large_string())
    if pa.types.is_date(kind):
        days = column.cast(pa.date32())
        return _within(days, DAYS, name).cast(pa.large_string())
    if pa.types.is_floating(kind):
        return _floating(column)
    if pa.types.is_decimal(kind):
        return _decimal(column)
    if pa.types.is_time(kind):
        return _trimmed(_within(column.cast(pa.time64("us"), safe=False), HOURS, name))
    if pa.types.is_timestamp(kind):
        return _timestamp(column, name)
    raise csv_format.without_text(name, str(kind))


def _plain(column: pa.Array) -> pa.Array:
    """Decode what only stores values differently: dictionaries, and extension types of a driver."""
    if isinstance(column, pa.ExtensionArray):
        if isinstance(column.type, pa.UuidType):
            return pa.array([str(value) if value else None for value in column.to_pylist()], pa.large_string())
        return column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _quoted(column: pa.Array) -> pa.Array:
    special = pc.or_(pc.match_substring_regex(column, _SPECIAL), pc.equal(column, ""))
    if not pc.any(special).as_py():
        return column
    inner = pc.replace_substring(column, '"', '""')
    quoted = pc.binary_join_element_wise(_large('"'), inner, _large('"'), _large(""))
    return pc.if_else(special, quoted, column)


def _floating(column: pa.Array) -> pa.Array:
    written = column.cast(pa.large_string())
    size = pc.abs(column)
    # Between these bounds Arrow writes a number as PostgreSQL does.
    upper = 1e9 if column.type.bit_width == 64 else 2.0**24
    same = pc.or_(pc.and_(pc.greater_equal(size, 1e-4), pc.less(size, upper)), pc.equal(size, 0))
    if pc.all(same).as_py() is not False:
        return written
    text = csv_format.floating if column.type.bit_width == 64 else _short_floating
    return pa.array([None if value is None else text(value) for value in column.to_pylist()], pa.large_string())


def _short_floating(value: float) -> str:
    """Format a number of four bytes or less with its own digits, not with those of the double."""
    if not value or not math.isfinite(value):
        return csv_format.floating(value)
    step = math.ldexp(1.0, max(math.frexp(value)[1], -125) - 24)
    return csv_format.floating(float(csv_format.fewest_digits(value, step)))


def _numeric(column: pa.Array) -> pa.Array:
    """Return PostgreSQL's decimal numbers, which ADBC returns as text, with PostgreSQL's words for NaN and infinity."""
    for word, text in csv_format.NOT_FINITE.items():
        column = pc.if_else(pc.equal(column, word), _large(text), column)
    return column


def _decimal(column: pa.Array) -> pa.Array:
    written = column.cast(pa.large_string())
    if column.type.scale in range(7):
        return written
    # Arrow writes small numbers with an exponent.
    return pa.array([None if value is None else format(value, "f") for value in column.to_pylist()], pa.large_string())


def _timestamp(column: pa.Array, name: str) -> pa.Array:
    zone = column.type.tz
    # Converted to UTC and then to no zone: formatting with a zone takes ten times as long.
    utc = column.cast(pa.timestamp("us", zone and "UTC"), safe=False).cast(pa.timestamp("us"))
    written = _trimmed(_within(utc, DAYS.cast(utc.type), name))
    return pc.binary_join_element_wise(written, _large("+00"), _large("")) if zone else written


def _trimmed(column: pa.Array) -> pa.Array:
    """Return the texts of times, without trailing zeros in the six digits after the second."""
    return pc.ascii_rtrim(pc.ascii_rtrim(column.cast(pa.large_string()), "0"), ".")


def _within(column: pa.Array, bounds: pa.Array, name: str) -> pa.Array:
    """Check that times are within bounds, the second excluded: Arrow formats other times wrongly."""
    found = pc.min_max(column)
    if found["min"].is_valid and (
        pc.less(found["min"], bounds[0]).as_py() or pc.greater_equal(found["max"], bounds[1]).as_py()
    ):
        raise csv_format.out_of_range(name)
    return column
