"""An upload as the upload store knows it: its record, Smartech's answer, the ping-backs, and what they amount to."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from airflow_provider_smartech import statuses
from airflow_provider_smartech.errors import UploadFailed, UploadStatusUnrecognised
from airflow_provider_smartech.statuses import Statuses, Verdict

_ID = re.compile(r"(?P<time>20[0-9]{6}T[0-9]{6})-(?P<secret>[A-Za-z0-9_-]{43})")
KEY = re.compile(r"20[0-9]{6}T[0-9]{6}-[0-9a-f]{40}")


def new_upload_id() -> str:
    """Return an unguessable id (256 random bits, preceded by the time in UTC) for the path of a callback URL.

    Whoever knows it can say that the upload is over, so it goes into the callback URL and nowhere else.
    """
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_urlsafe(32)}"


def key_of(upload_id: str) -> str | None:
    """Return the key under which the store keeps the upload with this id, None if it has not the form of an id.

    The key is a hash behind the time: neither the store nor a log that names an upload gives away its id, and keys sort
    by age.
    """
    form = _ID.fullmatch(upload_id)
    return f"{form['time']}-{hashlib.sha256(upload_id.encode()).hexdigest()[:40]}" if form else None


class State(StrEnum):
    """How far an upload is."""

    SUBMITTING = "submitting"
    NOT_ACCEPTED = "not accepted"
    OUTCOME_UNKNOWN = "outcome unknown"
    ACCEPTED = "accepted"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    FAILED = "failed"
    UNRECOGNISED = "unrecognised"

    @property
    def ended(self) -> bool:
        """Whether enough ping-backs have come."""
        return self in (State.COMPLETED, State.FAILED, State.UNRECOGNISED)


class Document(BaseModel):
    """A file of the store: written once, never changed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class TaskTry(BaseModel):
    """One try of one task instance; ``part`` tells its uploads apart where it makes several.

    Clearing a task changes ``max_tries`` or ``clear_number``, a retry does not. A DAG run that was deleted and made
    again under the same name has another ``run_started``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    part: int = 0
    try_number: int
    max_tries: int
    clear_number: int = 0
    run_started: AwareDatetime | None = None

    def instance(self) -> str:
        """Return what all tries of the task instance share for one upload, as a name that is safe in any store."""
        parts = [self.dag_id, self.run_id, self.task_id, self.map_index, *([self.part] if self.part else [])]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]

    def for_part(self, part: int) -> TaskTry:
        """Return the same try, for another of its uploads."""
        return self.model_copy(update={"part": part})

    def follows(self, earlier: TaskTry) -> bool:
        """Whether that was surely an earlier try in the same DAG run, and not in one of the same name."""
        same_run = self.clear_number > earlier.clear_number or self.run_started == earlier.run_started
        return same_run and self.try_number > earlier.try_number

    def retries(self, earlier: TaskTry) -> bool:
        """Whether this is a retry of that try, without a clearing between them."""
        rounds = [(one.max_tries, one.clear_number, one.run_started) for one in (self, earlier)]
        return rounds[0] == rounds[1] and self.try_number > earlier.try_number


class Record(Document):
    """What is known before the request is sent.

    ``path`` is without its query, ``fingerprint`` tells the same file and list again; ``tracked``: our callback was
    sent; ``rows`` of the file, where the task has counted them.
    """

    key: str = Field(pattern=KEY.pattern)
    path: str
    listid: int | None = None
    idc: str | None = None
    rows: int | None = None
    fingerprint: str = ""
    smartech_conn_id: str
    tracked: bool
    task: TaskTry | None = None


class Answer(Document):
    """How the request ended; ``requestid`` only where Smartech accepted it."""

    outcome: Literal["accepted", "not accepted", "unknown"]
    requestid: str | None = None


class Handover(Document):
    """The submitting task has done its part: it gave on the requestid, or waited and the upload did not complete."""

    reason: Literal["handed over", "not completed"]
    task: TaskTry


class PingBack(Document):
    """One call of the callback; ``payload`` is what it carried, without secrets."""

    payload: JsonValue = None

    def digest(self) -> str:
        """Return a fingerprint of the payload: a repeated ping-back has the same."""
        text = json.dumps(self.payload, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Progress(BaseModel):
    """What an upload amounts to: its state and the ping-backs that decided it."""

    model_config = ConfigDict(frozen=True)

    state: State
    deciding: tuple[PingBack, ...] = ()


class Upload(BaseModel):
    """All that the store holds of one upload."""

    model_config = ConfigDict(frozen=True)

    record: Record
    answer: Answer | None = None
    handover: Handover | None = None
    pingbacks: tuple[PingBack, ...] = ()

    @property
    def key(self) -> str:
        """The name of the upload in the store."""
        return self.record.key

    @property
    def requestid(self) -> str:
        """Smartech's requestid; where it is not known, the upload's key stands in."""
        return (self.answer and self.answer.requestid) or self.key

    def progress(self, words: Statuses, expected: int) -> Progress:
        """Judge the upload.

        It has ended when ``expected`` different terminal ping-backs have come, and it completed only if each of
        them says so. What comes after these changes nothing.
        """
        deciding: dict[str, tuple[PingBack, Verdict]] = {}
        under_way = False
        for pingback in sorted(self.pingbacks, key=lambda pingback: pingback.at):
            verdict = words.verdict(pingback.payload)
            if verdict is Verdict.IN_PROGRESS:
                under_way = True
            elif len(deciding) < expected:
                deciding.setdefault(pingback.digest(), (pingback, verdict))
        if len(deciding) < expected:
            return Progress(state=State.IN_PROGRESS if under_way or deciding else self._answered())
        verdicts = {verdict for _, verdict in deciding.values()}
        worst = max(verdicts, key=list(Verdict).index)
        return Progress(state=State(worst.value), deciding=tuple(pingback for pingback, _ in deciding.values()))

    def _answered(self) -> State:
        if self.answer is None:
            return State.SUBMITTING
        return {
            "accepted": State.ACCEPTED,
            "not accepted": State.NOT_ACCEPTED,
            "unknown": State.OUTCOME_UNKNOWN,
        }[self.answer.outcome]

    def summary(self, progress: Progress) -> dict[str, Any]:
        """Return a completed upload as a small JSON object for XCom.

        Keys: ``requestid``, ``state``, ``counts`` (numbers that the ping-back names), ``submitted_at`` and
        ``completed_at`` (ISO 8601, UTC), ``seconds`` between them, ``payload`` (of the last deciding ping-back).

        :raises UploadFailed: a ping-back says that it failed.
        :raises UploadStatusUnrecognised: a ping-back's status is not known.
        """
        payloads = [pingback.payload for pingback in progress.deciding]
        if progress.state is State.FAILED:
            raise UploadFailed(self.requestid, payloads)
        if progress.state is not State.COMPLETED:
            raise UploadStatusUnrecognised(self.requestid, payloads)
        last = progress.deciding[-1]
        return {
            "requestid": self.requestid,
            "state": progress.state.value,
            "counts": statuses.counts(last.payload),
            "submitted_at": self.record.at.isoformat(),
            "completed_at": last.at.isoformat(),
            "seconds": round((last.at - self.record.at).total_seconds(), 3),
            "payload": last.payload,
        }
