"""The text of a value in the CSV, the same for all drivers.

==================  ======================================================================
NULL                nothing; ``""`` if there is only one column, because CSV readers skip blank lines
text                as it is; between quotes if it is empty or has a comma, quote or line break
whole numbers       ``42``
decimal numbers     ``0.0000100``, with the digits that the type keeps, never an exponent
floating point      as PostgreSQL writes it, shortest: ``0.1``, ``100000``, ``1e+15``, ``NaN``, ``Infinity``
booleans            ``true``, ``false``
dates, times        ``2026-01-31``, ``23:59:59.5``
timestamps          ``2026-01-31 23:59:59.5``; with a time zone, in UTC: ``2026-01-31 23:59:59.5+00``
UUIDs               ``6d5a2a0e-…``
==================  ======================================================================

Other types have no text that all drivers agree on; the query can cast them to text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from types import NoneType
from typing import Any
from uuid import UUID

from airflow_provider_smartech.errors import ContactsRefused

QUERY = "the query"
# A key with only these characters is blank. The set is fixed, because databases and languages define white space
# differently.
BLANKS = " \t\n\r\v\f"
SPECIAL = ('"', ",", "\n", "\r")


def header(names: Sequence[str]) -> bytes:
    """Return the first line of a CSV with these columns."""
    return (",".join(map(_text, names)) + "\n").encode()


def lines(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> bytes:
    """Return rows of Python values as lines of CSV in UTF-8.

    :raises ContactsRefused: a value has a type without a text, or contains half of a surrogate pair.
    """
    try:
        columns = [column(values, name) for values, name in zip(zip(*rows, strict=True), names, strict=True)]
    except OverflowError:
        raise out_of_range(", ".join(names)) from None
    if len(columns) == 1:
        columns = [[text or '""' for text in columns[0]]]
    text = "\n".join(map(",".join, zip(*columns, strict=True)))
    try:
        return f"{text}\n".encode()
    except UnicodeEncodeError:
        broken = [name for name, values in zip(names, columns, strict=True) if not _encodable("".join(values))]
    raise ContactsRefused(QUERY, f"column {broken[0]!r} has text that is not valid Unicode; fix it in the query.")


def column(values: Sequence[Any], name: str) -> Sequence[str]:
    """Return the texts of one column's values, quoted where they must be."""
    kinds = set(map(type, values))
    nullable = NoneType in kinds
    kinds.discard(NoneType)
    if len(kinds) > 1:
        return [_of_type(type(value), name)(value) if value is not None else "" for value in values]
    if not kinds:
        return [""] * len(values)
    kind = kinds.pop()
    if kind is str and not nullable and not needs_quotes(values):
        return values
    text = _of_type(kind, name)
    return [text(value) if value is not None else "" for value in values] if nullable else list(map(text, values))


def needs_quotes(values: Sequence[str]) -> bool:
    """Whether any of the texts must be quoted; checking all at once is much faster than one by one."""
    joined = "".join(values)
    return any(character in joined for character in SPECIAL) or "" in values


def is_blank(value: Any) -> bool:
    """Whether a key is NULL or blank."""
    return value is None or (isinstance(value, str) and not value.strip(BLANKS))


def without_text(name: str, kind: str) -> ContactsRefused:
    """Return the error for a column of a type that has no text."""
    return ContactsRefused(
        QUERY, f"column {name!r} has the type {kind}, which cannot be written as text; cast it to text in the query."
    )


def out_of_range(name: str) -> ContactsRefused:
    """Return the error for a column with a time that not all drivers support."""
    return ContactsRefused(
        QUERY,
        f"column {name!r} has a date or time outside the years 1 to 9999, or the hour 24; fix it in the query.",
    )


def floating(value: float) -> str:
    """Return a floating-point number as PostgreSQL does: with the fewest digits, and an exponent from 1e+15 on."""
    text = float.__repr__(value)
    if -1e15 < value < 1e15:
        return text.removesuffix(".0")
    return NOT_FINITE.get(text) or fewest_digits(value, math.ulp(value))


def fewest_digits(value: float, step: float) -> str:
    """Return the fewest digits that are nearer to the value than to its neighbours, which are a ``step`` away.

    Python also accepts a number exactly between two values, PostgreSQL does not.
    """
    value, sign = abs(value), "-" if value < 0 else ""
    # Below a power of two the values are twice as close, except for the smallest ones.
    closer = math.frexp(value)[0] == 0.5 and value / step >= 2**23
    below = Fraction(step) / (4 if closer else 2)
    for digits in range(17):
        text = f"{value:.{digits}e}"
        if -below < Fraction(text) - Fraction(value) < Fraction(step) / 2:
            break
    return f"{sign}{text}"


NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _text(value: str) -> str:
    if '"' in value:
        return '"' + value.replace('"', '""') + '"'
    if "," in value or "\n" in value or "\r" in value or not value:
        return f'"{value}"'
    return value


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _decimal(value: Decimal) -> str:
    return format(value, "f") if value.is_finite() else NOT_FINITE[str(float(value))]


def _time(value: time) -> str:
    text = value.isoformat()
    zone = text[max(text.find("+"), text.find("-")) :] if value.tzinfo else ""
    return f"{_clock(value)}{zone.removesuffix(':00')}"


def _timestamp(value: datetime) -> str:
    offset = value.utcoffset()
    if offset:
        value = value.astimezone(UTC)
    text = f"{value.date().isoformat()} {_clock(value)}"
    return text if offset is None else f"{text}+00"


# Three times as fast as isoformat, which matters for millions of rows.
_TWO_DIGITS = [f"{number:02}" for number in range(60)]


def _clock(value: datetime | time) -> str:
    text = f"{_TWO_DIGITS[value.hour]}:{_TWO_DIGITS[value.minute]}:{_TWO_DIGITS[value.second]}"
    return f"{text}.{value.microsecond:06}".rstrip("0") if value.microsecond else text


_TEXTS: dict[type, Callable[[Any], str]] = {
    str: _text,
    bool: _boolean,
    int: int.__repr__,
    float: floating,
    Decimal: _decimal,
    datetime: _timestamp,
    date: date.isoformat,
    time: _time,
    UUID: str,
}


def _of_type(kind: type, name: str) -> Callable[[Any], str]:
    for base in kind.__mro__:
        if base in _TEXTS:
            return _TEXTS[base]
    raise without_text(name, kind.__name__)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
