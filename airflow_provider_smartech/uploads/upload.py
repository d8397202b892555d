"""An upload as it is stored: its record, Smartech's answer, the ping-backs, and the resulting state."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from airflow_provider_smartech.errors import UploadFailed, UploadRowsRejected, UploadStatusUnrecognised
from airflow_provider_smartech.json_values import storable
from airflow_provider_smartech.redaction import scrub
from airflow_provider_smartech.uploads.readings import Reading
from airflow_provider_smartech.uploads.row_counts import Rows, counts
from airflow_provider_smartech.uploads.statuses import Statuses, Verdict, requestids

_ID = re.compile(r"(?P<kind>(?:probe-)?)(?P<time>20[0-9]{6}T[0-9]{6})-(?P<secret>[A-Za-z0-9_-]{43})")
# The length of the text that says why an upload was not accepted.
REASON_CHARACTERS = 500
KEY = re.compile(r"20[0-9]{6}T[0-9]{6}-[0-9a-f]{40}")
# What the ids and keys of probes begin with: ping-backs that the doctor sends to itself, which are no uploads.
PROBE = "probe-"


def new_upload_id() -> str:
    """Return an unguessable id (256 random bits, preceded by the time in UTC) for the path of a callback URL.

    Anyone who knows it can report that the upload has ended, so it goes into the callback URL and nowhere else. Half
    of its secret part is the same for all ids of a process: a log that hides that half hides all of them.
    """
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{_half_of_process(os.getpid())}{secrets.token_urlsafe(17)}"


@cache
def _half_of_process(pid: int) -> str:
    # By its number, because the child of a fork is another process.
    return secrets.token_urlsafe(15)


def half_of(upload_id: str) -> str:
    """Return the half of an id's secret part that all ids of its process have: without it, the rest is of no use."""
    return secrets_of(upload_id)[1][:20]


def new_probe_id() -> str:
    """Return such an id for a probe: the receiver keeps its ping-back, but no list, chart, count or wait sees it."""
    return f"{PROBE}{new_upload_id()}"


def key_of(upload_id: str) -> str | None:
    """Return the key of the upload or probe with this id in the store, None if the text is not an id.

    The key is the time and a hash: neither the store nor a log that names an upload reveals its id, and keys sort by
    age. The key of a probe begins with ``probe-``, so it is none of ``KEY``'s form.
    """
    form = _ID.fullmatch(upload_id)
    if not form:
        return None
    return f"{form['kind']}{form['time']}-{hashlib.sha256(upload_id.encode()).hexdigest()[:40]}"


def secrets_of(upload_id: str) -> list[str]:
    """Return what a text must not show of an id: all of it, and its secret part alone."""
    return [upload_id, upload_id.removeprefix(PROBE).partition("-")[2]]


class State(StrEnum):
    """The state of an upload."""

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
        """Whether enough ping-backs have come to end the upload."""
        return self in (State.COMPLETED, State.FAILED, State.UNRECOGNISED)


class Document(BaseModel):
    """A file of the store: written once, never changed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class TaskTry(BaseModel):
    """One try of one task instance; ``part`` distinguishes its uploads if it makes several.

    Clearing a task changes its ``max_tries``, a retry does not. ``run_started`` distinguishes a DAG run from a deleted
    run of the same name. Airflow also sets it anew when a finished run is cleared. So one run may have several values,
    but two runs never have the same value.
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
        """Return a name for the task instance and part: the same for all tries, and safe in any store."""
        parts = [self.dag_id, self.run_id, self.task_id, self.map_index, *([self.part] if self.part else [])]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]

    def for_part(self, part: int) -> TaskTry:
        """Return the same try, for another of its uploads."""
        return self.model_copy(update={"part": part})

    def follows(self, earlier: TaskTry) -> bool:
        """Whether ``earlier`` was certainly an earlier try in the same DAG run, not in another run of the same name."""
        same_run = self.run_started is not None and self.run_started == earlier.run_started
        return same_run and self.try_number > earlier.try_number

    def is_not_before(self, other: TaskTry) -> bool:
        """Whether this is the other try, or certainly a later one in the same DAG run."""
        return self.for_part(0) == other.for_part(0) or self.follows(other)

    def retries(self, earlier: TaskTry) -> bool:
        """Whether this is a retry of ``earlier``, and the task was not cleared between them."""
        return self.follows(earlier) and self.max_tries == earlier.max_tries

    def is_of_round(self, other: TaskTry) -> bool:
        """Whether this is the other try, or a retry of it."""
        return self.for_part(0) == other.for_part(0) or self.retries(other)

    def order(self) -> tuple[datetime, int]:
        """Return a sort key for the tries of a task instance, including runs of the same name."""
        return self.run_started or datetime.min.replace(tzinfo=UTC), self.try_number


