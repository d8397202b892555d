"""Requestids as tasks hand them to each other, through XCom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def requestids_of(given: object) -> list[str] | None:
    """Return the requestids in what tasks returned: a text, a mapping with ``requestids``, or a sequence of these.

    An empty list says that nothing was uploaded. None if any part of it is something else than requestids, such as what
    a mapped task without any instance returned: whoever waits must not skip that part.
    """
    if isinstance(given, str):
        return [given] if _is_requestid(given) else None
    if isinstance(given, Mapping):
        return requestids_of(given.get("requestids"))
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        return None
    if not given and not isinstance(given, list):
        return None
    parts = [requestids_of(part) for part in given]
    return None if None in parts else [requestid for part in parts for requestid in part or ()]


def _is_requestid(text: str) -> bool:
    # A list or a mapping that was rendered by a Jinja template is a text that begins like this.
    return text.strip() not in ("", "None") and text.strip()[0] not in "[{"
