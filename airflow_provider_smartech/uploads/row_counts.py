"""How many rows of an upload were loaded, by the numbers that its ping-back names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from airflow_provider_smartech.uploads.payloads import leaves, normalized

# Smartech documents no names of counts. These are the usual ones, normalized, with what may stand around them.
_UNITS = "(?:rows?|records?|contacts?|entries|lines|counts?)"


def _names(stems: str) -> re.Pattern[str]:
    return re.compile(rf"(?:total|num|numberof)?{_UNITS}*(?:{stems}){_UNITS}*")


TOTAL = re.compile(rf"total{_UNITS}*|(?:num|numberof)?{_UNITS}+|processed{_UNITS}*|{_UNITS}processed")
ACCEPTED = _names("success(?:ful|fully)?|succeeded|accepted|uploaded|loaded|imported")
# Parts of what was accepted: rows without a change may be in none of them.
PARTS = _names("added|inserted|created|updated|modified|unchanged")
DUPLICATES = _names("duplicates?")
# In the singular and alone, such a name is a flag or a text.
REJECTED = _names(
    rf"failed|failures|failure(?={_UNITS})|rejected|rejections?(?={_UNITS})|errors|error(?={_UNITS})|invalid|skipped"
)
_KINDS = (REJECTED, ACCEPTED, PARTS, DUPLICATES, TOTAL)

_NUMBER = re.compile(r"([0-9]{1,3}(?:,[0-9]{2,3})*,[0-9]{3}|[0-9]{1,15})(?:\.0*)?")


def kind_of(name: str) -> re.Pattern[str] | None:
    """Return which kind of number a normalized name is of, None of none."""
    return next((kind for kind in _KINDS if kind.fullmatch(name)), None)


def number(value: Any) -> int | None:
    """Return a number of rows, such as ``12``, ``"12"``, ``12.0``, ``"1,200"`` or ``"1,00,000"``; None of others."""
    form = None if isinstance(value, bool) else _NUMBER.fullmatch(str(value).strip())
    return int(form[1].replace(",", "")) if form else None


def counts(payload: Any) -> dict[str, int]:
    """Return the numbers of rows that a ping-back names, under its own names for them."""
    found = {}
    for names, value in leaves(payload):
        rows = number(value)
        if rows is not None and kind_of(normalized(names[-1])):
            found[names[-1]] = rows
    return found


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What became of an upload's rows; None is what nobody has said.

    ``total`` is the number that was sent, else the number that the ping-back speaks of.
    """

    total: int | None = None
    accepted: int | None = None
    rejected: int | None = None

    @classmethod
    def of(cls, payload: Any, sent: int | None) -> Rows:
        """Read what one ping-back says of an upload of so many rows.

        Rejected are those that it names, or the rows sent less those accepted, whichever is more; what a named total
        lacks of the rows sent counts as rejected. Where one number is named twice and differently, the worse counts.
        """
        named = _named(payload)
        said, accepted = _least(named, TOTAL), _least(named, ACCEPTED)
        total = said if sent is None else sent
        rejected = [sum(numbers) for (kind, _), numbers in named.items() if kind is REJECTED]
        missing = 0 if sent is None or said is None else max(0, sent - said)
        if accepted is not None and total is not None:
            duplicates = _least(named, DUPLICATES) or 0
            return cls(total=total, accepted=accepted, rejected=max(0, total - accepted - duplicates, *rejected))
        if not rejected and not missing:
            return cls(total=total, accepted=accepted)
        bad = sum(rejected) + missing
        if accepted is None and total is not None:
            accepted = max(0, total - bad)
        elif accepted is not None and total is None:
            total = accepted + bad
        return cls(total=total, accepted=accepted, rejected=bad)

    @classmethod
    def worst(cls, several: Iterable[Rows]) -> Rows:
        """Return the worst of what several ping-backs say of one upload."""
        every = list(several)
        return cls(
            total=max((rows.total for rows in every if rows.total is not None), default=None),
            accepted=min((rows.accepted for rows in every if rows.accepted is not None), default=None),
            rejected=max((rows.rejected for rows in every if rows.rejected is not None), default=None),
        )

    @property
    def none_accepted(self) -> bool:
        """Whether there were rows, and surely none was loaded."""
        return self.accepted == 0 and self.total != 0

    def exceed(self, max_rejected: float | None) -> bool:
        """Whether more are rejected than a number of rows, or than a share of them if it is below 1."""
        if max_rejected is None or not self.rejected:
            return False
        if isinstance(max_rejected, int):
            return self.rejected > max_rejected
        # Of how many, nobody may know.
        return not self.total or self.rejected > max_rejected * self.total

    def __str__(self) -> str:
        if self.accepted is None and self.rejected is None:
            return "its ping-back named no numbers of rows"
        shown = {"accepted": self.accepted, "rejected": self.rejected}
        said = [f"{rows:,} {what}" for what, rows in shown.items() if rows is not None]
        return ", ".join(said) + (f" of {self.total:,} rows" if self.total is not None else " rows")


def checked_max_rejected(value: Any) -> float | None:
    """Return ``max_rejected`` as it is given: a number of rows (an int), a share (a float from 0 to 1), or None.

    :raises ValueError: it is neither.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (is_number and value >= 0 and (isinstance(value, int) or value <= 1)):
        return value  # type: ignore[no-any-return]
    raise ValueError(
        f"max_rejected must be a number of rows such as 100, a share such as 0.01, or None for any; got {value!r}"
    )


def _named(payload: Any) -> dict[tuple[re.Pattern[str], str], set[int]]:
    """Return the numbers that are named, by their kinds and names."""
    found: dict[tuple[re.Pattern[str], str], set[int]] = {}
    for names, value in leaves(payload):
        rows, name = number(value), _meaning([normalized(name) for name in names])
        kind = kind_of(name)
        if rows is not None and kind:
            found.setdefault((kind, name), set()).add(rows)
    # A one alone is how some languages write "true".
    return {} if found == {(ACCEPTED, "success"): {1}} else found


def _meaning(path: list[str]) -> str:
    """Return what a number is of: of ``{"rejected": {"count": 5}}``, the rejected ones."""
    if kind_of(path[-1]) is not TOTAL:
        return path[-1]
    return next((name for name in reversed(path) if kind_of(name) not in (None, TOTAL)), path[-1])


def _least(named: dict[tuple[re.Pattern[str], str], set[int]], kind: re.Pattern[str]) -> int | None:
    return min((min(numbers) for (found, _), numbers in named.items() if found is kind), default=None)
