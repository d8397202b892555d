"""Reading what a ping-back carries, in whatever form it comes, into a JSON value that can be kept."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

Leaf: TypeAlias = tuple[tuple[str, ...], Any]

DEEPEST = 32
# A text is taken whole, also one that never ends, so that no bracket in it counts and none is read twice.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def read_payload(body: bytes, *, is_form: bool = False) -> Any:
    """Return what a ping-back carries as a JSON value: JSON, else a form's fields, else the text itself.

    JSON is recognised whatever the content type says, because Smartech documents none. Repeated fields become lists.
    Bytes that are not UTF-8 are shown as escapes, and JSON that is nested too deeply is kept as text.
    """
    text = body.decode("utf-8-sig", errors="backslashreplace").strip()
    try:
        value = read_json(text, parse_constant=str, parse_int=_integer, object_pairs_hook=gathered)
    except ValueError:
        value = _form(text, is_form) or text
    return storable(value)


def read_query(query: str) -> dict[str, Any]:
    """Return the fields of a URL's query; repeated ones become lists."""
    fields: dict[str, Any] = storable(gathered(parse_qsl(query, keep_blank_values=True, errors="backslashreplace")))
    return fields


def read_json(text: str, **parsing: Any) -> Any:
    """Return the JSON value that somebody sent, read as ``json.loads`` does with these arguments.

    :raises ValueError: it is no JSON, or nested more than 32 deep. Nothing parses that here: what else runs where the
        stack ends, such as another object's clean-up, would fail.
    """
    depth = 0
    for token in TOKEN.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
    return json.loads(text, **parsing)


def _integer(digits: str) -> int | str:
    # Longer ones are no counts, and not every reader of JSON takes them.
    return int(digits) if len(digits) <= 18 else digits


def _form(text: str, is_form: bool) -> dict[str, Any]:
    # A URL has a "=" in its query as well, and must stay in one piece.
    if not re.match(r"[^=&/?\s]+=", text) or not (is_form or re.fullmatch(r"\S+", text)):
        return {}
    return gathered(parse_qsl(text, keep_blank_values=True, errors="backslashreplace"))


def leaves(value: Any) -> Iterator[Leaf]:
    """Give the single values of a JSON value in their order, each with the names that lead to it.

    What has no name, such as a text alone, is not among them. A text that is itself JSON, as in a field of a form, is
    opened. Walks without recursion, because the depth is the sender's choice.
    """
    waiting: list[Leaf] = [((), value)]
    while waiting:
        names, value = waiting.pop()
        if names and isinstance(value, str):
            value = _opened(value)
        if isinstance(value, dict):
            waiting.extend(((*names, name), item) for name, item in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend((names, item) for item in reversed(value))
        elif names:
            yield names, value


def _opened(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return text
    try:
        return read_json(text, parse_constant=str, parse_int=_integer, object_pairs_hook=gathered)
    except ValueError:
        return text


def squeezed(text: str) -> str:
    """Return a name or word without what does not matter in it: case, blanks, ``_``, ``-`` and ``.``."""
    return re.sub(r"[\s_\-.]+", "", text).casefold()


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
        return gathered((storable(key), storable(item)) for key, item in value.items())
    return value


def gathered(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of names and values; the values of a repeated name become a list.

    The last one alone might say success where another does not.
    """
    values: dict[str, list[Any]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: several[0] if len(several) == 1 else several for name, several in values.items()}
