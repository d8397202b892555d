"""Reads JSON from untrusted senders safely, and makes its values acceptable for every JSON writer."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

DEEPEST_NESTING = 32
# A string is one token, even without its closing quote: brackets in it do not count, and nothing is read twice.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def read_json(text: str, **parsing: Any) -> Any:
    """Return the JSON value of a text, parsed by ``json.loads`` with these arguments.

    :raises ValueError: it is not JSON, or is nested more than 32 levels deep. Such a text is not parsed at all: at the
        end of the stack other code, such as another object's clean-up, would fail too.
    """
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > DEEPEST_NESTING:
            raise ValueError("nested too deeply")
    return json.loads(text, **parsing)


def storable(value: Any) -> Any:
    """Return a JSON value that every JSON writer accepts: no lone surrogates, NULs or non-finite numbers."""
    if isinstance(value, str):
        # PostgreSQL's JSON cannot store the NUL character.
        return value.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return object_of((storable(key), storable(item)) for key, item in value.items())
    return value


def object_of(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from names and values; the values of a repeated name become a list.

    The last value alone might mean success while another does not.
    """
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: several[0] if len(several) == 1 else several for name, several in values.items()}
