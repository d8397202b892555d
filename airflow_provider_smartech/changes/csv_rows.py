"""The lines of a piece of CSV, and the text of one column in each: as ``extracts.csv_format`` writes them."""

from __future__ import annotations

import re
from functools import cache

from airflow_provider_smartech.errors import ContactsRefused

_LINE = re.compile(rb'[^"\n]*(?:"[^"]*"[^"\n]*)*\n')
_FIELD = rb'(?:"[^"]*(?:""[^"]*)*"|[^",\n]*)'


def lines_and_keys(piece: bytes, rows: int, key: int) -> tuple[list[bytes], list[bytes]]:
    """Return the lines of a piece, and their texts in the column at this position, quoted as they are.

    :raises ContactsRefused: the piece has another number of lines.
    """
    if b'"' in piece:
        lines = _LINE.findall(piece)
        form = _column(key)
        keys = [match[1] for match in map(form.match, lines) if match]
    else:
        lines = piece.splitlines(keepends=True) if b"\r" not in piece else _LINE.findall(piece)
        keys = (
            [line.split(b",", key + 1)[key] for line in lines] if key else [line.partition(b",")[0] for line in lines]
        )
        keys = [text.rstrip(b"\n") for text in keys] if keys and keys[0].endswith(b"\n") else keys
    if not len(lines) == len(keys) == rows:
        raise ContactsRefused("the query", "its rows cannot be told apart. Upload them without only_changes.")
    return lines, keys


@cache
def _column(key: int) -> re.Pattern[bytes]:
    return re.compile(rb"(?:" + _FIELD + rb",){%d}(" % key + _FIELD + rb")")
