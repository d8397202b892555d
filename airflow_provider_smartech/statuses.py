"""What the words of a ping-back mean: Smartech documents neither its fields nor its words, so both are settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_COUNT_FIELDS = frozenset(
    {"total", "totalcount", "totalrecords", "totalrows", "count", "rows", "records", "processed"}
    | {"success", "successcount", "succeeded", "accepted", "added", "inserted", "updated", "uploaded"}
    | {"failed", "failedcount", "failurecount", "rejected", "rejectedcount", "invalid", "invalidcount", "errors"}
    | {"duplicate", "duplicates", "skipped"}
)


_TOTAL_FIELDS = ("total", "totalcount", "totalrecords", "totalrows", "count", "rows", "records")


class Verdict(StrEnum):
    """What one ping-back says of its upload; the later member wins where it says several things."""

    COMPLETED = "completed"
    IN_PROGRESS = "in progress"
    UNRECOGNISED = "unrecognised"
    FAILED = "failed"


@dataclass(frozen=True)
class Statuses:
    """The fields that hold a status, and the words that are known.

    Case, blanks, ``_`` and ``-`` do not matter, neither in fields nor in words.
    """

    fields: frozenset[str]
    words: dict[str, Verdict]

    @classmethod
    def of(
        cls, fields: Iterable[str], completed: Iterable[str], failed: Iterable[str], progress: Iterable[str]
    ) -> Statuses:
        """Return the statuses for these fields and words; a word in two lists takes the worse meaning."""
        words: dict[str, Verdict] = {}
        for verdict, known in (
            (Verdict.COMPLETED, completed),
            (Verdict.IN_PROGRESS, progress),
            (Verdict.FAILED, failed),
        ):
            words |= {_squeezed(word): verdict for word in known}
        return cls(frozenset(map(_squeezed, fields)), words)

    def verdict(self, payload: Any) -> Verdict:
        """Judge one ping-back (a JSON value): the worst of what its status fields say.

        No status, or a word that is not known, is ``UNRECOGNISED``: only a known word means success.
        """
        said = [self.words.get(_squeezed(word), Verdict.UNRECOGNISED) for word in self._status_words(payload)]
        return max(said, key=list(Verdict).index, default=Verdict.UNRECOGNISED)

    def _status_words(self, payload: Any) -> Iterator[str]:
        if not isinstance(payload, dict | list):
            yield str(payload)
        for field, value in _leaves(payload):
            if _squeezed(field) in self.fields and value is not None:
                yield str(value)


def counts(payload: Any) -> dict[str, int]:
    """Return the numbers of contacts that a ping-back names, under its own field names."""
    found = {}
    for field, value in _leaves(payload):
        digits = str(value).strip()
        if _squeezed(field) in _COUNT_FIELDS and digits.isascii() and digits.isdigit() and len(digits) < 16:
            found[field] = int(digits)
    return found


def total(payload: Any) -> int | None:
    """Return how many contacts a ping-back speaks of in all, if it names such a number."""
    named = {_squeezed(field): number for field, number in counts(payload).items()}
    return next((named[field] for field in _TOTAL_FIELDS if field in named), None)


def requestid(payload: Any) -> str | None:
    """Return the requestid that a ping-back names, if it names exactly one."""
    named = {str(value).strip() for field, value in _leaves(payload) if _squeezed(field) == "requestid" and value}
    return named.pop() if len(named) == 1 else None


def _leaves(payload: Any) -> Iterator[tuple[str, Any]]:
    """Walk a JSON value without recursion, because its depth is the sender's choice."""
    waiting = [("", payload)]
    while waiting:
        field, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend((field, item) for item in reversed(value))
        elif field:
            yield field, value


def _squeezed(text: str) -> str:
    return re.sub(r"[\s_\-.]+", "", text).casefold()
