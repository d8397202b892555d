"""An upload as shown to users: one row of a list, and its events in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_smartech.uploads.readings import Reading
from airflow_provider_smartech.uploads.row_counts import Rows
from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.upload import Progress, State, TaskTry, Upload

UNREADABLE = "unreadable"

MEANINGS: dict[str, str] = {
    State.SUBMITTING: "It is being sent, or its task died before an answer came.",
    State.NOT_ACCEPTED: "Smartech refused it, or could not be reached.",
    State.OUTCOME_UNKNOWN: "It was sent, but no clear answer came.",
    State.ACCEPTED: "Smartech accepted it; no ping-back has come yet.",
    State.IN_PROGRESS: "A ping-back says that Smartech is loading the contacts.",
    State.COMPLETED: "A ping-back says that Smartech loaded the contacts.",
    State.FAILED: "A ping-back reports a failure, or that no row was accepted.",
    State.UNRECOGNISED: "A ping-back has an unknown status, or contradicts itself.",
    UNREADABLE: "A file of it is damaged, or cannot be read.",
}
"""Every state in a list, and what it means; short enough for a line of a command's help."""

ADVICE: dict[str, str] = {
    State.SUBMITTING: "The task's retry checks what became of it.",
    State.NOT_ACCEPTED: "The upload's page and the task's log say why.",
    State.OUTCOME_UNKNOWN: "Check Smartech's panel.",
    State.UNRECOGNISED: "Its page shows how each ping-back was read, and which setting would make it known.",
    UNREADABLE: "Its page shows the error.",
}
"""What to do in some of the states."""

ATTENTION = "attention"
"""Stands for all uploads that need attention, where states are chosen."""

NEED_ATTENTION = (State.NOT_ACCEPTED, State.OUTCOME_UNKNOWN, State.FAILED, State.UNRECOGNISED, UNREADABLE)
"""The states that need attention; an upload with a remark needs it in any state."""

WAITING = "waiting"
"""Stands for all uploads whose ping-back is still to come, where states are chosen."""
WAITING_MEANING = "All for which a ping-back is still to come."

_WITH_REJECTED, _CONTRADICTED = "with rejected rows", "contradicted"
ATTENTION_MEANING = f"All that need a look: {', '.join(NEED_ATTENTION)}, {_WITH_REJECTED}, or {_CONTRADICTED}."


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One upload in a list.

    ``requestid`` is None if Smartech has not given one, or it is not known. ``state`` is a ``State``, or ``unreadable``
    if its files are damaged. ``account`` is the account's name in the connection, and ``smartech_conn_id`` that
    connection. ``seconds`` is how long Smartech took, or has taken so far; None if no ping-back is expected. ``rows``
    is the number of rows in the file, or else the total in the ping-back; ``of_rows`` that of the query, if only those
    were sent that have changed. ``rows``, ``accepted`` and ``rejected`` are None if not known. ``contradicted``: its
    ping-backs contradict each other.
    """

    key: str
    requestid: str | None = None
    idc: str | None = None
    account: str | None = None
    smartech_conn_id: str | None = None
    listid: int | None = None
    file: str = ""
    state: str
    submitted_at: datetime
    ended_at: datetime | None = None
    seconds: float | None = None
    rows: int | None = None
    of_rows: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    contradicted: bool = False
    task: TaskTry | None = None

    @classmethod
    def of(cls, upload: Upload, statuses: Statuses) -> Overview:
        """Return the current overview of an upload."""
        record, progress = upload.record, upload.progress(statuses)
        ended_at = progress.deciding[-1].at if progress.state.ended else None
        waits = record.tracked and progress.state not in (State.NOT_ACCEPTED, State.OUTCOME_UNKNOWN)
        return cls(
            key=upload.key,
            # The key stands in for a requestid that was lost.
            requestid=None if upload.requestid == upload.key else upload.requestid,
            idc=record.idc,
            account=record.account_name,
            smartech_conn_id=record.smartech_conn_id,
            listid=record.listid,
            file=record.file,
            state=progress.state.value,
            submitted_at=record.at,
            ended_at=ended_at,
            # Clocks of several hosts may differ.
            seconds=max(0.0, ((ended_at or datetime.now(UTC)) - record.at).total_seconds()) if waits else None,
            rows=record.rows if record.rows is not None else progress.rows.total,
            of_rows=record.of_rows,
            accepted=progress.rows.accepted,
            rejected=progress.rows.rejected,
            contradicted=progress.contradicted,
            task=record.task,
        )

    @property
    def remarks(self) -> list[str]:
        """What is shown next to the state."""
        rejected = _WITH_REJECTED if self.rejected and self.state == State.COMPLETED else None
        return [remark for remark in (rejected, _CONTRADICTED if self.contradicted else None) if remark]

    @property
    def needs_attention(self) -> bool:
        """Whether somebody should look at it."""
        return self.state in NEED_ATTENTION or bool(self.remarks)

    @property
    def waits(self) -> bool:
        """Whether a ping-back that ends it is still expected."""
        return self.ended_at is None and self.seconds is not None

    @classmethod
    def unreadable(cls, key: str) -> Overview:
        """Return the overview of an upload whose files are damaged."""
        try:
            submitted_at = datetime.strptime(key.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            # This provider never makes such a key.
            submitted_at = datetime(int(key[:4]), 1, 1, tzinfo=UTC)
        return cls(key=key, state=UNREADABLE, submitted_at=submitted_at)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to an upload.

    ``payload`` is what a ping-back carried, without secrets, and ``reading`` how it was read.
    """

    at: datetime
    what: str
    payload: Any = None
    reading: Reading | None = None


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
        Event(at=pingback.at, what=f"ping-back: {reading.verdict}", payload=pingback.shown, reading=reading)
        for pingback, reading in upload.readings(statuses)
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
        place = next(n for n, event in enumerate(found) if event.at == last.at and event.reading)
        found.insert(place + 1, Event(at=last.at, what=_end(progress)))
    return found


def _end(progress: Progress) -> str:
    numbers = f": {progress.rows}" if progress.rows != Rows() else ""
    contradicted = "; its ping-backs contradict each other" if progress.contradicted else ""
    return f"{progress.state}{numbers}{contradicted}"
