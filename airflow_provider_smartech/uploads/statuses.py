"""What the words of a ping-back mean: Smartech documents neither its fields nor its words, so both are settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_smartech.uploads.payloads import Leaf, leaves, normalized
from airflow_provider_smartech.uploads.row_counts import NOT_DONE, REJECTED, kind_of, number

# Values that mean "no error" in an error field, or "not set" in a flag.
_NOTHING = frozenset(
    {"", "0", "none", "null", "nil", "undefined", "no", "n", "false", "n/a", "na", "noerror", "noerrors", "ok"}
)
_NOT = frozenset({"false", "no", "n", "0"})
_YES = frozenset({"true", "yes", "y"})
# Field names that indicate a failure.
_BAD = re.compile(
    rf"error|exception|fail|reject|abort|cancel|invalid|skipped|unsuccess|unprocessed|{NOT_DONE.pattern}|^(?:is|has)?fault"
)
# Names of success flags, besides the known words.
_GOOD = frozenset({"success", "successful", "ok", "loaded", "uploaded", "accepted", "valid"})
_FLAG = re.compile(r"^(?:is|has|was|are)")


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

    @property
    def slug(self) -> str:
        """Its name as one word, for metrics and logs, such as ``in_progress``."""
        return self.name.lower()

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict | None:
        """Return the verdict that wins, None if there are none."""
        return max(verdicts, key=list(cls).index, default=None)


class Doubt(StrEnum):
    """Why a ping-back is not recognised."""

    NO_STATUS = "no field of it is a status field"
    UNKNOWN_WORD = "its word is not known"
    OTHER_UPLOAD = "it names another requestid"
    CONTRADICTED = "another field contradicts its word"
    ECHO = "it says no more than the answer to the request"


@dataclass(frozen=True)
class Statuses:
    """The fields that contain a status, and the known words.

    Case, white space, ``_``, ``-`` and ``.`` are ignored in fields and words. ``echo_completes``: a ping-back that says
    no more than the API's acceptance, ``{"result": "Success"}``, counts as completion. ``pingbacks_expected``: how many
    different terminal ping-backs end an upload. ``written`` are the lists as they are configured, by option.
    """

    fields: frozenset[str]
    words: dict[str, Verdict]
    echo_completes: bool
    pingbacks_expected: int
    written: dict[str, tuple[str, ...]]

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
        written = {
            "status_fields": tuple(fields),
            "completed_words": tuple(completed),
            "failed_words": tuple(failed),
            "progress_words": tuple(progress),
        }
        words: dict[str, Verdict] = {}
        for verdict, option in (
            (Verdict.COMPLETED, "completed_words"),
            (Verdict.IN_PROGRESS, "progress_words"),
            (Verdict.FAILED, "failed_words"),
        ):
            words |= {normalized(word): verdict for word in written[option]}
        known = frozenset(map(normalized, written["status_fields"]))
        return cls(known, words, echo_completes, pingbacks_expected, written)

    def adding(self, option: str, more: Iterable[str]) -> Statuses:
        """Return the statuses with more fields or words in one of the lists."""
        fields, completed, failed, progress = {**self.written, option: (*self.written[option], *more)}.values()
        return Statuses.of(fields, completed, failed, progress, self.echo_completes, self.pingbacks_expected)

    def verdict(self, payload: Any, query: Any = None, requestid: str | None = None) -> Verdict:
        """Return what a ping-back (JSON values: its body and its query) says about the upload with this requestid.

        The worst of its status fields counts. No status, or an unknown word, is ``UNRECOGNISED``; an empty body is
        ``SILENT``. The verdict is ``COMPLETED`` only if nothing else in the ping-back contradicts it, and ``FAILED``
        only if the ping-back is about this upload. If the requestid is not known, it is not compared.
        """
        return self.judge(payload, query, requestid)[0]

    def judge(self, payload: Any, query: Any = None, requestid: str | None = None) -> tuple[Verdict, Doubt | None]:
        """Return the verdict, and if it is ``UNRECOGNISED``, why."""
        parts = [payload, query]
        said = self.said(payload, query)
        if not said and payload in (None, "", {}, []):
            return Verdict.SILENT, None
        verdict = Verdict.worst(self.meaning(word) for _, word in said) or Verdict.UNRECOGNISED
        if not verdict.is_terminal:
            return verdict, None
        doubt: Doubt | None = None
        if requestid is not None and other_requestids(parts, requestid):
            doubt = Doubt.OTHER_UPLOAD
        elif verdict is Verdict.UNRECOGNISED:
            doubt = Doubt.UNKNOWN_WORD if said else Doubt.NO_STATUS
        elif verdict is Verdict.COMPLETED and self.contradiction(parts):
            doubt = Doubt.CONTRADICTED
        elif verdict is Verdict.COMPLETED and self._is_echo(parts) and not self.echo_completes:
            doubt = Doubt.ECHO
        return (Verdict.UNRECOGNISED if doubt else verdict), doubt

    def meaning(self, word: str) -> Verdict:
        """Return what a word in a status field means."""
        return self.words.get(normalized(word), Verdict.UNRECOGNISED)

    def said(self, *parts: Any) -> list[tuple[tuple[str, ...], str]]:
        """Return the words of a ping-back's parts, each with the names that lead to it; a bare text has no names."""
        return [found for part in parts for found in self._said(part)]

    def _said(self, part: Any) -> list[tuple[tuple[str, ...], str]]:
        if not isinstance(part, dict | list) and part not in (None, ""):
            return [((), str(part))]
        found = [
            (names, str(value)) for names, value in leaves(part) if value is not None and self._is_status(names, value)
        ]
        # A blank status next to another one is ignored.
        return [(names, word) for names, word in found if word.strip()] or found

    def _is_status(self, names: Sequence[str], value: Any) -> bool:
        """Whether a value is a status: it is in a status field, or in an object there, and is not a row count."""
        path = [normalized(name) for name in names]
        if self.fields.isdisjoint(path):
            return False
        is_count = kind_of(path[-1]) is not None and number(value) is not None
        return path[-1] in self.fields or not (path[-1] == "requestid" or is_count)

    def _is_echo(self, parts: Sequence[Any]) -> bool:
        """Whether it says no more than the API's answer to the request does: Success, of whatever request."""
        said = [(normalized(names[-1]), value) for part in parts for names, value in leaves(part)]
        results = {normalized(str(value)) for name, value in said if name == "result"}
        return results == {"success"} and not any(
            (kind_of(name) and number(value) is not None) or self.meaning(str(value)) is Verdict.COMPLETED
            for name, value in said
            if name != "result"
        )

    def contradiction(self, parts: Sequence[Any]) -> Leaf | None:
        """Return another field that contradicts a success word, with its value; None if there is none."""
        found = (leaf for part in parts for leaf in leaves(part))
        return next(
            (leaf for leaf in found if self._contradicts([normalized(name) for name in leaf[0]], leaf[1])), None
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


def other_requestids(payload: Any, requestid: str) -> set[str]:
    """Return the requestids in a ping-back that are not this one."""
    return {name for name in requestids(payload) if name.lower() != requestid.lower()}
