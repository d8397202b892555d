"""What the words of a ping-back mean: Smartech documents neither its fields nor its words, so both are settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_smartech.uploads.payloads import leaves, normalized
from airflow_provider_smartech.uploads.row_counts import REJECTED, kind_of, number

# Texts that say, in a field for errors, that there is none; and in a flag, that it is not set.
_NOTHING = frozenset(
    {"", "0", "none", "null", "nil", "undefined", "no", "n", "false", "n/a", "na", "noerror", "noerrors", "ok"}
)
_NOT = frozenset({"false", "no", "n", "0"})
_YES = frozenset({"true", "yes", "y"})
# What a name holds that speaks of a failure.
_BAD = re.compile(r"error|exception|fail|reject|abort|cancel|invalid|^(?:is|has)?fault")
# What a flag of success may be called besides the words that are known.
_GOOD = frozenset({"success", "successful", "ok", "loaded", "uploaded", "accepted", "valid"})
_FLAG = re.compile(r"^(?:is|has|was|are)")
# The fields of the API's answer to a request.
_ECHO = {"result", "requestid"}


class Verdict(StrEnum):
    """What one ping-back says of its upload; the later member wins where it says several things."""

    SILENT = "says nothing"
    COMPLETED = "completed"
    IN_PROGRESS = "in progress"
    UNRECOGNISED = "unrecognised"
    FAILED = "failed"

    @property
    def is_terminal(self) -> bool:
        """Whether it is about an upload that is over."""
        return self not in (Verdict.SILENT, Verdict.IN_PROGRESS)

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict | None:
        """Return the one that wins, None of none."""
        return max(verdicts, key=list(cls).index, default=None)


@dataclass(frozen=True)
class Statuses:
    """The fields that hold a status, and the words that are known.

    Case, blanks, ``_``, ``-`` and ``.`` do not matter, neither in fields nor in words. ``echo_completes``: a ping-back
    that only repeats the API's acceptance, ``{"result": "Success"}``, counts as completion. ``pingbacks_expected``: how
    many different terminal ping-backs end an upload.
    """

    fields: frozenset[str]
    words: dict[str, Verdict]
    echo_completes: bool = False
    pingbacks_expected: int = 1

    @classmethod
    def of(
        cls,
        fields: Iterable[str],
        completed: Iterable[str],
        failed: Iterable[str],
        progress: Iterable[str],
        echo_completes: bool = False,
        pingbacks_expected: int = 1,
    ) -> Statuses:
        """Return the statuses for these fields and words; a word in two lists takes the worse meaning."""
        words: dict[str, Verdict] = {}
        for verdict, known in (
            (Verdict.COMPLETED, completed),
            (Verdict.IN_PROGRESS, progress),
            (Verdict.FAILED, failed),
        ):
            words |= {normalized(word): verdict for word in known}
        return cls(frozenset(map(normalized, fields)), words, echo_completes, pingbacks_expected)

    def verdict(self, payload: Any, query: Any = None, requestid: str | None = None) -> Verdict:
        """Judge one ping-back (JSON values: its body and its query) about the upload with this requestid, if known.

        It is the worst of what its status fields say. No status, or a word that is not known, is ``UNRECOGNISED``;
        an empty body is ``SILENT``. It is ``COMPLETED`` only if nothing else in it says otherwise, and ``FAILED`` only
        if it is about this upload.
        """
        parts = [payload, query]
        words = [word for part in parts for word in self._words(part)]
        if not words and payload in (None, "", {}, []):
            return Verdict.SILENT
        known = [self.words.get(normalized(word), Verdict.UNRECOGNISED) for word in words]
        verdict = Verdict.worst(known) or Verdict.UNRECOGNISED
        if not verdict.is_terminal:
            return verdict
        if requestid is not None and {one.lower() for one in requestids(parts)} - {requestid.lower()}:
            return Verdict.UNRECOGNISED
        doubtful = verdict is Verdict.COMPLETED and (
            self._says_otherwise(parts) or (_is_echo(parts) and not self.echo_completes)
        )
        return Verdict.UNRECOGNISED if doubtful else verdict

    def _words(self, part: Any) -> list[str]:
        if not isinstance(part, dict | list) and part not in (None, ""):
            return [str(part)]
        found = [str(value) for names, value in leaves(part) if value is not None and self._is_status(names, value)]
        # A status that is left blank beside another says nothing.
        return [word for word in found if word.strip()] or found

    def _is_status(self, names: Sequence[str], value: Any) -> bool:
        """Whether a value is a status: it is in a status field, or in an object there, and is no number of rows."""
        path = [normalized(name) for name in names]
        if self.fields.isdisjoint(path):
            return False
        is_count = kind_of(path[-1]) is not None and number(value) is not None
        return path[-1] in self.fields or not (path[-1] == "requestid" or is_count)

    def _says_otherwise(self, parts: Sequence[Any]) -> bool:
        """Whether something beside a good word contradicts it."""
        return any(
            self._contradicts([normalized(name) for name in names], value)
            for part in parts
            for names, value in leaves(part)
        )

    def _contradicts(self, path: list[str], value: Any) -> bool:
        text, rows, kind = normalized(str(value)), number(value), kind_of(path[-1])
        known = self.words.get(text)
        if known is Verdict.FAILED:
            return True
        flag = _FLAG.sub("", path[-1])
        is_good = flag in _GOOD or self.words.get(flag) is Verdict.COMPLETED
        if is_good and text in _NOT and (kind is None or rows is None):
            return True
        if value is None or text in _NOTHING or rows == 0:
            return False
        if kind and rows is None and text not in _YES and known is None:
            # Named like a number of rows, and none that can be read.
            return True
        counted = rows is not None and kind and any(kind_of(name) is REJECTED for name in path)
        bad = any(_BAD.search(name) for name in path) and known is not Verdict.COMPLETED
        # Rejected rows have a verdict of their own, but for those in place of a status.
        return bad and (not counted or not self.fields.isdisjoint(path[:-1]))


def requestids(payload: Any) -> set[str]:
    """Return the requestids that a ping-back names."""
    named = (
        str(value).strip()
        for names, value in leaves(payload)
        if value and {"requestid", "requestids"} & {normalized(name) for name in names}
    )
    return set(named) - {""}


def _is_echo(parts: Sequence[Any]) -> bool:
    """Whether it says no more than the API's answer to the request did: Success, and perhaps a requestid."""
    said = [
        (normalized(names[-1]), value) for part in parts for names, value in leaves(part) if value not in (None, "")
    ]
    results = {normalized(str(value)) for name, value in said if name == "result"}
    return results == {"success"} and {name for name, _ in said} <= _ECHO
