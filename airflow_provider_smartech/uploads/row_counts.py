"""How many rows of an upload were loaded, according to the counts in its ping-back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from airflow_provider_smartech.uploads.payloads import leaves, normalized

# Smartech does not document the names of counts. These are the usual ones, normalized, with prefixes and suffixes.
_UNITS = "(?:rows?|records?|contacts?|entries|lines|counts?)"


def _names(stems: str) -> re.Pattern[str]:
    return re.compile(rf"(?:total|num|numberof)?{_UNITS}*(?:{stems}){_UNITS}*")


TOTAL = re.compile(rf"total{_UNITS}*|(?:num|numberof)?{_UNITS}+|processed{_UNITS}*|{_UNITS}processed")
ACCEPTED = _names("success(?:ful|fully)?|succeeded|accepted|uploaded|loaded|imported")
# Parts of the accepted rows: unchanged rows may be in none of them.
PARTS = _names("added|inserted|created|updated|modified|unchanged")
DUPLICATES = _names("duplicates?")
NOT_DONE = re.compile("not(?:accepted|uploaded|loaded|imported|processed)")
# A name in the singular alone is a flag or a text, not a count.
REJECTED = _names(
    rf"failed|failures|failure(?={_UNITS})|rejected|rejections?(?={_UNITS})|errors|error(?={_UNITS})|invalid|skipped"
    rf"|unsuccess(?:ful|fully)?|unprocessed|{NOT_DONE.pattern}"
)
_KINDS = (REJECTED, ACCEPTED, PARTS, DUPLICATES, TOTAL)

_NUMBER = re.compile(r"([0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}|[0-9]{1,15})(?:\.0{0,2})?")


def kind_of(name: str) -> re.Pattern[str] | None:
    """Return the kind of count that a normalized name stands for, None if it is not a count."""
    return next((kind for kind in _KINDS if kind.fullmatch(name)), None)


def number(value: Any) -> int | None:
    """Parse a number of rows, such as ``12``, ``"12"``, ``12.0``, ``"1,200"`` or ``"1,00,000"``; else None.

    ``"1.000"`` is none: in some countries it is a thousand.
    """
    form = None if isinstance(value, bool) else _NUMBER.fullmatch(str(value).strip())
    return int(form[1].replace(",", "")) if form else None


def counts(payload: Any) -> dict[str, int]:
    """Return the row counts in a ping-back, under the ping-back's own names."""
    found = {}
    for names, value in leaves(payload):
        rows = number(value)
        if rows is not None and kind_of(normalized(names[-1])):
            found[names[-1]] = rows
    return found


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What happened to an upload's rows; None: not known.

    ``total`` is the number of rows sent, or else the total in the ping-back.
    """

    total: int | None = None
    accepted: int | None = None
    rejected: int | None = None

    @classmethod
    def of(cls, payload: Any, sent: int | None) -> Rows:
        """Read the row counts of one ping-back; ``sent`` is the number of rows that were sent.

        The rejected rows are those that the ping-back counts as rejected, or the rows sent minus those accepted,
        whichever is more. If the ping-back's total is less than the rows sent, the difference counts as rejected,
        unless the duplicates are just these. If those are not known, and it has several totals, such as ``total`` and
        ``processed``, the largest counts as sent. If it gives two values for one count, the worse one is used; the
        rejected rows of the elements of a list are added. What several names reject together is not more than the
        rows that were not accepted: the names may mean the same rows.
        """
        named = _named(payload)
        said, accepted = _least(named, TOTAL), _least(named, ACCEPTED)
        total = _most(named, TOTAL) if sent is None else sent
        rejected = [sum(numbers) for (kind, _), numbers in named.items() if kind is REJECTED]
        duplicates = _least(named, DUPLICATES) or 0
        missing = 0 if total is None or said is None or said + duplicates == total else max(0, total - said)
        bad = sum(rejected) + missing
        if accepted is not None and total is not None:
            left = max(0, total - accepted)
            return cls(total=total, accepted=accepted, rejected=max(left - duplicates, min(bad, left), *rejected, 0))
        if not rejected and not missing:
            return cls(total=total, accepted=accepted)
        if accepted is None and total is not None:
            accepted = max(0, total - bad)
        elif accepted is not None and total is None:
            total = accepted + bad
        return cls(total=total, accepted=accepted, rejected=bad)

    @classmethod
    def worst(cls, several: Iterable[Rows]) -> Rows:
        """Return the worst of the counts in several ping-backs of one upload."""
        every = list(several)
        return cls(
            total=max((rows.total for rows in every if rows.total is not None), default=None),
            accepted=min((rows.accepted for rows in every if rows.accepted is not None), default=None),
            rejected=max((rows.rejected for rows in every if rows.rejected is not None), default=None),
        )

    def none_accepted(self, sent: int | None) -> bool:
        """Whether certainly no row was loaded, and it is not known that the file had none."""
        return self.accepted == 0 and sent != 0

    def exceed(self, max_rejected: float | None) -> bool:
        """Whether more rows are rejected than ``max_rejected``: an int is a number of rows, a float a share of them."""
        if max_rejected is None or not self.rejected:
            return False
        if isinstance(max_rejected, int):
            return self.rejected > max_rejected
        # The total may not be known.
        return not self.total or self.rejected > max_rejected * self.total

    def __str__(self) -> str:
        if self.accepted is None and self.rejected is None:
            return "its ping-back has no row counts"
        shown = {"accepted": self.accepted, "rejected": self.rejected}
        said = [f"{rows:,} {what}" for what, rows in shown.items() if rows is not None]
        return ", ".join(said) + (f" of {self.total:,} rows" if self.total is not None else " rows")


def checked_max_rejected(value: Any) -> float | None:
    """Check and return ``max_rejected``: a number of rows (an int), a share (a float from 0 to 1), or None.

    :raises ValueError: it is none of these.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (is_number and value >= 0 and (isinstance(value, int) or value <= 1)):
        return value  # type: ignore[no-any-return]
    raise ValueError(
        f"max_rejected must be a number of rows such as 100, a share such as 0.01, or None for no limit; got {value!r}"
    )


