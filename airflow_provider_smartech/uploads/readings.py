"""How a ping-back was read, for display: which field, which word, and the settings that would give it a meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_smartech.uploads.payloads import Leaf, leaves, normalized
from airflow_provider_smartech.uploads.row_counts import kind_of, number
from airflow_provider_smartech.uploads.statuses import Doubt, Statuses, Verdict, other_requestids

WORD_CHARACTERS = 80
MOST_FIELDS = 12
# Other characters mean something in a list, in airflow.cfg or in an environment variable, or stand for a hidden secret.
_SETTABLE = re.compile(r"[\w .:/()+-]*\w[\w .:/()+-]*")

_MEANINGS = {
    "completed_words": "it means that the contacts are loaded",
    "failed_words": "it means that the upload failed",
    "progress_words": "it means that the upload is still running",
}


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A line for the section ``[smartech]``, and ``when`` it is right."""

    when: str
    line: str

    def __str__(self) -> str:
        return f"{self.when}: {self.line}"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How one ping-back was read.

    ``field`` and ``word`` are those that decided, None if there are none; a bare text is a word without a field.
    ``remark`` says why the word does not count. ``suggestions`` are settings that would make the ping-back known: with
    each of them, or with the first and one of the others if ``together``, it is recognised.
    """

    verdict: Verdict
    field: str | None = None
    word: str | None = None
    remark: str = ""
    suggestions: tuple[Suggestion, ...] = ()
    together: bool = False

    @classmethod
    def of(cls, statuses: Statuses, payload: Any, query: Any = None, requestid: str | None = None) -> Reading:
        """Read a ping-back as ``Statuses.verdict`` does."""
        verdict, doubt = statuses.judge(payload, query, requestid)
        ping = _Ping(statuses, payload, query, requestid)
        said = statuses.said(payload, query)
        worst = Verdict.worst(statuses.meaning(word) for _, word in said)
        names, word = next(((names, word) for names, word in said if statuses.meaning(word) is worst), ((), None))
        suggestions, together = ping.suggestions(doubt)
        return cls(
            verdict=verdict,
            field=".".join(names) or None,
            word=None if word is None else _short(word),
            remark=ping.remark(doubt),
            suggestions=tuple(suggestions),
            together=together,
        )

    @property
    def text(self) -> str:
        """One sentence: the field, the word, and what they were taken for."""
        if self.verdict is Verdict.SILENT:
            return "It is empty, so it says nothing."
        if self.word is None:
            return f"{self.remark}."
        where = f"Field {self.field}, word" if self.field else "The text"
        return f"{where} {self.word!r}: {self.remark or f'it means {self.verdict}'}."

    @property
    def advice(self) -> str:
        """What to do, and the lines for ``[smartech]``, each on its own line; empty if it is recognised."""
        if self.verdict is not Verdict.UNRECOGNISED:
            return ""
        look = "Check in Smartech's panel whether the contacts are loaded."
        if not self.suggestions:
            return look
        which = "these lines (the first, and one of the others)" if self.together else "this line"
        if len(self.suggestions) > 1 and not self.together:
            which = "one of these lines"
        return "\n".join([f"{look} Then set {which} in [smartech]:", *(f"  {one}" for one in self.suggestions)])


@dataclass(frozen=True)
class _Ping:
    """A ping-back that is explained."""

    statuses: Statuses
    payload: Any
    query: Any
    requestid: str | None

    def remark(self, doubt: Doubt | None) -> str:
        """Return why it is not recognised; empty if it is."""
        parts = [self.payload, self.query]
        if doubt is Doubt.NO_STATUS:
            names = list(dict.fromkeys(".".join(names) for part in parts for names, _ in leaves(part)))
            shown = ", ".join(_short(name) for name in names[:MOST_FIELDS]) + (
                ", …" if len(names) > MOST_FIELDS else ""
            )
            return f"None of its fields is in status_fields; it has {shown}" if names else "It has no fields"
        if doubt is Doubt.UNKNOWN_WORD:
            return "this word is in none of completed_words, failed_words and progress_words"
        if doubt is Doubt.OTHER_UPLOAD:
            others = ", ".join(sorted(map(_short, other_requestids(parts, self.requestid or ""))))
            return f"it does not count, because the ping-back names another upload's requestid, {others}"
        if doubt is Doubt.CONTRADICTED and (other := self.statuses.contradiction(parts)):
            return f"the field {_short('.'.join(other[0]))} contradicts it: {_short(str(other[1]))!r}"
        if doubt is Doubt.ECHO:
            return "the ping-back says no more than the answer to the request"
        return ""

    def suggestions(self, doubt: Doubt | None) -> tuple[list[Suggestion], bool]:
        """Return the settings that would make it known, and whether the first one needs one of the others."""
        if doubt is Doubt.ECHO:
            when = "If the contacts are on the list when such a ping-back comes"
            return [Suggestion(when=when, line="echo_completes = True")], False
        if doubt is Doubt.UNKNOWN_WORD:
            return list(self._for_words()), False
        if doubt is Doubt.NO_STATUS:
            return self._for_fields()
        return [], False

    def _for_words(self) -> Iterator[Suggestion]:
        said = [word for _, word in self.statuses.said(self.payload, self.query)]
        unknown = {
            normalized(word): word.strip() for word in said if self.statuses.meaning(word) is Verdict.UNRECOGNISED
        }
        if not all(map(_is_settable, unknown.values())):
            return
        for option, meaning in _MEANINGS.items():
            if self._is_known_with(self.statuses.adding(option, unknown.values())):
                yield Suggestion(when=f"If {meaning}", line=self._line(option, *unknown.values()))

    def _for_fields(self) -> tuple[list[Suggestion], bool]:
        fields = list(self._candidates())
        known = [names[-1] for names, value in fields if self.statuses.meaning(str(value)) is not Verdict.UNRECOGNISED]
        found = [
            self._field(name)
            for name in dict.fromkeys(known)
            if self._is_known_with(self.statuses.adding("status_fields", [name]))
        ]
        if found or len({names[-1] for names, _ in fields}) != 1:
            return found, False
        # One field that may be the status, with an unknown word: both must become known.
        name = fields[0][0][-1]
        words = list(replace(self, statuses=self.statuses.adding("status_fields", [name]))._for_words())
        return ([self._field(name), *words], True) if words else ([], False)

    def _candidates(self) -> Iterator[Leaf]:
        """Yield the fields that may be a status: short texts that are neither a requestid nor a number."""
        for names, value in (leaf for part in (self.payload, self.query) for leaf in leaves(part)):
            name = normalized(names[-1])
            is_word = isinstance(value, str) and _is_settable(value) and number(value) is None
            if is_word and _is_settable(names[-1]) and "requestid" not in name and kind_of(name) is None:
                yield names, value

    def _field(self, name: str) -> Suggestion:
        return Suggestion(when=f"If the field {name} says how the upload ended", line=self._line("status_fields", name))

    def _line(self, option: str, *more: str) -> str:
        return f"{option} = {', '.join([*self.statuses.written[option], *more])}"

    def _is_known_with(self, statuses: Statuses) -> bool:
        return statuses.verdict(self.payload, self.query, self.requestid) is not Verdict.UNRECOGNISED


def _is_settable(word: str) -> bool:
    return len(word) <= WORD_CHARACTERS and _SETTABLE.fullmatch(word) is not None


def _short(text: str) -> str:
    return text if len(text) <= WORD_CHARACTERS else f"{text[: WORD_CHARACTERS - 1]}…"
