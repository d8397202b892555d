"""What the words of a ping-back mean: Smartech documents neither its fields nor its words, so both are settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_provider_smartech.counts import NAMES, REJECTED, number
from airflow_provider_smartech.payloads import leaves, squeezed

# Texts that say, in a field for errors, that there is none.
_NOTHING = frozenset(
    {"", "0", "none", "null", "nil", "undefined", "no", "false", "n/a", "na", "noerror", "noerrors", "ok"}
)
_ERRORS = ("error", "exception", "failurereason", "failreason", "failedreason", "rejectreason", "rejectionreason")
_GOOD = frozenset(
    {"success", "issuccess", "successful", "succeeded", "ok", "completed", "iscompleted", "loaded", "valid"}
)
_BAD = frozenset({"failed", "isfailed", "failure", "rejected", "aborted", "cancelled", "canceled", "invalid"})
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
    that only repeats the API's acceptance, ``{"result": "Success"}``, counts as completion.
    """

    fields: frozenset[str]
    words: dict[str, Verdict]
    echo_completes: bool = False

    @classmethod
    def of(
        cls,
        fields: Iterable[str],
        completed: Iterable[str],
        failed: Iterable[str],
        progress: Iterable[str],
        echo_completes: bool = False,
    ) -> Statuses:
        """Return the statuses for these fields and words; a word in two lists takes the worse meaning."""
        words: dict[str, Verdict] = {}
        for verdict, known in (
            (Verdict.COMPLETED, completed),
            (Verdict.IN_PROGRESS, progress),
            (Verdict.FAILED, failed),
        ):
            words |= {squeezed(word): verdict for word in known}
        return cls(frozenset(map(squeezed, fields)), words, echo_completes)

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
        known = [self.words.get(squeezed(word), Verdict.UNRECOGNISED) for word in words]
        verdict = Verdict.worst(known) or Verdict.UNRECOGNISED
        if not verdict.is_terminal:
            return verdict
        if requestid is not None and requestids(parts) - {requestid}:
            return Verdict.UNRECOGNISED
        doubtful = verdict is Verdict.COMPLETED and (
            self._says_otherwise(parts) or (_is_echo(parts) and not self.echo_completes)
        )
        return Verdict.UNRECOGNISED if doubtful else verdict

    def _words(self, part: Any) -> Iterator[str]:
        if not isinstance(part, dict | list) and part not in (None, ""):
            yield str(part)
        for names, value in leaves(part):
            if value is not None and self._is_status(names, value):
                yield str(value)

    def _is_status(self, names: Sequence[str], value: Any) -> bool:
        """Whether a value is a status: it is in a status field, or in an object there, and is no number of rows."""
        path = [squeezed(name) for name in names]
        if self.fields.isdisjoint(path):
            return False
        return path[-1] in self.fields or not (
            path[-1] == "requestid" or (path[-1] in NAMES and number(value) is not None)
        )

    def _says_otherwise(self, parts: Sequence[Any]) -> bool:
        """Whether something beside a good word contradicts it."""
        for part in parts:
            for names, value in leaves(part):
                path = [squeezed(name) for name in names]
                rows, text = number(value), squeezed(str(value))
                is_count = rows is not None and path[-1] in NAMES
                if path[-1] in _GOOD and text in ("false", "no"):
                    return True
                if path[-1] in _BAD and text in ("true", "yes"):
                    return True
                if value is None or text in _NOTHING or rows == 0:
                    continue
                named = [name for name in path if name in REJECTED or any(error in name for error in _ERRORS)]
                # Rejected rows have a verdict of their own, but for those in place of a status.
                if named and (not is_count or not self.fields.isdisjoint(path[:-1])):
                    return True
        return False


def requestids(payload: Any) -> set[str]:
    """Return the requestids that a ping-back names."""
    named = (str(value).strip() for names, value in leaves(payload) if squeezed(names[-1]) == "requestid" and value)
    return set(named) - {""}


def _is_echo(parts: Sequence[Any]) -> bool:
    """Whether it says no more than the API's answer to the request did: Success, and perhaps a requestid."""
    said = [(squeezed(names[-1]), value) for part in parts for names, value in leaves(part) if value not in (None, "")]
    results = {squeezed(str(value)) for name, value in said if name == "result"}
    return results == {"success"} and {name for name, _ in said} <= _ECHO