class Record(Document):
    """What is known before the request is sent.

    ``path`` is without its query; ``fingerprint`` identifies the file and the list; ``tracked``: this provider's
    callback was sent; ``rows`` is the number of rows in the file, if the task has counted them, ``of_rows`` that of
    the query, if only those were sent that have changed. ``account`` identifies
    the Smartech account, ``account_name`` is its name in the connection.
    """

    key: str = Field(pattern=KEY.pattern)
    path: str
    listid: int | None = None
    idc: str | None = None
    account: str = ""
    account_name: str | None = None
    rows: int | None = None
    of_rows: int | None = None
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
        """What distinguishes it from an upload of another account, for messages."""
        where = "/".join(filter(None, [self.idc, self.account_name]))
        return f"{self.file} to {where} by connection {self.smartech_conn_id} at {self.at:%Y-%m-%d %H:%M:%S} UTC"


class Answer(Document):
    """How the request ended: ``requestid`` if Smartech accepted it, else ``reason``, a short text without secrets."""

    outcome: Literal["accepted", "not accepted", "unknown"]
    requestid: str | None = None
    reason: str | None = None

    @classmethod
    def failed(cls, outcome: Literal["not accepted", "unknown"], error: str, secrets: Iterable[str]) -> Answer:
        """Return the answer for a request that ended with an error.

        :param secrets: what the error must not show.
        """
        return cls(outcome=outcome, reason=storable(scrub(error, secrets))[:REASON_CHARACTERS])


class Handover(Document):
    """The submitting task is done: it handed over the requestid, or it waited and the upload did not complete."""

    reason: Literal["handed over", "not completed"]
    task: TaskTry


