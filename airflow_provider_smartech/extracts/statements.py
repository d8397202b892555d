"""Where an SQL statement ends, as far as this can be determined without knowing the SQL dialect.

sqlparse is not used: it treats a backslash in a text as an escape, and ``#`` as a comment. PostgreSQL does neither.
"""

from __future__ import annotations

import re

_PIECE = r"""
    {text} | `[^`]*` | (?P<dollar> \$ (?:[^\W\d]\w*)? \$) .*? (?P=dollar)
  | (?P<blank> \s+ | --[^\n]* | /\*.*?\*/ )
  | (?P<semicolon> ; )
  | [^\s;'"`$/-]+ | .
"""

# Databases differ in whether a backslash escapes the quote after it.
_READINGS = [
    re.compile(_PIECE.format(text=text), re.DOTALL | re.VERBOSE)
    for text in (r"""'[^']*'? | "[^"]*"? """, r"""'(?:[^'\\]|\\.)*'? | "(?:[^"\\]|\\.)*"? """)
]


def without_end(sql: str) -> str:
    """Return the statement without its last semicolon and the comments after it."""
    ends = {_last_semicolon(sql, reading) for reading in _READINGS}
    # A semicolon that may be inside a text stays, unless it is the very last character.
    statement = sql[: ends.pop()] if len(ends) == 1 else sql
    return statement.strip().removesuffix(";")


def is_several(sql: str) -> bool:
    """Whether another statement follows the first, with both meanings of a backslash."""
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
