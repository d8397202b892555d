"""The lines of a piece of CSV, and the text of one column in each: as ``extracts.csv_format`` writes them."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from airflow_provider_smartech.errors import ContactsRefused

_FIELD = rb'(?:"[^"]*(?:""[^"]*)*"|[^",\n]*)'
LINE_BREAK, COMMA, QUOTE = b'\n,"'


def lines_and_keys(piece: bytes, rows: int, key: int) -> tuple[list[bytes], list[bytes]]:
    """Return the lines of a piece, and their texts in the column at this position, quoted as they are.

    :raises ContactsRefused: the piece has another number of lines.
    """
    text = np.frombuffer(piece, np.uint8)
    ends, quotes = np.flatnonzero(text == LINE_BREAK), np.flatnonzero(text == QUOTE)
    if len(ends) != rows:
        # Some are inside of quotes.
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    if len(ends) != rows:
        raise ContactsRefused("the query", "its rows cannot be told apart. Upload them without only_changes.")
    places = [0, *(ends + 1).tolist()]
    lines = [piece[start:end] for start, end in pairwise(places)]
    keys = [line.split(b",", key + 1)[key] for line in lines]
    if len(quotes):
        form = _column(key)
        for number in _with_early_quotes(text, np.array(places[:-1]), ends, quotes, key).tolist():
            if found := form.match(lines[number]):
                keys[number] = found[1]
    if keys and (len(quotes) or keys[0].endswith(b"\n")):
        # In the last column; quoted ones have none.
        keys = [text.removesuffix(b"\n") for text in keys]
    return lines, keys


def _with_early_quotes(
    text: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp], quotes: NDArray[np.intp], key: int
) -> NDArray[np.intp]:
    """Return the numbers of the lines that have a quote before the end of their key: a comma may be inside of it."""
    commas = np.append(np.flatnonzero(text == COMMA), np.full(key + 1, len(text)))
    key_ends = np.minimum(commas[np.searchsorted(commas, starts) + key], ends)
    first_quotes = np.append(quotes, len(text))[np.searchsorted(quotes, starts)]
    return np.flatnonzero(first_quotes < key_ends)


@cache
def _column(key: int) -> re.Pattern[bytes]:
    return re.compile(rb"(?:" + _FIELD + rb",){%d}(" % key + _FIELD + rb")")
