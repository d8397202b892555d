"""A sync that uploads only what changed: what one try of a task compares with, and what it leaves for the next sync.

The rule: a row is left out only if Smartech surely has it as it is. It surely has what the base says, unless another
run has sent something else since, or may still. Such runs are found by what they recorded before they sent anything.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_provider_smartech.api.account import Account
from airflow_provider_smartech.changes.hashing import Hashes, SyncSecret
from airflow_provider_smartech.changes.known_rows import KnownRows
from airflow_provider_smartech.changes.snapshot import SnapshotLost, Snapshots
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.tasks.run_outcomes import RunOutcomes
from airflow_provider_smartech.uploads.staged_files import StagedFiles, Staging
from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.syncs import OVER_AFTER, Subject, SyncRun, SyncState, new_name, stamp
from airflow_provider_smartech.uploads.upload import TaskTry

log = logging.getLogger(__name__)

# A nightly run does not start at the same second each night: so much of ``full_every`` may be missing, at most an hour.
EARLY_SHARE, MOST_EARLY = 0.1, timedelta(hours=1)
# How often the base is read anew because another run has just replaced it.
ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a try compares with: the ``base``, without the rows that runs in ``doubted`` may have made wrong."""

    state: SyncState
    subject: Subject
    base: SyncRun | None
    doubted: tuple[SyncRun, ...] = ()
    settled: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    sends_all: bool


