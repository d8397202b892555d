"""One file with all that lists show of an upload that has ended, so that they need not read its other files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel

from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.upload import Answer, Conclusion, PingBack, Record, State, Upload

_NAME = re.compile(r"ended-([0-9a-f]{16})(?:-([a-z]+)-([0-9]+))?\.json")
_ENDED = {state.value for state in State if state.ended}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an upload: its state, and how many seconds Smartech took."""

    state: str
    seconds: float

    @classmethod
    def of(cls, upload: Upload, statuses: Statuses) -> Self | None:
        """Return the outcome of an upload, None if it has not ended."""
        progress = upload.progress(statuses)
        if not progress.state.ended:
            return None
        return cls(state=progress.state.value, seconds=upload.took(progress).total_seconds())


class Ended(BaseModel):
    """An upload as it was when a waiter acted on its ping-backs, without its hand-overs.

    ``pingbacks`` are by the names of their files. The name of its own file says from which files it was made: it is
    valid while there are no others. So a late ping-back, for example, is never overlooked. The name also says the
    outcome, with the settings of the waiter: so counting needs no file, only their names.
    """

    record: Record
    answer: Answer | None
    pingbacks: dict[str, PingBack]
    conclusions: tuple[Conclusion, ...]

    @classmethod
    def of(cls, upload: Upload) -> Ended:
        """Return what is to be kept of an upload."""
        return cls(
            record=upload.record,
            answer=upload.answer,
            pingbacks={pingback.name: pingback for pingback in upload.pingbacks},
            conclusions=upload.conclusions,
        )

    def upload(self) -> Upload:
        """Return the upload."""
        pingbacks = (pingback.model_copy(update={"name": name}) for name, pingback in self.pingbacks.items())
        return Upload(record=self.record, answer=self.answer, pingbacks=tuple(pingbacks), conclusions=self.conclusions)


def name_of_ended(digest: str, outcome: Outcome | None = None) -> str:
    """Return the name of the file that was made from files with this digest."""
    said = f"-{outcome.state}-{round(outcome.seconds * 1000)}" if outcome else ""
    return f"ended-{digest}{said}.json"


def find_ended(names: Iterable[str]) -> str | None:
    """Return which of the names of an upload's files is that of the file for lists, None if none is valid."""
    names = list(names)
    made = [form for form in map(_NAME.fullmatch, names) if form]
    digest = digest_of(names) if made else ""
    return next((form[0] for form in made if form[1] == digest), None)


def outcome_in(names: Iterable[str]) -> Outcome | None:
    """Return what the names of an upload's files say of its outcome, None if they do not say it."""
    form = _NAME.fullmatch(find_ended(names) or "")
    return Outcome(state=form[2], seconds=int(form[3]) / 1000) if form and form[2] in _ENDED else None


def digest_of(names: Iterable[str]) -> str:
    """Return a digest of the names of an upload's files, as far as they say what became of it."""
    count = (name for name in names if name.endswith(".json") and not name.startswith(("ended-", "handover-", ".")))
    return hashlib.sha256("\n".join(sorted(count)).encode()).hexdigest()[:16]
