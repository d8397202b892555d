"""An upload as the upload store knows it: its record, Smartech's answer, the ping-backs, and what they amount to."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from airflow_provider_smartech.errors import UploadFailed, UploadRowsRejected, UploadStatusUnrecognised
from airflow_provider_smartech.uploads.row_counts import Rows, counts
from airflow_provider_smartech.uploads.statuses import Statuses, Verdict, requestids

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

    Clearing a task changes its ``max_tries``, a retry does not. ``run_started`` is what tells a DAG run from one of the
    same name that was deleted. Airflow sets it anew where a run that was over is cleared, so it is different more often
    than the run is, and never the other way round.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    part: int = 0
    try_number: int
    max_tries: int
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
        same_run = self.run_started is not None and self.run_started == earlier.run_started
        return same_run and self.try_number > earlier.try_number

    def is_not_before(self, other: TaskTry) -> bool:
        """Whether this is that try, or surely one after it in the same DAG run."""
        return self.for_part(0) == other.for_part(0) or self.follows(other)

    def retries(self, earlier: TaskTry) -> bool:
        """Whether this is a retry of that try, without a clearing of the task between them."""
        return self.follows(earlier) and self.max_tries == earlier.max_tries

    def is_of_round(self, other: TaskTry) -> bool:
        """Whether this is that try, or a retry of it."""
        return self.for_part(0) == other.for_part(0) or self.retries(other)

    def order(self) -> tuple[datetime, int]:
        """Return what sorts the tries of a task instance, runs of the same name included."""
        return self.run_started or datetime.min.replace(tzinfo=UTC), self.try_number


class Record(Document):
    """What is known before the request is sent.

    ``path`` is without its query, ``fingerprint`` tells the same file and list again; ``tracked``: our callback was
    sent; ``rows`` of the file, where the task has counted them. ``account`` tells the accounts of Smartech apart,
    ``account_name`` is what the connection calls it.
    """

    key: str = Field(pattern=KEY.pattern)
    path: str
    listid: int | None = None
    idc: str | None = None
    account: str = ""
    account_name: str | None = None
    rows: int | None = None
    fingerprint: str = ""
    smartech_conn_id: str
    tracked: bool
    task: TaskTry | None = None

    @property
    def file(self) -> str:
        """The file's name, without its folder."""
        return self.path.rpartition("/")[2]

    @property
    def described(self) -> str:
        """What tells it from an upload of another account, for people."""
        where = "/".join(filter(None, [self.idc, self.account_name]))
        return f"{self.file} to {where} by connection {self.smartech_conn_id} at {self.at:%Y-%m-%d %H:%M:%S} UTC"


class Answer(Document):
    """How the request ended; ``requestid`` only where Smartech accepted it."""

    outcome: Literal["accepted", "not accepted", "unknown"]
    requestid: str | None = None


class Handover(Document):
    """The submitting task has done its part: it gave on the requestid, or waited and the upload did not complete."""

    reason: Literal["handed over", "not completed"]
    task: TaskTry


