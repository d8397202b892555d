"""Where a statement of SQL ends, as far as that can be told without knowing whose SQL it is.

Not by sqlparse, which takes a backslash in a text for an escape, and ``#`` for a comment: PostgreSQL does neither.
"""

from __future__ import annotations

import re

_PIECE = r"""
    {text} | `[^`]*` | (?P<dollar> \$ (?:[^\W\d]\w*)? \$) .*? (?P=dollar)
  | (?P<blank> \s+ | --[^\n]* | /\*.*?\*/ )
  | (?P<semicolon> ; )
  | [^\s;'"`$/-]+ | .
"""

# Databases do not agree whether a backslash escapes the quote after it.
_READINGS = [
    re.compile(_PIECE.format(text=text), re.DOTALL | re.VERBOSE)
    for text in (r"""'[^']*'? | "[^"]*"? """, r"""'(?:[^'\\]|\\.)*'? | "(?:[^"\\]|\\.)*"? """)
]


def without_end(sql: str) -> str:
    """Return the statement without its last semicolon and the comments after it."""
    ends = {_last_semicolon(sql, reading) for reading in _READINGS}
    # A semicolon that may stand in a text stays, if it is not the very last character.
    statement = sql[: ends.pop()] if len(ends) == 1 else sql
    return statement.strip().removesuffix(";")


def is_several(sql: str) -> bool:
    """Whether another statement follows the first, however texts are read."""
    return all(_first_semicolon(sql, reading) < _last_semicolon(sql, reading) for reading in _READINGS)


def _first_semicolon(sql: str, reading: re.Pattern[str]) -> int:
    return next((piece.start() for piece in reading.finditer(sql) if piece["semicolon"]), len(sql))


def _last_semicolon(sql: str, reading: re.Pattern[str]) -> int:
    found = None
    for piece in reading.finditer(sql):
        if not piece["semicolon"] and not piece["blank"]:
            found = None
        elif piece["semicolon"] and found is None:
            found = piece.start()
    return len(sql) if found is None else found
