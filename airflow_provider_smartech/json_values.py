"""JSON values that strangers send: reading them safely, and making them fit for every writer of JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

DEEPEST_NESTING = 32
# A text is taken whole, also one that never ends, so that no bracket in it counts and none is read twice.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def read_json(text: str, **parsing: Any) -> Any:
    """Return the JSON value that somebody sent, read as ``json.loads`` does with these arguments.

    :raises ValueError: it is no JSON, or nested more than 32 deep. Nothing parses that here: what else runs where the
        stack ends, such as another object's clean-up, would fail.
    """
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > DEEPEST_NESTING:
            raise ValueError("nested too deeply")
    return json.loads(text, **parsing)


def storable(value: Any) -> Any:
    """Return a JSON value as one that every JSON writer takes: no lone surrogates, zeros or infinite numbers."""
    if isinstance(value, str):
        # PostgreSQL's JSON has no place for the character 0.
        return value.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return object_of((storable(key), storable(item)) for key, item in value.items())
    return value


def object_of(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of names and values; the values of a repeated name become a list.

    The last one alone might say success where another does not.
    """
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: several[0] if len(several) == 1 else several for name, several in values.items()}