class PingBack(Document):
    """One call of the callback; ``payload`` is its body and ``query`` its URL's query, without secrets.

    ``name`` is the name of its file in the store.
    """

    payload: JsonValue = None
    query: dict[str, JsonValue] = Field(default_factory=dict)
    name: str = Field(default="", exclude=True)

    @property
    def shown(self) -> Any:
        """Its content, as one JSON value."""
        if not self.query:
            return self.payload
        return self.query if self.payload in (None, "") else {"query": self.query, "body": self.payload}

    def digest(self) -> str:
        """Return a fingerprint of its content: a repeated ping-back has the same one."""
        text = json.dumps([self.payload, self.query], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Conclusion(Document):
    """A waiter has acted on these ping-backs (given by name), which meant this state to it; later ones change nothing.

    Only what means a completion now, and did not then, is no longer what was acted upon.
    """

    pingbacks: tuple[str, ...]
    state: State | None = None


class Progress(BaseModel):
    """The result of an upload: its state, the ping-backs that decided it, and what happened to the rows.

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
        """Whether it failed, and no ping-back contradicts that."""
        return self.state is State.FAILED and not self.contradicted


class Upload(BaseModel):
    """Everything that is stored about one upload; ``digest`` is that of the names of its files."""

    model_config = ConfigDict(frozen=True)

    record: Record
    answer: Answer | None = None
    handovers: tuple[Handover, ...] = ()
    pingbacks: tuple[PingBack, ...] = ()
    conclusions: tuple[Conclusion, ...] = ()
    digest: str = ""

    @property
    def key(self) -> str:
        """The name of the upload in the store."""
        return self.record.key

    @property
    def requestid(self) -> str:
        """Smartech's requestid, or the upload's key if the requestid is not known."""
        return (self.answer and self.answer.requestid) or self.key

    @property
    def given_up(self) -> bool:
        """Whether a task waited for it and stopped, because it did not complete or not in time."""
        return any(handover.reason == "not completed" for handover in self.handovers)

    def named_requestids(self) -> set[str]:
        """Return the requestids in its ping-backs."""
        return {name for pingback in self.pingbacks for name in requestids([pingback.payload, pingback.query])}

    def progress(self, statuses: Statuses, max_rejected: float | None = None) -> Progress:
        """Return the result of the upload.

        It has ended when the expected number of different terminal ping-backs has come; the worst of their verdicts
        counts. Ping-backs after the conclusion change nothing. It has also failed if no row was accepted, or more than
        ``max_rejected`` were rejected.
        """
        verdicts = self.verdicts(statuses)
        deciding = self._acted_upon(verdicts, max_rejected)
        if not deciding:
            # There is no conclusion, or only one from words that mean something else now.
            deciding = _different(verdicts)
            if len(deciding) < statuses.pingbacks_expected:
                under_way = any(verdict is not Verdict.SILENT for _, verdict in verdicts)
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

    def _acted_upon(
        self, verdicts: Sequence[tuple[PingBack, Verdict]], max_rejected: float | None
    ) -> list[tuple[PingBack, Verdict]]:
        """Return the ping-backs that a waiter acted upon, unless they mean a completion now, and did not then."""
        # Several conclusions are made only at the same moment; then the worst of what the waiters saw counts for all.
        names = {name for one in self.conclusions for name in one.pingbacks}
        found = _different(one for one in verdicts if one[0].name in names)
        has_completed = all(one.state in (None, State.COMPLETED) for one in self.conclusions)
        completes = all(self._with_rows(*one, max_rejected) is Verdict.COMPLETED for one in found)
        return [] if completes and not has_completed else found

    def is_denied(self, statuses: Statuses, max_rejected: float | None) -> bool:
        """Whether any of its ping-backs, late ones included, says that it failed."""
        return any(self._with_rows(*found, max_rejected) is Verdict.FAILED for found in self.verdicts(statuses))

    def _rows(self, pingback: PingBack) -> Rows:
        return Rows.of([pingback.payload, pingback.query], self.record.rows)

    def _with_rows(self, pingback: PingBack, verdict: Verdict, max_rejected: float | None) -> Verdict:
        """Return a ping-back's verdict, rows included: with too few rows, a success word is not a success."""
        rows = self._rows(pingback)
        failed = verdict is Verdict.COMPLETED and (rows.none_accepted(self.record.rows) or rows.exceed(max_rejected))
        return Verdict.FAILED if failed else verdict

    def verdicts(self, statuses: Statuses) -> list[tuple[PingBack, Verdict]]:
        """Return each ping-back with its verdict, oldest first by the hosts' clocks."""
        about = self._expected_requestid()
        return [(one, statuses.verdict(one.payload, one.query, about)) for one in self._in_order()]

    def readings(self, statuses: Statuses) -> list[tuple[PingBack, Reading]]:
        """Return each ping-back with how it was read, oldest first by the hosts' clocks."""
        about = self._expected_requestid()
        return [(one, Reading.of(statuses, one.payload, one.query, about)) for one in self._in_order()]

    def _in_order(self) -> list[PingBack]:
        return sorted(self.pingbacks, key=lambda pingback: (pingback.at, pingback.name))

    def _expected_requestid(self) -> str:
        """Return the requestid that its ping-backs must name, if they name any."""
        if self.requestid != self.key:
            return self.requestid
        # Not known: then the ping-backs must at least name the same one.
        named = self.named_requestids()
        return next(iter(named)) if len(named) == 1 else ""

    def _answered(self) -> State:
        if self.answer is None:
            return State.SUBMITTING
        return {
            "accepted": State.ACCEPTED,
            "not accepted": State.NOT_ACCEPTED,
            "unknown": State.OUTCOME_UNKNOWN,
        }[self.answer.outcome]

    def took(self, progress: Progress) -> timedelta:
        """Return how long an upload that has ended took, until the last ping-back that decided it."""
        # Clocks of several hosts may differ.
        return max(timedelta(), progress.deciding[-1].at - self.record.at)

    def summary(self, progress: Progress, statuses: Statuses) -> dict[str, Any]:
        """Return a completed upload as a small JSON object for XCom.

        Keys: ``requestid``, ``state``, ``rows``, ``accepted`` and ``rejected`` (None if not known), ``counts``
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
            readings = [reading for one, reading in self.readings(statuses) if one in progress.deciding]
            told = [f"{one.text} {one.advice}" for one in readings if one.verdict is Verdict.UNRECOGNISED]
            raise UploadStatusUnrecognised(self.requestid, self.record.file, payloads, told)
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
            "seconds": round(self.took(progress).total_seconds(), 3),
            "payload": last.shown,
        }


def _different(verdicts: Iterable[tuple[PingBack, Verdict]]) -> list[tuple[PingBack, Verdict]]:
    """Return the terminal ping-backs, each one once even if it was repeated."""
    found: dict[str, tuple[PingBack, Verdict]] = {}
    for pingback, verdict in verdicts:
        if verdict.is_terminal:
            found.setdefault(pingback.digest(), (pingback, verdict))
    return list(found.values())
