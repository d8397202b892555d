"""The steps of a history, and a small model beside the real parts: what was sent, and what was said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar, Literal, TypeVar

from airflow.sdk import BaseOperator, Context
from airflow.sdk.execution_time.context import set_current_context
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_smartech.operators import SmartechBulkUploadOperator, submit_upload
from airflow_provider_smartech.sandbox import Fault
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from airflow_provider_smartech.tasks.submission import task_try
from airflow_provider_smartech.transfers import S3ToSmartechOperator, SqlToSmartechOperator
from airflow_provider_smartech.uploads.upload import TaskTry
from tests.histories import promises
from tests.histories.pingbacks import KINDS, Kind, message
from tests.histories.world import BUCKET, IDCS, VERSIONS, Taken, Trouble, Try, World
from tests.support.tasks import FakeTaskInstance, context

T = TypeVar("T")
ANSWERS = (
    *(Fault.ERROR_500, Fault.HTML, Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.NO_REQUESTID, Fault.INVALID_KEY),
    *(Fault.INVALID_KEY_401, Fault.PINGBACK_FIRST, Fault.ANSWER_UNKNOWN_WORD, Fault.ANSWER_CONFLICT),
    Fault.NUMERIC_REQUESTID,
)


def any_of(options: Sequence[T]) -> st.SearchStrategy[T]:
    """Choose evenly, as ``sampled_from`` does not: it prefers the ends, and what it has chosen before."""
    return st.integers(0, 2**20).map(lambda number: Random(number).choice(options) if number else options[0])


# Most tries get a plain answer and many have no trouble, or a history would never get anywhere.
answers = any_of([*[None] * 5 * len(ANSWERS), *ANSWERS])
minutes = st.sampled_from([0, 0, 0, -9, 4, 12]).map(lambda number: timedelta(minutes=number))
WRITES = (
    *("record", "tasks/", "answer", "requestids/", "handover", "conclusion"),
    *("begun", "complete", "removed", "sources/"),
)
TROUBLES = (
    *(Trouble("written", part=part) for part in (*WRITES, *("answer", "requestids/", "handover") * 2) * 12),
    *(Trouble("store", number) for number in range(1, 20)),
    *(Trouble("s3", number) for number in range(1, 13)),
    *(Trouble("refusal", number, times) for number in range(1, 13) for times in (1, 4)),
    *(Trouble("pingback", number) for number in range(4, 20)),
    *[Trouble("request"), Trouble("answer")] * 6,
)
troubles = any_of([*[None] * (len(TROUBLES) // 2), *TROUBLES])
CHANGES = (
    "another task of the run is cleared",
    "the run is deleted and made again",
    "another file or query",
    "another account",
    "everything is purged",
)


FILES = ("contacts.csv", "customers.csv")


class SubmitsFiles(BaseOperator):
    """A task in Python that submits several files."""

    def __init__(self, *, paths: list[str], on_unknown_outcome: Literal["resubmit", "fail"], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.paths, self.on_unknown_outcome = paths, on_unknown_outcome

    def execute(self, context: Context) -> list[str]:
        """Submit all of them, and return their requestids."""
        with set_current_context({**context, "task": self}):
            return [submit_upload(path, listid=33, on_unknown_outcome=self.on_unknown_outcome) for path in self.paths]


@dataclass
class Sent:
    """An upload that a sandbox took, as the model knows it.

    ``run`` and ``round`` are those of the DAG run and of the clearings in which it was sent, ``pinged`` what its
    callback was called with so far, ``handed_over`` the round in which its task ended green, ``acted`` what had been
    said of it when somebody acted upon it.
    """

    taken: Taken
    version: str
    run: int
    round: int
    pinged: list[Kind] = field(default_factory=list)
    handed_over: int | None = None
    acted: list[Kind] | None = None
    concluded: str | None = None

    @property
    def part(self) -> str:
        """The name of its file, which tells the uploads of one try apart."""
        return self.taken.path.rpartition("/")[2]

    @property
    def said(self) -> list[Kind]:
        """What was said of its end: if somebody has acted upon it, until then."""
        said = self.pinged if self.acted is None else self.acted
        return [kind for kind in said if kind.says != "nothing"]

    @property
    def surely_failed(self) -> bool:
        """Whether all that was said of it says that nothing was loaded."""
        return bool(self.said) and all(kind.surely_failed for kind in self.said)

    @property
    def is_over(self) -> bool:
        """Whether something was said of its end."""
        return bool(self.said)

    def by_rows(self, history: History) -> bool:
        """Whether so many rows were rejected that it counts as failed."""
        return any(promises.too_many(history, kind, self.taken.rows) for kind in self.said) and all(
            kind.says == "good" for kind in self.said
        )


class History(RuleBasedStateMachine):
    """One task that submits, one that may wait for it, and everything that may happen to them."""

    world: ClassVar[World]
    seen: ClassVar[Counter[str]] = Counter()

    @initialize(
        kind=st.sampled_from(["hosted", "hosted", "function", "sql", "s3"]),
        uploads_at_once=st.sampled_from([1, 2, 2, None]),
        waits=st.sampled_from(["itself", "itself, deferred", "a sensor"]),
        on_unknown_outcome=st.sampled_from(["resubmit", "fail"]),
        max_rejected=st.sampled_from([None, 0, 0.5]),
        delete_staged=st.sampled_from(["on_success", "always", "never"]),
        max_rows_per_file=st.sampled_from([None, None, 2]),
        retries=st.integers(0, 3),
        names_account=st.booleans(),
        number=st.integers(0, 2**20),
    )
    def begin(self, number: int, **choices: Any) -> None:
        """Choose what the DAG looks like."""
        # Hypothesis begins with the simplest history, which is the same each time.
        assume(number)
        self.seen["history"] += 1
        self.world.begin()
        self.choices = {**choices, "waits": "a sensor"} if choices["kind"] == "function" else choices
        self.version, self.account, self.run_number, self.round, self.clear_number = VERSIONS[0], 0, 0, 0, 0
        self.sent: list[Sent] = []
        self.purged = set[tuple[int, str]]()
        self.standing: list[Sent] = []
        self.started = (self.account, self.version)
        self.forgotten = False
        self.pushed: tuple[int, str] | None = None
        self.texts: list[str] = []
        self._new_run()

    def _new_run(self) -> None:
        self.run_number, self.round, self.clear_number = self.run_number + 1, self.round + 1, 0
        self.state, self.deferred, self.xcoms = "ready", None, dict[str, Any]()
        self.try_number, self.max_tries = 1, self.choices["retries"]
        self._run_starts()

    def _run_starts(self) -> None:
        self.run_started = datetime.now(UTC)

    # --- what happens to the task ------------------------------------------------------------------------------------

    @precondition(lambda self: self.state == "ready")
    @rule(answer=answers, trouble=troubles, skew=minutes, at_once=st.booleans())
    def start_a_try(self, answer: Fault | None, trouble: Trouble | None, skew: timedelta, at_once: bool) -> None:
        """The scheduler starts the next try, and perhaps the one after it before anything else happens."""
        self._start(answer, trouble, skew)
        if at_once and self.state == "ready":
            self._start(None, None, skew)

    def _start(self, answer: Fault | None, trouble: Trouble | None, skew: timedelta) -> None:
        self.xcoms, self.started = {}, (self.account, self.version)
        self.standing = promises.standing(self)
        self.seen["try with an upload to take"] += bool(self.standing)
        faults = frozenset({answer} if answer else ())
        done = self.world.run(self._task(), self._ti(), faults=faults, trouble=trouble, skew=skew)
        self._ended(done, answer)

    @precondition(lambda self: self.state == "deferred")
    @rule(trouble=troubles, skew=minutes, triggerer=minutes, by_airflow=st.booleans())
    def resume(self, trouble: Trouble | None, skew: timedelta, triggerer: timedelta, by_airflow: bool) -> None:
        """The trigger fires, because the upload has ended or the time is over, or Airflow's own deadline has come."""
        self._ended(
            self.world.resume(
                self._task(),
                self._ti(),
                self.deferred,
                by_airflow=by_airflow,
                trouble=trouble,
                skew=skew,
                triggerer_skew=triggerer,
            ),
            None,
        )

    @precondition(lambda self: self.state in ("green", "red", "deferred"))
    @rule(run_is_over=st.booleans())
    def clear(self, run_is_over: bool) -> None:
        """Somebody clears the task; where the DAG run was over, Airflow starts it again."""
        self.clear_number += 1
        self.round += 1
        self.max_tries = self.try_number + self.choices["retries"]
        self.try_number += 1
        if run_is_over and self.state != "deferred":
            self._run_starts()
        self.state, self.deferred = "ready", None

    @rule(change=st.sampled_from([*CHANGES[:-1] * 2, CHANGES[-1]]), to=st.integers(0, len(IDCS) - 1))
    def change(self, change: str, to: int) -> None:
        """Somebody changes what is around the task."""
        match change:
            case "another task of the run is cleared":
                self.clear_number += 1
            case "the run is deleted and made again":
                if self.state != "deferred":
                    self._new_run()
            case "another file or query":
                self.version = VERSIONS[to % len(VERSIONS)]
            case "another account":
                self.account = to
                self.world.connect(to)
            case "everything is purged":
                self.texts.append(self.world.purge())
                self.purged |= {(sent.taken.account, sent.taken.requestid) for sent in self.sent}
                self.sent.clear()
                self.forgotten = True

    # --- what Smartech says ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.sent)
    @rule(number=st.sampled_from([0, 0, 0, 1, 2, 5]), kind=any_of([*["completed"] * 9, *KINDS]), skew=minutes)
    def ping_back(self, number: int, kind: str, skew: timedelta) -> None:
        """Smartech calls back, about any upload and however often."""
        sent = self.sent[-1 - number % len(self.sent)]
        taken = sent.taken
        if kind == "of another upload" and not promises.is_named(self, sent):
            # Where the answer was lost, any requestid may be the one.
            return
        said = message(kind, taken.requestid, taken.rows, self.world.keys[taken.account])
        if self.world.ping(taken, *said, skew) == "HTTP 200":
            sent.pinged.append(KINDS[kind])

    @precondition(lambda self: self.state == "deferred")
    @rule()
    def complete(self) -> None:
        """Smartech is done with everything of which it has said nothing."""
        for sent in self.sent:
            said = message("completed", sent.taken.requestid, sent.taken.rows, self.world.keys[sent.taken.account])
            if not sent.pinged and self.world.ping(sent.taken, *said, timedelta()) == "HTTP 200":
                sent.pinged.append(KINDS["completed"])

    @precondition(lambda self: self.state == "deferred")
    @rule(change=st.sampled_from(["another file or query", "another account"]), to=st.integers(0, len(IDCS) - 1))
    def is_edited_while_it_waits(self, change: str, to: int) -> None:
        """Somebody changes the DAG or its connection while the task is deferred, and then all goes well."""
        self.change(change, to)
        while self.state == "deferred":
            self.complete()
            self.resume(None, timedelta(), timedelta(), False)

    # --- who waits ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.pushed and self.choices["waits"] == "a sensor")
    @rule(trouble=troubles, skew=minutes, deferrable=st.booleans())
    def look(self, trouble: Trouble | None, skew: timedelta, deferrable: bool) -> None:
        """The sensor of the requestid that the task has pushed looks, and gives up if there is nothing."""
        account, requestid = self.pushed or (0, "")
        sensor = SmartechBulkUploadSensor(
            task_id="wait",
            requestid=requestid,
            smartech_conn_id=f"account_{account}" if self.choices["names_account"] else None,
            max_rejected=self.choices["max_rejected"],
            deferrable=deferrable,
            timeout=0,
            poke_interval=0,
        )
        ti = FakeTaskInstance(task_id="wait")
        done = self.world.run(sensor, ti, trouble=trouble, skew=skew)
        if done.end == "deferred":
            done = self.world.resume(sensor, ti, done.trigger, skew=skew)
        self._pinged_meanwhile()
        self.seen[f"sensor {done.end}"] += 1
        self._keep(done)
        if done.end == "green":
            requestids = [done.value["requestid"]] if isinstance(done.value, dict) else []
            for sent in self.by_requestids(account, requestids):
                promises.is_loaded(self, sent)
                sent.acted = sent.acted or list(sent.pinged)

    # --- the model ---------------------------------------------------------------------------------------------------

    def _task(self) -> BaseOperator:
        waits = self.choices["waits"]
        arguments: dict[str, Any] = {
            "task_id": "upload",
            "listid": 33,
            "wait_for_completion": waits != "a sensor",
            "deferrable": waits == "itself, deferred",
            "on_unknown_outcome": self.choices["on_unknown_outcome"],
            "max_rejected": self.choices["max_rejected"] if waits != "a sensor" else None,
            "timeout": 0 if waits == "itself" else 3600,
        }
        signature = f"X-Amz-Signature=s3cr3t-of-the-link-{self.try_number}"
        if self.choices["kind"] == "function":
            # In another order by each try.
            names = FILES[:: -1 if self.try_number % 2 else 1]
            return SubmitsFiles(
                task_id="upload",
                paths=[f"{self.world.hosted}/{name}?token={self.version}&{signature}" for name in names],
                on_unknown_outcome=self.choices["on_unknown_outcome"],
            )
        if self.choices["kind"] == "hosted":
            path = f"{self.world.hosted}/{FILES[0]}?token={self.version}&{signature}"
            return SmartechBulkUploadOperator(path=path, **arguments)
        if self.choices["kind"] == "s3":
            return S3ToSmartechOperator(
                s3_bucket=BUCKET,
                s3_prefix=f"unloaded/{self.version}/",
                primary_key="EMAIL",
                uploads_at_once=self.choices["uploads_at_once"],
                **arguments,
            )
        return SqlToSmartechOperator(
            sql=f"SELECT email AS EMAIL FROM {self.version} ORDER BY 1",
            conn_id="warehouse",
            s3_bucket=BUCKET,
            s3_prefix=self.world.prefix,
            primary_key="EMAIL",
            max_rows_per_file=self.choices["max_rows_per_file"],
            delete_staged=self.choices["delete_staged"] if waits != "a sensor" else "never",
            **arguments,
        )

    def task_try(self) -> TaskTry:
        """Return the task instance, as the store knows it."""
        return task_try(context(self._ti()))

    def _ti(self) -> FakeTaskInstance:
        return FakeTaskInstance(
            try_number=self.try_number,
            max_tries=self.max_tries,
            clear_number=self.clear_number,
            run_started=self.run_started,
            xcoms=self.xcoms,
        )

    def _ended(self, done: Try, answer: Fault | None) -> None:
        """Learn what came of a try, or of a part of it."""
        before = list(self.sent)
        known = {(sent.taken.account, sent.taken.requestid) for sent in before} | self.purged
        new = [taken for taken in self.world.taken() if (taken.account, taken.requestid) not in known]
        for taken in new:
            # A try that was deferred goes on with the files that it began with.
            sent = Sent(taken, self.started[1], self.run_number, self.round)
            if answer is Fault.PINGBACK_FIRST:
                sent.pinged.append(KINDS["completed"])
            self.sent.append(sent)
        self._pinged_meanwhile()
        for sent in self.sent:
            if sent.handed_over is None and promises.was_handed_over(self, sent):
                # Also where the process died right after it had kept that.
                sent.handed_over = self.round
        self._keep(done)
        self.seen[f"try {done.end}"] += 1
        if done.error:
            self.seen[f"try by {type(done.error).__name__}"] += 1
        promises.was_sent_once(self, before, self.sent[len(before) :], done)
        if done.end == "failed":
            may_try_again = self.try_number <= self.max_tries
            self.state = "ready" if may_try_again else "red"
            self.try_number += may_try_again
        else:
            self.state = done.end
        self.deferred = done.trigger
        if done.end == "green":
            promises.is_green_for_good(self, done)

    def _pinged_meanwhile(self) -> None:
        for taken in self.world.pinged_meanwhile:
            for sent in self.sent:
                if sent.taken == taken:
                    sent.pinged.append(KINDS["completed"])
        self.world.pinged_meanwhile.clear()

    def _keep(self, done: Try) -> None:
        promises.ends_as_it_should(done)
        self.texts += [done.log, repr(self.xcoms), repr(done.value), *done.texts]

    def by_requestids(self, account: int, requestids: list[str]) -> list[Sent]:
        """Return what was sent by these requestids, or by the keys that stand in for them."""
        return [
            sent
            for sent in self.sent
            if (sent.taken.account == account and sent.taken.requestid in requestids) or sent.taken.key in requestids
        ]

    # --- what must hold after every step -----------------------------------------------------------------------------

    @invariant()
    def every_promise_holds(self) -> None:
        """See ``promises``."""
        if hasattr(self, "sent"):
            promises.are_all_known(self)
            promises.stay_as_they_were_acted_upon(self)
            promises.leaks_nothing(self)
            promises.names_staged_files(self)
