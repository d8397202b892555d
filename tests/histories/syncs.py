"""Histories of syncs that upload only what changed: several nights, also at once, and what may happen to them."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import xxhash
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_provider_smartech.sandbox import Fault
from airflow_provider_smartech.sandbox.loader import LoadError
from airflow_provider_smartech.tasks.submission import task_try
from airflow_provider_smartech.transfers import SqlToSmartechOperator
from airflow_provider_smartech.uploads.upload import TaskTry
from tests.histories import promises
from tests.histories.machine import answers, any_of, minutes, troubles
from tests.histories.pingbacks import KINDS, message
from tests.histories.world import BUCKET, Taken, Trouble, Try, World
from tests.support.tasks import FakeTaskInstance, context

NAMES = [*(f"contact-{number}@contacts.example" for number in range(4)), "contact, 4@contacts.example"]
VALUES = ["first", 'the "second", as CSV', "third\nline"]
COLUMNS = {"first": "email AS EMAIL, name AS NAME", "last": "name AS NAME, email AS EMAIL"}
# What the rows of one contact have: mostly there is one row, seldom none or two.
VALUES_OF_ONE = any_of([*[[value] for value in VALUES] * 6, *[[]] * 3, VALUES[:2], VALUES[1:]])
EDIT = st.tuples(any_of(NAMES), VALUES_OF_ONE)
# Most steps are about the last night.
WHICH = any_of([-1, -1, -1, -2])


@dataclass
class Night:
    """A DAG run and its task; a ``plain`` one uploads all rows, without ``only_changes``."""

    number: int
    max_tries: int
    plain: bool = False
    try_number: int = 1
    state: str = "ready"
    deferred: Any = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    run_started: datetime = field(default_factory=lambda: datetime.now(UTC))

    def ti(self) -> FakeTaskInstance:
        return FakeTaskInstance(
            run_id=f"night-{self.number}",
            try_number=self.try_number,
            max_tries=self.max_tries,
            run_started=self.run_started,
            xcoms=self.xcoms,
        )

    def task_try(self) -> TaskTry:
        return task_try(context(self.ti()))


@dataclass
class Staged:
    """What a try has streamed, and of whom others have loaded something since.

    ``contacts`` has the values that a full upload may leave: that of the last row, or, where the rows of a contact may
    be in different files, of any of them.
    """

    contacts: dict[str, set[str]]
    rows: int
    account: int
    overwritten: set[str] = field(default_factory=set)


class SyncHistory(RuleBasedStateMachine):
    """A nightly sync of a few contacts."""

    world: ClassVar[World]
    seen: ClassVar[Counter[str]] = Counter()

    @initialize(
        on_unknown_outcome=st.sampled_from(["resubmit", "fail"]),
        max_rejected=st.sampled_from([None, 0]),
        delete_staged=st.sampled_from(["on_success", "always", "never"]),
        max_rows_per_file=st.sampled_from([None, None, 2]),
        deferrable=st.booleans(),
        on_duplicate_key=st.sampled_from(["fail", "keep"]),
        key=st.sampled_from(list(COLUMNS)),
        retries=st.integers(0, 2),
        number=st.integers(0, 2**20),
    )
    def begin(self, number: int, retries: int, key: str, **choices: Any) -> None:
        """Choose what the DAG looks like."""
        assume(number)
        self.seen["history"] += 1
        self.world.begin()
        self.retries, self.columns, self.choices = retries, COLUMNS[key], choices
        self.contacts = {name: [VALUES[0]] for name in NAMES[:3]}
        self.world.rewrite(self._rows())
        self.account = 0
        self.nights = [Night(1, retries)]
        self.staged: dict[str, Staged] = {}
        self.texts: list[str] = []
        self.lost: list[Taken] = []

    # --- the nights --------------------------------------------------------------------------------------------------

    def edit(self, who: str, values: list[str]) -> None:
        """A contact of the warehouse is added, changed or removed; it may be there twice."""
        self.contacts.pop(who, None)
        if values:
            self.contacts[who] = values
        self.world.rewrite(self._rows())

    @rule(who=any_of(NAMES), values=VALUES_OF_ONE, plain=any_of([*[False] * 9, True]))
    def troubled_night(self, who: str, values: list[str], plain: bool) -> None:
        """Another DAG run is about to begin, whatever became of the one before."""
        self.edit(who, values)
        # What a task has sent that never had ``only_changes``, its first sync does not know.
        self.next_night(plain and self.world.store.syncs.state("dag.upload").is_recorded)

    def next_night(self, plain: bool = False) -> None:
        """Another DAG run begins."""
        self.nights.append(Night(self.nights[-1].number + 1, self.retries, plain))

    @rule(edits=st.lists(EDIT, max_size=2))
    def calm_night(self, edits: list[tuple[str, list[str]]]) -> None:
        """A night in which nothing goes wrong, whatever is left of those before."""
        for who, values in edits:
            self.edit(who, values)
        self.next_night()
        night = self.nights[-1]
        self._start(night, Fault.PINGBACK_FIRST, None, timedelta())
        if night.state == "deferred":
            self._resume(night, None, timedelta(), by_airflow=False)

    @rule(edit=EDIT)
    def night_that_is_given_up(self, edit: tuple[str, list[str]]) -> None:
        """A night whose upload Smartech takes, but loads late or never, so that its task gives up."""
        self.edit(*edit)
        self.next_night()
        night = self.nights[-1]
        self._start_held(night)
        if night.state == "deferred":
            self._resume(night, None, timedelta(), by_airflow=False)

    @rule(edits=st.tuples(EDIT, EDIT), newest_first=st.tuples(st.booleans(), st.booleans()))
    @precondition(lambda self: self.choices["deferrable"])
    def two_nights_at_once(
        self, edits: tuple[tuple[str, list[str]], tuple[str, list[str]]], newest_first: tuple[bool, bool]
    ) -> None:
        """Two nights send before either has ended; they may be loaded, and may end, in either order."""
        for edit in edits:
            self.edit(*edit)
            self.next_night()
            self._start_held(self.nights[-1])
        loads_newest, ends_newest = newest_first
        sent = len(self.world.taken())
        for number in range(sent) if loads_newest else reversed(range(sent)):
            self.ping_back(number=number, kind="completed", skew=timedelta())
        last_two = self.nights[-2:]
        for night in reversed(last_two) if ends_newest else last_two:
            if night.state == "deferred":
                self._resume(night, None, timedelta(), by_airflow=False)

    def _start_held(self, night: Night) -> None:
        self.world.holds = True
        try:
            self._start(night, None, None, timedelta())
        finally:
            self.world.holds = False

    @rule(which=WHICH, answer=answers, trouble=troubles, skew=minutes, holds=any_of([False, False, True]))
    @precondition(lambda self: any(night.state == "ready" for night in self.nights[-2:]))
    def start_a_try(
        self, which: int, answer: Fault | None, trouble: Trouble | None, skew: timedelta, holds: bool
    ) -> None:
        """A try of a night's task runs; what it sends is loaded at once, or later."""
        night = self._night(which, "ready")
        if holds and (answer is Fault.PINGBACK_FIRST or (trouble and trouble.what == "pingback")):
            # Smartech does not say that it has loaded what it has not.
            answer = trouble = None
        self.world.holds = holds
        try:
            self._start(night, answer, trouble, skew)
        finally:
            self.world.holds = False

    def _start(self, night: Night, answer: Fault | None, trouble: Trouble | None, skew: timedelta) -> None:
        faults = frozenset({answer} if answer else ())
        night.xcoms = {}
        before = self._loaded()
        done = self.world.run(self._task(night), night.ti(), faults=faults, trouble=trouble, skew=skew)
        self._ended(night, done, before)

    @rule(which=WHICH, trouble=troubles, skew=minutes, by_airflow=st.booleans())
    @precondition(lambda self: any(night.state == "deferred" for night in self.nights[-2:]))
    def resume(self, which: int, trouble: Trouble | None, skew: timedelta, by_airflow: bool) -> None:
        """The trigger of a night's task fires."""
        self._resume(self._night(which, "deferred"), trouble, skew, by_airflow=by_airflow)

    def _resume(self, night: Night, trouble: Trouble | None, skew: timedelta, *, by_airflow: bool) -> None:
        before = self._loaded()
        done = self.world.resume(
            self._task(night), night.ti(), night.deferred, by_airflow=by_airflow, trouble=trouble, skew=skew
        )
        self._ended(night, done, before)

    @rule(which=WHICH, run_is_over=st.booleans())
    def clear(self, which: int, run_is_over: bool) -> None:
        """Somebody clears a night's task."""
        night = self.nights[max(which, -len(self.nights))]
        if night.state == "ready":
            return
        if run_is_over and night.state != "deferred":
            night.run_started = datetime.now(UTC)
        night.max_tries = night.try_number + self.retries
        night.try_number += 1
        night.state, night.deferred = "ready", None

    @rule(change=any_of([*["nothing"] * 5, "another account", "purge", "reset", "dry run"]), to=st.integers(0, 2))
    def change(self, change: str, to: int) -> None:
        """Somebody changes what is around the sync."""
        match change:
            case "dry run":
                self._only_count()
            case "another account":
                self.account = to
                self.world.connect(to)
            case "purge":
                self.texts.append(self.world.purge())
            case "reset":
                self.world.store.syncs.forget("dag.upload")

    def _only_count(self) -> None:
        before = self.world.files.contents()
        done = self.world.run(self._task(Night(0, 0), dry_run=True), Night(0, 0).ti())
        assert self.world.files.contents() == before, "a dry run has left something in the store"
        if done.end == "green":
            assert (done.value["rows"], done.value["requestids"]) == (len(self._rows()), [])
        self.texts += [done.log, repr(done.value)]

    @rule(number=st.integers(0, 2**20), how=any_of(["cut", "garbage", "gone", *["nothing"] * 6]))
    def damage(self, number: int, how: str) -> None:
        """The storage damages a record, or loses hashes."""
        names = sorted(name for name in self.world.files.contents() if "/syncs/" in name)
        names = [name for name in names if "/rows-" in name or ("/run-" in name and how != "gone")]
        if how == "nothing" or not names:
            return
        name = names[number % len(names)]
        self.seen[f"{'hashes' if '/rows-' in name else 'a record of a run'}: {how}"] += 1
        if how == "gone":
            self.world.files.rm(name)
        else:
            content = self.world.files.contents()[name]
            self.world.files.pipe_file(name, content[:-9] if how == "cut" else content[::-1])

    # --- Smartech ----------------------------------------------------------------------------------------------------

    @rule(number=st.sampled_from([0, 0, 0, 1, 2, 5]), kind=any_of([*["completed"] * 12, *KINDS]), skew=minutes)
    @precondition(lambda self: self.world.taken())
    def ping_back(self, number: int, kind: str, skew: timedelta) -> None:
        """Smartech calls back; it has loaded by then what it will load."""
        sent = self.world.taken()
        taken = sent[-1 - number % len(sent)]
        says = KINDS[kind].says
        if kind == "of another upload" or KINDS[kind].rejected:
            # A requestid that is not known may be anybody's; and rejected rows would have to be missing.
            return
        if says == "good" and not self._load(taken):
            return
        if says == "bad":
            self.world.held.pop(taken.path, None)
        rows = self.world.store.read(taken.key).record.rows if self.world.is_known(taken.key) else 1
        self.world.ping(taken, *message(kind, taken.requestid, rows or 1, self.world.keys[taken.account]), skew)

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.world.held and len(self.nights) > 1)
    def load_late(self, number: int) -> None:
        """Smartech loads a file long after it took it, perhaps after newer ones."""
        paths = list(self.world.held)
        path = paths[number % len(paths)]
        self._load(next(taken for taken in self.world.taken() if taken.path == path))
        self.seen["loaded late"] += 1

    def _load(self, taken: Taken) -> bool:
        """Load what was held, and return whether Smartech has it; a file may be gone by then."""
        load = self.world.held.pop(taken.path, None)
        if load is None:
            return taken not in self.lost
        before = self._loaded()
        try:
            load()
        except LoadError:
            self.lost.append(taken)
            return False
        self._overwrites(before, taken.path.rsplit("/", 2)[-2])
        return True

    # --- the model ---------------------------------------------------------------------------------------------------

    def _night(self, which: int, state: str) -> Night:
        nights = [night for night in self.nights[-2:] if night.state == state]
        return nights[max(which, -len(nights))]

    def _rows(self) -> list[tuple[str, str]]:
        return [(name, value) for name, values in self.contacts.items() for value in values]

    def _task(self, night: Night, **arguments: Any) -> SqlToSmartechOperator:
        if night.plain:
            arguments["only_changes"], arguments["on_duplicate_key"] = False, "fail"
        return SqlToSmartechOperator(
            task_id="upload",
            sql=f"SELECT {self.columns} FROM contacts ORDER BY email, name",
            conn_id="warehouse",
            s3_bucket=BUCKET,
            s3_prefix=self.world.prefix,
            primary_key="EMAIL",
            listid=33,
            wait_for_completion=True,
            timeout=3600 if self.choices["deferrable"] else 0,
            **{"only_changes": True, **self.choices, **arguments},
        )

    def _left_by_all(self) -> dict[str, set[str]]:
        """Return which value of each contact a full upload of the query leaves in Smartech."""
        in_one_file = self.choices["max_rows_per_file"] is None
        return {name: {max(values)} if in_one_file else set(values) for name, values in self.contacts.items()}

    def _loaded(self) -> list[dict[str, str]]:
        return [
            {contact["EMAIL"]: contact["NAME"] for contact in sandbox.state.contacts()}
            for sandbox in self.world.sandboxes
        ]

    def _overwrites(self, before: list[dict[str, str]], folder: str) -> None:
        """Learn what was loaded in this step: others' rows of these contacts are no longer what Smartech has."""
        for account, (old, new) in enumerate(zip(before, self._loaded(), strict=True)):
            changed = {name for name, value in new.items() if old.get(name) != value}
            for other, staged in self.staged.items():
                if other != folder and staged.account == account:
                    staged.overwritten |= changed

    def _ended(self, night: Night, done: Try, before: list[dict[str, str]]) -> None:
        """Learn what came of a try, or of a part of it."""
        self.world.taken()
        folders = [staging.folder.rpartition("/")[2] for staging in self.world.store.stagings(night.task_try())]
        for folder in folders:
            self.staged.setdefault(folder, Staged(self._left_by_all(), len(self._rows()), self.account))
        self._overwrites(before, folders[0] if folders else "")
        promises.ends_as_it_should(done)
        self.texts += [done.log, repr(night.xcoms), repr(done.value), *done.texts]
        self.seen[f"sync {done.end}"] += 1
        if done.end == "failed":
            again = night.try_number <= night.max_tries
            night.state = "ready" if again else "red"
            night.try_number += again
        else:
            night.state = done.end
        night.deferred = done.trigger
        if done.end == "green":
            self._is_in_smartech(done.value, folders)

    def _is_in_smartech(self, result: dict[str, Any], folders: list[str]) -> None:
        """A sync that completes leaves in Smartech exactly the query's rows, as a full upload would."""
        folder = result["files"][0]["key"].rsplit("/", 2)[-2] if result["files"] else folders[0]
        staged = self.staged[folder]
        loaded = self._loaded()[staged.account]
        wrong = {
            name: (values, loaded.get(name))
            for name, values in staged.contacts.items()
            if loaded.get(name) not in values and name not in staged.overwritten
        }
        assert not wrong, f"green, and Smartech has others of these (wanted, found): {wrong}"
        assert result["rows"] == staged.rows
        sent = sum(file["rows"] for file in result["files"])
        assert result.get("sent", result["rows"]) == sent
        self.seen["sync that left rows out"] += sent < result["rows"]
        self.seen["sync that sent nothing"] += not sent
        self.seen["sync with a repeated key"] += staged.rows > len(staged.contacts)

    @invariant()
    def leaks_nothing(self) -> None:
        """No contact, and no hash of one that everybody can make, is in anything that was written."""
        if not hasattr(self, "texts"):
            return
        files = self.world.files.contents()
        everything = "\n".join([*self.texts, *(f"{name}\n{content!r}" for name, content in files.items())])
        self.texts.clear()
        secrets = [*self.world.keys, *self.world.ids(), "X-Amz-Signature=", *NAMES]
        found = [secret for secret in secrets if secret in everything]
        assert not found, f"{found} is in what was written"
        content = b"".join(files.values())
        hashes = [digest for name in NAMES for digest in _plain_hashes(name.encode())]
        assert not any(digest in content or digest.hex().encode() in content for digest in hashes)


def _plain_hashes(text: bytes) -> list[bytes]:
    whole = [hashlib.new(name, text).digest() for name in ("md5", "sha1", "sha256", "blake2b", "blake2s")]
    fast = xxhash.xxh3_64_digest(text)
    return [*(digest[:8] for digest in whole), fast, fast[::-1]]