def _named(payload: Any) -> dict[tuple[re.Pattern[str], str], set[int]]:
    """Return the row counts in a ping-back, whose parts are a list, by kind and name."""
    found: dict[tuple[re.Pattern[str], str], set[int]] = {}
    for part in payload if isinstance(payload, list) else [payload]:
        several: dict[tuple[str, ...], list[int]] = {}
        for names, value in leaves(part):
            if (rows := number(value)) is not None:
                several.setdefault(names, []).append(rows)
        for names, numbers in several.items():
            name = _meaning([normalized(name) for name in names])
            if kind := kind_of(name):
                # Of the elements of a list.
                found.setdefault((kind, name), set()).update([sum(numbers)] if kind is REJECTED else numbers)
    # ``success: 1`` alone is a flag: some languages write "true" as 1.
    return {} if found == {(ACCEPTED, "success"): {1}} else found


def _meaning(path: list[str]) -> str:
    """Return the name that says what is counted: for ``{"rejected": {"count": 5}}``, ``rejected``."""
    if kind_of(path[-1]) is not TOTAL:
        return path[-1]
    return next((name for name in reversed(path) if kind_of(name) not in (None, TOTAL)), path[-1])


def _most(named: dict[tuple[re.Pattern[str], str], set[int]], kind: re.Pattern[str]) -> int | None:
    return max((min(numbers) for (found, _), numbers in named.items() if found is kind), default=None)


def _least(named: dict[tuple[re.Pattern[str], str], set[int]], kind: re.Pattern[str]) -> int | None:
    return min((min(numbers) for (found, _), numbers in named.items() if found is kind), default=None)
