"""An upload as people look at it: one line of a list, and what happened to it one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_smartech import statuses
from airflow_provider_smartech.settings import Settings
from airflow_provider_smartech.uploads import State, TaskTry, Upload

UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One upload in a list.

    ``state`` is a ``State``, or ``unreadable`` where its files are damaged. ``seconds`` is how long Smartech took, or
    has taken so far; None where nobody waits for a ping-back. ``rows`` are those of the file, else the number that the
    ping-back gives, None where nobody knows.
    """

    key: str
    requestid: str
    idc: str | None = None
    listid: int | None = None
    file: str = ""
    state: str
    submitted_at: datetime
    ended_at: datetime | None = None
    seconds: float | None = None
    rows: int | None = None
    task: TaskTry | None = None

    @classmethod
    def of(cls, upload: Upload, settings: Settings) -> Overview:
        """Return what is to be seen of an upload at this moment."""
        record, progress = upload.record, upload.progress(settings.statuses, settings.pingbacks_expected)
        ended_at = progress.deciding[-1].at if progress.state.ended else None
        waits = record.tracked and progress.state is not State.NOT_ACCEPTED
        said = [statuses.total(pingback.payload) for pingback in progress.deciding]
        return cls(
            key=upload.key,
            requestid=upload.requestid,
            idc=record.idc,
            listid=record.listid,
            file=record.path.rpartition("/")[2],
            state=progress.state.value,
            submitted_at=record.at,
            ended_at=ended_at,
            # Clocks of several hosts may differ.
            seconds=max(0.0, ((ended_at or datetime.now(UTC)) - record.at).total_seconds()) if waits else None,
            rows=record.rows if record.rows is not None else next((rows for rows in said if rows is not None), None),
            task=record.task,
        )

    @classmethod
    def unreadable(cls, key: str) -> Overview:
        """Return what is to be seen of an upload whose files are damaged."""
        try:
            submitted_at = datetime.strptime(key.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            # No upload of ours has such a key.
            submitted_at = datetime(int(key[:4]), 1, 1, tzinfo=UTC)
        return cls(key=key, requestid=key, state=UNREADABLE, submitted_at=submitted_at)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to an upload; ``payload`` is what a ping-back carried, without secrets."""

    at: datetime
    what: str
    is_pingback: bool = False
    payload: Any = None


def events(upload: Upload, settings: Settings) -> list[Event]:
    """Return what happened to an upload, the oldest first."""
    found = [Event(at=upload.record.at, what="record written, request about to be sent")]
    if answer := upload.answer:
        outcome = {
            "accepted": f"Smartech accepted it as {answer.requestid}",
            "not accepted": "Smartech did not accept it",
            "unknown": "no clear answer came",
        }[answer.outcome]
        found.append(Event(at=answer.at, what=outcome))
    found += [
        Event(
            at=pingback.at,
            what=f"ping-back: {settings.statuses.verdict(pingback.payload)}",
            is_pingback=True,
            payload=pingback.payload,
        )
        for pingback in upload.pingbacks
    ]
    if handover := upload.handover:
        done = {
            "handed over": "the submitting task did its part",
            "not completed": "the submitting task stopped waiting: it did not complete",
        }[handover.reason]
        found.append(Event(at=handover.at, what=done))
    found.sort(key=lambda event: event.at)
    progress = upload.progress(settings.statuses, settings.pingbacks_expected)
    if progress.state.ended:
        last = progress.deciding[-1]
        place = next(n for n, event in enumerate(found) if event.at == last.at and event.is_pingback)
        found.insert(place + 1, Event(at=last.at, what=progress.state.value))
    return found
