"""What the words of a ping-back mean: Smartech documents neither its fields nor its words, so both are settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_smartech.uploads.payloads import leaves, normalized
from airflow_provider_smartech.uploads.row_counts import REJECTED, kind_of, number

# Values that mean "no error" in an error field, or "not set" in a flag.
_NOTHING = frozenset(
    {"", "0", "none", "null", "nil", "undefined", "no", "n", "false", "n/a", "na", "noerror", "noerrors", "ok"}
)
_NOT = frozenset({"false", "no", "n", "0"})
_YES = frozenset({"true", "yes", "y"})
# Field names that indicate a failure.
_BAD = re.compile(r"error|exception|fail|reject|abort|cancel|invalid|^(?:is|has)?fault")
# Names of success flags, besides the known words.
_GOOD = frozenset({"success", "successful", "ok", "loaded", "uploaded", "accepted", "valid"})
_FLAG = re.compile(r"^(?:is|has|was|are)")
# The fields of the API's answer to a request.
_ECHO = {"result", "requestid"}


class Verdict(StrEnum):
    """What one ping-back says about its upload; if it says several things, the later member wins."""

    SILENT = "says nothing"
    COMPLETED = "completed"
    IN_PROGRESS = "in progress"
    UNRECOGNISED = "unrecognised"
    FAILED = "failed"

    @property
    def is_terminal(self) -> bool:
        """Whether it means that the upload has ended."""
        return self not in (Verdict.SILENT, Verdict.IN_PROGRESS)

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict | None:
        """Return the verdict that wins, None if there are none."""
        return max(verdicts, key=list(cls).index, default=None)


@dataclass(frozen=True)
class Statuses:
    """The fields that contain a status, and the known words.

    Case, white space, ``_``, ``-`` and ``.`` are ignored in fields and words. ``echo_completes``: a ping-back
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
        """Return the statuses for these fields and words; a word in two lists gets the worse meaning."""
        words: dict[str, Verdict] = {}
        for verdict, known in (
            (Verdict.COMPLETED, completed),
            (Verdict.IN_PROGRESS, progress),
            (Verdict.FAILED, failed),
        ):
            words |= {normalized(word): verdict for word in known}
        return cls(frozenset(map(normalized, fields)), words, echo_completes, pingbacks_expected)

    def verdict(self, payload: Any, query: Any = None, requestid: str | None = None) -> Verdict:
        """Return what a ping-back (JSON values: its body and its query) says about the upload with this requestid.

        The worst of its status fields counts. No status, or an unknown word, is ``UNRECOGNISED``; an empty body is
        ``SILENT``. The verdict is ``COMPLETED`` only if nothing else in the ping-back contradicts it, and ``FAILED``
        only if the ping-back is about this upload. If the requestid is not known, it is not compared.
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
        # A blank status next to another one is ignored.
        return [word for word in found if word.strip()] or found

    def _is_status(self, names: Sequence[str], value: Any) -> bool:
        """Whether a value is a status: it is in a status field, or in an object there, and is not a row count."""
        path = [normalized(name) for name in names]
        if self.fields.isdisjoint(path):
            return False
        is_count = kind_of(path[-1]) is not None and number(value) is not None
        return path[-1] in self.fields or not (path[-1] == "requestid" or is_count)

    def _says_otherwise(self, parts: Sequence[Any]) -> bool:
        """Whether another field contradicts a success word."""
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
            # Named like a row count, but the value is not a number.
            return True
        counted = rows is not None and kind and any(kind_of(name) is REJECTED for name in path)
        bad = any(_BAD.search(name) for name in path) and known is not Verdict.COMPLETED
        # Rejected rows are judged separately, except those inside a status field.
        return bad and (not counted or not self.fields.isdisjoint(path[:-1]))


def requestids(payload: Any) -> set[str]:
    """Return the requestids in a ping-back."""
    named = (
        str(value).strip()
        for names, value in leaves(payload)
        if value and {"requestid", "requestids"} & {normalized(name) for name in names}
    )
    return set(named) - {""}


def _is_echo(parts: Sequence[Any]) -> bool:
    """Whether it only repeats the API's answer to the request: Success, and perhaps a requestid."""
    said = [
        (normalized(names[-1]), value) for part in parts for names, value in leaves(part) if value not in (None, "")
    ]
    results = {normalized(str(value)) for name, value in said if name == "result"}
    return results == {"success"} and {name for name, _ in said} <= _ECHO
