"""An upload as shown to users: one row of a list, and its events in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_smartech.uploads.row_counts import Rows
from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.upload import Progress, State, TaskTry, Upload

UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One upload in a list.

    ``state`` is a ``State``, or ``unreadable`` if its files are damaged. ``account`` is the account's name in the
    connection. ``seconds`` is how long Smartech took, or has taken so far; None if no ping-back is expected. ``rows``
    is the number of rows in the file, or else the total in the ping-back; ``rows``, ``accepted`` and ``rejected`` are
    None if not known. ``contradicted``: its ping-backs contradict each other.
    """

    key: str
    requestid: str
    idc: str | None = None
    account: str | None = None
    listid: int | None = None
    file: str = ""
    state: str
    submitted_at: datetime
    ended_at: datetime | None = None
    seconds: float | None = None
    rows: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    contradicted: bool = False
    task: TaskTry | None = None

    @classmethod
    def of(cls, upload: Upload, statuses: Statuses) -> Overview:
        """Return the current overview of an upload."""
        record, progress = upload.record, upload.progress(statuses)
        ended_at = progress.deciding[-1].at if progress.state.ended else None
        waits = record.tracked and progress.state is not State.NOT_ACCEPTED
        return cls(
            key=upload.key,
            requestid=upload.requestid,
            idc=record.idc,
            account=record.account_name,
            listid=record.listid,
            file=record.file,
            state=progress.state.value,
            submitted_at=record.at,
            ended_at=ended_at,
            # Clocks of several hosts may differ.
            seconds=max(0.0, ((ended_at or datetime.now(UTC)) - record.at).total_seconds()) if waits else None,
            rows=record.rows if record.rows is not None else progress.rows.total,
            accepted=progress.rows.accepted,
            rejected=progress.rows.rejected,
            contradicted=progress.contradicted,
            task=record.task,
        )

    @property
    def remarks(self) -> list[str]:
        """What is shown next to the state."""
        rejected = "with rejected rows" if self.rejected and self.state == State.COMPLETED else None
        return [remark for remark in (rejected, "contradicted" if self.contradicted else None) if remark]

    @classmethod
    def unreadable(cls, key: str) -> Overview:
        """Return the overview of an upload whose files are damaged."""
        try:
            submitted_at = datetime.strptime(key.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            # This provider never makes such a key.
            submitted_at = datetime(int(key[:4]), 1, 1, tzinfo=UTC)
        return cls(key=key, requestid=key, state=UNREADABLE, submitted_at=submitted_at)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to an upload; ``payload`` is what a ping-back carried, without secrets."""

    at: datetime
    what: str
    is_pingback: bool = False
    payload: Any = None


def events(upload: Upload, statuses: Statuses) -> list[Event]:
    """Return what happened to an upload, oldest first."""
    found = [Event(at=upload.record.at, what="record written, request about to be sent")]
    if answer := upload.answer:
        outcome = {
            "accepted": f"Smartech accepted it as {answer.requestid}",
            "not accepted": "Smartech did not accept it",
            "unknown": "no clear answer came",
        }[answer.outcome]
        found.append(Event(at=answer.at, what=": ".join(filter(None, [outcome, answer.reason]))))
    found += [
        Event(at=pingback.at, what=f"ping-back: {verdict}", is_pingback=True, payload=pingback.shown)
        for pingback, verdict in upload.verdicts(statuses)
    ]
    done = {
        "handed over": "the submitting task handed over the requestid",
        "not completed": "the submitting task stopped waiting: the upload did not complete",
    }
    found += [Event(at=handover.at, what=done[handover.reason]) for handover in upload.handovers]
    found += [Event(at=one.at, what="a waiting task acted on the ping-backs") for one in upload.conclusions]
    found.sort(key=lambda event: event.at)
    progress = upload.progress(statuses)
    if progress.state.ended:
        last = progress.deciding[-1]
        place = next(n for n, event in enumerate(found) if event.at == last.at and event.is_pingback)
        found.insert(place + 1, Event(at=last.at, what=_end(progress)))
    return found


def _end(progress: Progress) -> str:
    numbers = f": {progress.rows}" if progress.rows != Rows() else ""
    contradicted = "; its ping-backs contradict each other" if progress.contradicted else ""
    return f"{progress.state}{numbers}{contradicted}"