@dataclass(kw_only=True)
class TaskSync:
    """One sync, as one try of a task sees it.

    :param name: its name, the same each night.
    :param listid: the list that it uploads to.
    :param full: whether all rows are sent; so they are if that is ``full_every`` ago.
    :param keeps_nothing: for a dry run: nothing is written.
    """

    store: UploadStore
    statuses: Statuses
    max_rejected: float | None
    task: TaskTry
    name: str
    account: Account
    listid: int | None
    primary_key: str
    full: bool
    full_every: timedelta | None
    keeps_nothing: bool
    _plan: _Plan | None = field(default=None, init=False)
    _parts: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.secret = SyncSecret(self.account.api_key, self.name)
        self._began = datetime.now(UTC)
        self._snapshot = new_name()
        self._outcomes = RunOutcomes(store=self.store, statuses=self.statuses)
        self._snapshots = Snapshots(self.store.syncs, self.name, self.secret)

    # --- before the rows are read ------------------------------------------------------------------------------------

    def compare_with(self, columns: Sequence[str], folder: Path) -> tuple[KnownRows, bool]:
        """Return what Smartech has of the query's rows, and whether all rows are to be sent nevertheless.

        :param folder: an empty folder of this worker for the hashes.
        """
        plan, known = self._with_base(self._subject(columns), folder)
        # Where all rows are sent, none need be doubted.
        for run in () if plan.sends_all else plan.doubted:
            try:
                for keys, lines in self._snapshots.read(run.snapshot, run.parts):
                    known.doubt(keys, lines)
            except SnapshotLost as loss:
                self._say_all(f"an earlier run of it may be loaded, and its record is lost: {loss}")
                plan = replace(plan, sends_all=True)
        self._plan = plan
        return known, plan.sends_all

    def _with_base(self, subject: Subject, folder: Path, attempts: int = ATTEMPTS) -> tuple[_Plan, KnownRows]:
        plan = self._planned(subject)
        try:
            base = self._snapshots.read(plan.base.snapshot, plan.base.parts) if plan.base else ()
            return plan, KnownRows(folder, base)
        except SnapshotLost as loss:
            if attempts > 1 and self.store.syncs.state(self.name).token != plan.state.token:
                return self._with_base(subject, folder, attempts - 1)
            self._say_all(f"its last run cannot be compared with: {loss}")
            return replace(plan, base=None, sends_all=True), KnownRows(folder)

    def _subject(self, columns: Sequence[str]) -> Subject:
        return Subject(
            account=self.account.identity,
            listid=self.listid,
            primary_key=self.primary_key,
            columns=tuple(columns),
            secret=self.secret.check,
        )

    def _planned(self, subject: Subject) -> _Plan:
        state = self._caught_up(self.store.syncs.state(self.name))
        base, reasons = self._base(state, subject)
        settled, pending, doubted = self._surely_over(state), list[str](), list[SyncRun]()
        pending += [name for name in state.damaged if name not in settled]
        for run in state.unsettled():
            uploads = self._outcomes.uploads(run)
            names = [one.name for one in state.of_folder(run.folder)]
            (settled if self._outcomes.is_over(run, uploads) else pending).extend(names)
            if base is None or self._outcomes.surely_not_loaded(run, uploads):
                continue
            if run.subject != subject:
                reasons.append("a run with another key, account, list or header may be loaded")
            elif self._outcomes.is_complete(run, uploads) and run.name not in base.pending:
                reasons.append("another run of it completed at the same time")
            else:
                doubted.append(run)
        for name in state.bases:
            if name in state.runs:
                run, names = state.runs[name], [one.name for one in state.of_folder(state.runs[name].folder)]
                uploads = self._outcomes.uploads(run)
                (settled if self._outcomes.has_all_loaded(run, uploads) else pending).extend(names)
                if base and self._outcomes.is_denied(run, uploads):
                    reasons.append("after its last run had completed, a ping-back said that an upload of it failed")
        for reason in dict.fromkeys(reasons):
            self._say_all(reason)
        return _Plan(
            state=state,
            subject=subject,
            base=base,
            doubted=tuple(doubted),
            settled=tuple(settled),
            pending=tuple(pending),
            sends_all=bool(reasons) or base is None or self._is_due(base),
        )

    def _base(self, state: SyncState, subject: Subject) -> tuple[SyncRun | None, list[str]]:
        """Return the run to compare with, and why all rows must be sent."""
        if not state.bases:
            return None, ["no earlier one is in the upload store: this is the first, or the last has expired"]
        if len(state.bases) > 1:
            return None, ["two runs of it completed at the same time"]
        if state.base is None:
            if state.bases[0] in state.damaged:
                return None, ["the record of its last run cannot be read"]
            return None, ["it was reset, or the record of its last run has expired"]
        if differences := state.base.subject.differences(subject):
            return None, [f"{' and '.join(differences)} changed since its last run"]
        reasons = ["the record of a run cannot be read"] if state.damaged else []
        if set(state.base.pending) - {*state.runs, *state.damaged}:
            reasons.append("the record of a run is lost")
        return state.base, reasons

    def _surely_over(self, state: SyncState) -> list[str]:
        """Return the runs that the base says are over, and those that cannot be read and are too old to be loaded."""
        known = [name for name in state.base.settled if name in state.runs] if state.base else []
        oldest = stamp(datetime.now(UTC) - OVER_AFTER)
        return [*known, *(name for name in state.damaged if name < oldest)]

    def _is_due(self, base: SyncRun) -> bool:
        if self.full:
            log.info("Sync %s: all rows are sent, because full is set.", self.name)
            return True
        if self.full_every is None:
            return False
        early = min(self.full_every * EARLY_SHARE, MOST_EARLY)
        if self._began - base.full_at < self.full_every - early:
            return False
        log.info("Sync %s: all rows are sent; the last time was %s.", self.name, base.full_at)
        return True

    def _say_all(self, why: str) -> None:
        log.warning("Sync %s: all rows are sent, because %s.", self.name, why)

    def _caught_up(self, state: SyncState) -> SyncState:
        """Make a run the base that completed, if its task died before it could do so."""
        complete = [run for run in state.unsettled() if self._would_be_base(run, state)]
        if len(complete) != 1:
            return state
        [run] = complete
        log.info("Sync %s: the run of %s completed after its task had ended; it is the new base.", self.name, run.at)
        if self.keeps_nothing:
            return replace(state, bases=[run.name], generation=run.generation)
        state = self.store.syncs.make_base(run)
        if state.base is None or state.base.name != run.name:
            return state
        self._tidy(run)
        return self._caught_up(self.store.syncs.state(self.name))

    def _would_be_base(self, run: SyncRun, state: SyncState) -> bool:
        return run.base == state.token and self._outcomes.is_complete(run, self._outcomes.uploads(run))

    # --- after the rows were read ------------------------------------------------------------------------------------

    def keep(self, keys: Hashes, lines: Hashes) -> None:
        """Store the next hashes, for the next sync to compare with."""
        self._snapshots.write(self._snapshot, self._parts, keys, lines)
        self._parts += 1

    @property
    def has_all_settled(self) -> bool:
        """Whether the base says all that is to be said, if the query's rows are its rows."""
        plan = self._plan
        return plan is not None and plan.base is not None and not plan.sends_all and len(plan.state.runs) == 1

    @property
    def sends_all(self) -> bool:
        """Whether all rows are sent, changed or not."""
        return self._plan is not None and self._plan.sends_all

    @property
    def has_kept(self) -> bool:
        """Whether hashes were stored."""
        return self._parts > 0

    def discard(self) -> None:
        """Remove the hashes that were stored, because nothing of it is sent."""
        if self.has_kept:
            self.store.syncs.remove_snapshot(self.name, self._snapshot)

    def begin_sending(self, folder: str, staged: StagedFiles) -> None:
        """Record, before anything is sent, what is about to be sent."""
        plan, changes = self._plan, staged.changes
        if plan is None or changes is None:
            raise RuntimeError("begin_sending needs a comparison")
        self.store.syncs.add_run(
            SyncRun(
                sync=self.name,
                task=self.task,
                folder=folder,
                files=len(staged.files),
                base=plan.state.token,
                generation=plan.state.generation + 1,
                full_at=self._began if plan.base is None or plan.sends_all else plan.base.full_at,
                subject=plan.subject,
                snapshot=self._snapshot,
                sent=sum(file.rows for file in staged.files),
                parts=self._parts,
                changes=changes,
                max_rejected=self.max_rejected,
                settled=plan.settled,
                pending=plan.pending,
            )
        )

    def goes_on_with(self, staging: Staging) -> bool:
        """Whether this try can send the files of an earlier one, which it records then."""
        state = self.store.syncs.state(self.name)
        runs = state.of_folder(staging.folder)
        if not runs or not staging.files:
            return False
        run, base = runs[-1], state.base
        is_same = run.subject == self._subject(run.subject.columns)
        if is_same and base and base.folder == staging.folder:
            return True
        is_settled = base is not None and any(one.name in base.settled for one in runs)
        is_outdated = run.base != state.token and not self._outcomes.is_under_way(run)
        if not is_same or is_settled or is_outdated:
            log.warning("Sync %s: its files of an earlier try are outdated; running the query again.", self.name)
            return False
        self.store.syncs.add_run(run.model_copy(update={"task": self.task, "at": datetime.now(UTC)}))
        return True

    def completed(self, staging: Staging) -> None:
        """Make the run with these files the base of the next sync, because all of them are loaded."""
        folder, state = staging.folder, self.store.syncs.state(self.name)
        if state.base and state.base.folder == folder:
            self._tidy(state.base)
            return
        runs = state.of_folder(folder)
        if not runs and not staging.files:
            # Nothing has changed, so the base stays.
            return
        if runs and runs[-1].base == state.token:
            state = self.store.syncs.make_base(runs[-1])
            if state.base and state.base.name == runs[-1].name:
                self._tidy(state.base)
                return
        log.warning(
            "Sync %s: another run of it completed at the same time, so it is not known what Smartech has now. The next "
            "run sends all rows. Let only one run of a sync be active at a time (max_active_runs=1).",
            self.name,
        )

    def _tidy(self, base: SyncRun) -> None:
        """Remove what the base has made superfluous. What cannot be removed is no reason to wait or fail."""
        try:
            self.store.syncs.remove_settled(self.name, base)
        except UploadStoreError as error:
            log.warning("Sync %s: old records are left in the upload store. %s", self.name, error)