class PingBack(Document):
    """One call of the callback; ``payload`` is its body and ``query`` its URL's query, without secrets.

    ``name`` is its file's in the store.
    """

    payload: JsonValue = None
    query: dict[str, JsonValue] = Field(default_factory=dict)
    name: str = Field(default="", exclude=True)

    @property
    def shown(self) -> Any:
        """What it carried, as one JSON value."""
        if not self.query:
            return self.payload
        return self.query if self.payload in (None, "") else {"query": self.query, "body": self.payload}

    def digest(self) -> str:
        """Return a fingerprint of what it carried: a repeated ping-back has the same."""
        text = json.dumps([self.payload, self.query], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Conclusion(Document):
    """Somebody who waited has acted upon what these ping-backs (their names) say; later ones change nothing."""

    pingbacks: tuple[str, ...]


class Progress(BaseModel):
    """What an upload amounts to: its state, the ping-backs that decided it, and what became of the rows.

    ``by_rows``: it failed because of its rows, although its ping-backs say that it completed. ``contradicted``: the
    terminal ping-backs, late ones included, do not all say the same.
    """

    model_config = ConfigDict(frozen=True)

    state: State
    deciding: tuple[PingBack, ...] = ()
    rows: Rows = Rows()
    by_rows: bool = False
    contradicted: bool = False

    @property
    def surely_failed(self) -> bool:
        """Whether it failed, and nothing says that it may have completed."""
        return self.state is State.FAILED and not self.contradicted


class Upload(BaseModel):
    """All that the store holds of one upload."""

    model_config = ConfigDict(frozen=True)

    record: Record
    answer: Answer | None = None
    handovers: tuple[Handover, ...] = ()
    pingbacks: tuple[PingBack, ...] = ()
    conclusions: tuple[Conclusion, ...] = ()

    @property
    def key(self) -> str:
        """The name of the upload in the store."""
        return self.record.key

    @property
    def requestid(self) -> str:
        """Smartech's requestid; where it is not known, the upload's key stands in."""
        return (self.answer and self.answer.requestid) or self.key

    @property
    def given_up(self) -> bool:
        """Whether a task has waited for it and stopped, because it did not complete in time or not at all."""
        return any(handover.reason == "not completed" for handover in self.handovers)

    def named_requestids(self) -> set[str]:
        """Return the requestids that its ping-backs name."""
        return {name for pingback in self.pingbacks for name in requestids([pingback.payload, pingback.query])}

    def progress(self, statuses: Statuses, max_rejected: float | None = None) -> Progress:
        """Judge the upload.

        It has ended when as many different terminal ping-backs have come as are expected, and the worst of what they
        say counts. What came after the conclusion changes nothing. It has failed as well if no row was accepted, or
        more than ``max_rejected`` were rejected.
        """
        verdicts = self.verdicts(statuses)
        # Several conclude only at the same moment, and then the worse of what they saw counts for all of them.
        concluded = {name for one in self.conclusions for name in one.pingbacks}
        considered = [found for found in verdicts if found[0].name in concluded]
        deciding = _different(considered)
        if not deciding:
            # Nobody has concluded, or only by words that mean something else now.
            deciding, considered = _different(verdicts), verdicts
            if len(deciding) < statuses.pingbacks_expected:
                under_way = any(verdict is not Verdict.SILENT for _, verdict in considered)
                return Progress(state=State.IN_PROGRESS if under_way else self._answered())
        by_word = Verdict.worst(verdict for _, verdict in deciding)
        said = {(found[1], self._with_rows(*found, max_rejected)) for found in verdicts if found[1].is_terminal}
        worst = Verdict.worst(self._with_rows(*found, max_rejected) for found in deciding)
        return Progress(
            state=State(str(worst)),
            deciding=tuple(pingback for pingback, _ in deciding),
            rows=Rows.worst(self._rows(pingback) for pingback, _ in deciding),
            by_rows=worst is not by_word,
            contradicted=len(said) > 1,
        )

    def _rows(self, pingback: PingBack) -> Rows:
        return Rows.of([pingback.payload, pingback.query], self.record.rows)

    def _with_rows(self, pingback: PingBack, verdict: Verdict, max_rejected: float | None) -> Verdict:
        """Return the verdict of a ping-back with that of its rows: of too few, a good word makes no success."""
        rows = self._rows(pingback)
        failed = verdict is Verdict.COMPLETED and (rows.none_accepted or rows.exceed(max_rejected))
        return Verdict.FAILED if failed else verdict

    def verdicts(self, statuses: Statuses) -> list[tuple[PingBack, Verdict]]:
        """Judge each ping-back, the oldest first as far as clocks tell."""
        named, requestid = self.named_requestids(), self.requestid
        if requestid == self.key:
            # Not known: then they must at least name the same one.
            requestid = next(iter(named)) if len(named) == 1 else ""
        found = sorted(self.pingbacks, key=lambda pingback: (pingback.at, pingback.name))
        return [(pingback, statuses.verdict(pingback.payload, pingback.query, requestid)) for pingback in found]

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

        Keys: ``requestid``, ``state``, ``rows``, ``accepted`` and ``rejected`` (None where nobody has said), ``counts``
        (the numbers under the ping-back's own names), ``submitted_at`` and ``completed_at`` (ISO 8601, UTC),
        ``seconds`` between them, ``payload`` (of the last deciding ping-back).

        :raises UploadFailed: a ping-back says that it failed.
        :raises UploadRowsRejected: no row was accepted, or too many were rejected.
        :raises UploadStatusUnrecognised: a ping-back's status is not known.
        """
        payloads = [pingback.shown for pingback in progress.deciding]
        if progress.by_rows:
            rows = progress.rows
            raise UploadRowsRejected(
                self.requestid, self.record.file, payloads, str(rows), rows.accepted, rows.rejected
            )
        if progress.state is State.FAILED:
            raise UploadFailed(self.requestid, self.record.file, payloads)
        if progress.state is not State.COMPLETED:
            raise UploadStatusUnrecognised(self.requestid, self.record.file, payloads)
        last, rows = progress.deciding[-1], progress.rows
        return {
            "requestid": self.requestid,
            "state": progress.state.value,
            "rows": rows.total,
            "accepted": rows.accepted,
            "rejected": rows.rejected,
            "counts": counts([last.payload, last.query]),
            "submitted_at": self.record.at.isoformat(),
            "completed_at": last.at.isoformat(),
            # Clocks of several hosts may differ.
            "seconds": max(0.0, round((last.at - self.record.at).total_seconds(), 3)),
            "payload": last.shown,
        }


def _different(verdicts: Iterable[tuple[PingBack, Verdict]]) -> list[tuple[PingBack, Verdict]]:
    """Return the terminal ping-backs, each once however often it was repeated."""
    found: dict[str, tuple[PingBack, Verdict]] = {}
    for pingback, verdict in verdicts:
        if verdict.is_terminal:
            found.setdefault(pingback.digest(), (pingback, verdict))
    return list(found.values())
