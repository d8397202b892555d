"""Requestids as tasks hand them to each other, through XCom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def requestids_of(given: object) -> list[str]:
    """Return the requestids in what tasks returned: a text, a mapping with ``requestids``, or a sequence of these.

    Empty if any part of it holds no requestid: whoever waits must not skip that part.
    """
    if isinstance(given, str):
        return [given] if _is_requestid(given) else []
    if isinstance(given, Mapping):
        return requestids_of(given.get("requestids"))
    if not isinstance(given, Sequence):
        return []
    parts = [requestids_of(part) for part in given]
    return [requestid for part in parts for requestid in part] if all(parts) else []


def _is_requestid(text: str) -> bool:
    # A list or a mapping that was rendered by a Jinja template is a text that begins like this.
    return text.strip() not in ("", "None") and text.strip()[0] not in "[{"
