"""Parses the content of a ping-back, in any format, into a JSON value that can be stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from airflow_provider_smartech.json_values import object_of, read_json, storable

Leaf: TypeAlias = tuple[tuple[str, ...], Any]

# Longer integers are not counts, and not every JSON parser accepts them.
LONGEST_INTEGER_DIGITS = 18


def read_payload(body: bytes, *, is_form: bool = False) -> Any:
    """Return a ping-back's body as a JSON value: parsed JSON, else form fields, else the text itself.

    JSON is recognised with any content type, because Smartech documents none. Repeated fields become lists. Bytes that
    are not UTF-8 are escaped, and JSON that is nested too deeply is kept as text.
    """
    text = body.decode("utf-8-sig", errors="backslashreplace").strip()
    try:
        value = _parsed(text)
    except ValueError:
        value = _form(text, is_form) or text
    return storable(value)


def read_query(query: str) -> dict[str, Any]:
    """Return the fields of a URL's query; repeated ones become lists."""
    fields: dict[str, Any] = storable(object_of(parse_qsl(query, keep_blank_values=True, errors="backslashreplace")))
    return fields


def leaves(value: Any) -> Iterator[Leaf]:
    """Yield the scalar values of a JSON value in order, each with the names that lead to it.

    Values without a name, such as a bare text, are left out. A text that contains JSON, as in a form field, is parsed.
    Does not use recursion, because the sender controls the depth.
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


def normalized(text: str) -> str:
    """Return a name or word in lower case, without white space, ``_``, ``-`` and ``.``."""
    return re.sub(r"[\s_\-.]+", "", text).casefold()


def _parsed(text: str) -> Any:
    return read_json(text, parse_constant=str, parse_int=_integer, object_pairs_hook=object_of)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_INTEGER_DIGITS else digits


def _form(text: str, is_form: bool) -> dict[str, Any]:
    # A URL also has a "=" in its query, but must not be split.
    if not re.match(r"[^=&/?\s]+=", text) or not (is_form or re.fullmatch(r"\S+", text)):
        return {}
    return object_of(parse_qsl(text, keep_blank_values=True, errors="backslashreplace"))


def _opened(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return text
    try:
        return _parsed(text)
    except ValueError:
        return text
