"""Records of syncs that upload only what changed: what each has sent, and which of them is the base of the next one.

::

    syncs/<sync>/run-<time>-<id>.json            a try is about to send a sync's rows
                /rows-<time>-<id>-<part>         the hashes of all rows of its query, encrypted
                /base-<generation>-<time>-<id>   all that this run sent was loaded: the next sync compares with it

Every file is written once, under a unique name. The base is the run that the highest generation names. Two runs that
both compared with the same base give themselves the same generation, so everybody sees that neither can be trusted.
A reset is a base that names no run: the next sync sends all rows, and no run that began before can become its base.
That needs no lock, and no more of the storage than that a file can be listed as soon as it is written.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_smartech.uploads.folder import FileUnreadable, Folder
from airflow_provider_smartech.uploads.upload import Document, TaskTry

# After that, Smartech no longer loads what a run has sent: a signed link is valid for seven days at most, and is made
# at most some hours after the run is recorded.
OVER_AFTER = timedelta(days=8)

_NAME = r"20[0-9]{6}T[0-9]{6}\.[0-9]{6}-[0-9a-f]{8}"
_RUN = re.compile(rf"run-({_NAME})\.json")
# Also one that a writer left half written when it died.
_ROWS = re.compile(rf"\.?rows-({_NAME})-[0-9]{{6}}(?:\.[0-9a-f]{{16}})?")
_BASE = re.compile(rf"base-([0-9]{{8}})-({_NAME})")


class Changes(BaseModel):
    """How many ``rows`` a query has, and how many of them have changed since the last sync.

    ``removed`` rows were there then, and are gone.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    new: int
    changed: int
    unchanged: int
    removed: int


class Subject(BaseModel):
    """What a sync uploads and where to. Only the hashes of syncs with the same subject can be compared.

    ``account`` and ``listid`` are Smartech's, ``columns`` those of the file, ``secret`` tells secrets apart.
    """

    model_config = ConfigDict(frozen=True)

    account: str
    listid: int | None
    primary_key: str
    columns: tuple[str, ...]
    secret: str

    def differences(self, other: Subject) -> list[str]:
        """Return in words what is different."""
        words = {
            "account": "the API key or the address of the account",
            "secret": "the API key",
            "listid": "the list",
            "primary_key": "the primary key",
            "columns": "the columns",
        }
        found = {field: word for field, word in words.items() if getattr(self, field) != getattr(other, field)}
        return [word for field, word in found.items() if field != "secret" or "account" not in found]


class SyncRun(Document):
    """A try that is about to send what changed; recorded before it sends anything, also if it goes on with old files.

    ``folder`` is that of its ``files`` in S3, which tells its uploads; ``base`` the token of the base that it compared
    with, ``generation`` what it becomes if all is loaded; ``full_at`` when all rows were last sent. ``sent`` is the
    number of rows in the files, and ``max_rejected`` how many of them Smartech may reject. ``snapshot`` names the
    hashes of all rows, in so many ``parts``. This run sends again what others may have left wrong in Smartech:
    those that are over (``settled``), and those of which something may still be loaded (``pending``).
    """

    sync: str
    task: TaskTry
    folder: str
    files: int
    base: str
    generation: int
    full_at: AwareDatetime
    subject: Subject
    snapshot: str
    sent: int
    parts: int
    changes: Changes
    max_rejected: int | float | None = None
    settled: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    name: str = Field(default="", exclude=True)

    @classmethod
    def of_all_rows(cls, sync: str, task: TaskTry, folder: str, *, files: int, rows: int) -> SyncRun:
        """Return the run of a task that uploads without ``only_changes``.

        It is like no other, so it never becomes a base, and syncs send all rows until it is over.
        """
        return cls(
            sync=sync,
            task=task,
            folder=folder,
            files=files,
            base="none",
            generation=0,
            full_at=datetime.now(UTC),
            subject=Subject(account="", listid=None, primary_key="", columns=(), secret=""),
            snapshot="none",
            sent=rows,
            parts=0,
            changes=Changes(rows=rows, new=rows, changed=0, unchanged=0, removed=0),
        )


class Standing(StrEnum):
    """What the next run of a sync compares with."""

    READY = "ready"
    OPEN_RUNS = "open runs"
    NO_BASE = "no base"
    TWO_BASES = "two bases"
    UNREADABLE = "unreadable"


STANDINGS: dict[str, str] = {
    Standing.READY: "The next run sends what has changed since the base.",
    Standing.OPEN_RUNS: "The next run also sends again what open runs have sent.",
    Standing.NO_BASE: "No run has completed, or a reset: the next sends all rows.",
    Standing.TWO_BASES: "Two runs completed at once: the next run sends all rows.",
    Standing.UNREADABLE: "A record is damaged: the next run sends all rows.",
}
"""What each of them means; short enough for a line of a command's help."""


@dataclass(frozen=True)
class SyncState:
    """What is recorded of a sync. ``runs`` are those that can be read, by name; ``damaged`` the names of the others.

    ``bases`` are the names of the runs of the highest ``generation``: usually one.
    """

    runs: Mapping[str, SyncRun]
    damaged: Sequence[str]
    generation: int
    bases: Sequence[str]

    @property
    def sync(self) -> str | None:
        """The sync's name, None if no record says it."""
        return next((run.sync for run in self.runs.values()), None)

    @property
    def is_recorded(self) -> bool:
        """Whether there is a sync at all."""
        return bool(self.runs or self.damaged or self.bases)

    @property
    def token(self) -> str:
        """What tells this base from others; empty if there is none."""
        return "+".join(sorted(self.bases))

    def of_folder(self, folder: str) -> list[SyncRun]:
        """Return the runs whose files are in this folder of S3: tries of one task, the latest last."""
        runs = [run for run in self.runs.values() if run.folder == folder]
        return sorted(runs, key=lambda run: (*run.task.order(), run.name))

    @property
    def base(self) -> SyncRun | None:
        """The run to compare with, None if there is none, or not exactly one."""
        return self.runs.get(self.bases[0]) if len(self.bases) == 1 else None

    @property
    def standing(self) -> Standing:
        """What the next run compares with, as far as the records tell."""
        if self.damaged:
            return Standing.UNREADABLE
        if len(self.bases) > 1:
            return Standing.TWO_BASES
        if self.base is None:
            return Standing.NO_BASE
        return Standing.OPEN_RUNS if self.unsettled() else Standing.READY

    def unsettled(self) -> list[SyncRun]:
        """Return the runs of which the base does not say that they are over, for each folder the latest one."""
        base = self.base
        known = {base.name, *base.settled} if base else set()
        latest = [self.of_folder(folder)[-1] for folder in dict.fromkeys(run.folder for run in self.runs.values())]
        return [run for run in latest if run.name not in known and not (base and run.folder == base.folder)]


class SyncStore:
    """The records of syncs in the upload store; all methods block, and raise ``UploadStoreError``."""

    def __init__(self, files: Folder) -> None:
        self._files = files

    def state(self, sync: str) -> SyncState:
        """Return what is recorded of a sync."""
        return self._state(_folder(sync))

    def add_run(self, run: SyncRun) -> SyncRun:
        """Store that a try is about to send a sync's rows."""
        named = run.model_copy(update={"name": new_name()})
        self._files.write(f"{_folder(run.sync)}/run-{named.name}.json", named.model_dump_json().encode())
        return named

    def make_base(self, run: SyncRun) -> SyncState:
        """Store that all that this run sent was loaded, and return the state after that."""
        self._files.write(f"{_folder(run.sync)}/base-{run.generation:08}-{run.name}", b"{}")
        return self.state(run.sync)

    def write_rows(self, sync: str, snapshot: str, part: int, content: bytes) -> None:
        """Store a part of a snapshot."""
        self._files.write(f"{_folder(sync)}/rows-{snapshot}-{part:06}", content)

    def read_rows(self, sync: str, snapshot: str, part: int) -> bytes | None:
        """Return a part of a snapshot, None if it is not there."""
        return self._files.read(f"{_folder(sync)}/rows-{snapshot}-{part:06}")

    def remove_snapshot(self, sync: str, snapshot: str) -> None:
        """Remove all parts of a snapshot."""
        folder = _folder(sync)
        self._remove(folder, lambda name: _named(_ROWS, name) == snapshot)

    def remove_settled(self, sync: str, base: SyncRun) -> None:
        """Remove what the base has made superfluous: older bases, and the runs that are over."""
        folder, state = _folder(sync), self.state(sync)
        gone = {*base.settled, *(name for name, run in state.runs.items() if run.folder == base.folder)} - {base.name}
        kept = {run.snapshot for name, run in state.runs.items() if name not in gone}
        lost = {state.runs[name].snapshot for name in gone if name in state.runs} - kept

        def is_superfluous(name: str) -> bool:
            form = _BASE.fullmatch(name)
            is_old = form is not None and int(form[1]) < base.generation
            return is_old or _named(_RUN, name) in gone or _named(_ROWS, name) in lost

        self._remove(folder, is_superfluous)

    def all(self) -> list[SyncState]:
        """Return what is recorded of all syncs."""
        return [self._state(f"syncs/{folder}") for folder in self._files.folders("syncs")]

    def forget(self, sync: str) -> bool:
        """Forget the base of a sync, so that its next run uploads all rows; return whether anything was recorded of it.

        The records of runs stay: what they sent may still be loaded, and the next base must know of it.
        """
        folder, state = _folder(sync), self.state(sync)
        if not state.is_recorded:
            return False
        self._reset(folder, state)
        kept = {run.snapshot for name, run in state.runs.items() if name not in state.bases}
        gone = {run.snapshot for name, run in state.runs.items() if name in state.bases} - kept
        self._remove(folder, lambda name: _named(_ROWS, name) in gone)
        return True

    def purge(self, before: datetime) -> None:
        """Remove what syncs have left that never completed, and what died processes have left, before that time.

        Bases stay, however old: a sync of which nothing changes does not renew its base. But a base is forgotten if
        runs after it were not followed by one that completed: what they sent is no longer known.
        """
        for name in self._files.folders("syncs"):
            folder = f"syncs/{name}"
            state = self._state(folder)
            oldest = stamp(min(before, datetime.now(UTC) - OVER_AFTER))
            gone = {run for run in (*state.runs, *state.damaged) if run < oldest and run not in state.bases}
            if gone and state.base:
                self._reset(folder, state)
            # What a damaged run names is not known.
            if state.damaged and not gone.issuperset(state.damaged):
                continue
            named = {run.snapshot for name, run in state.runs.items() if name not in gone}
            self._remove(folder, partial(_is_left, named, stamp(before)))
            self._files.remove(f"{folder}/run-{run}.json" for run in gone)

    def _state(self, folder: str) -> SyncState:
        names = self._files.names(folder)
        runs, damaged = {}, []
        for name in filter(None, (_named(_RUN, name) for name in names)):
            try:
                content = self._files.read(f"{folder}/run-{name}.json")
                # Another run may have removed it since the listing.
                if content is not None:
                    runs[name] = SyncRun.model_validate_json(content).model_copy(update={"name": name})
            except (FileUnreadable, ValidationError):
                damaged.append(name)
        generations: defaultdict[int, list[str]] = defaultdict(list)
        for form in filter(None, map(_BASE.fullmatch, names)):
            generations[int(form[1])].append(form[2])
        highest = max(generations, default=0)
        return SyncState(runs, damaged, highest, generations[highest] if highest else [])

    def _reset(self, folder: str, state: SyncState) -> None:
        self._files.write(f"{folder}/base-{state.generation + 1:08}-{new_name()}", b"{}")

    def _remove(self, folder: str, is_gone: Callable[[str], bool]) -> None:
        self._files.remove(f"{folder}/{name}" for name in self._files.names(folder) if is_gone(name))


def _is_left(named: set[str], before: str, name: str) -> bool:
    """Whether a file has hashes that are older than a time and that no run names, or only half of them."""
    snapshot = _named(_ROWS, name)
    return snapshot is not None and snapshot < before and (snapshot not in named or name.startswith("."))


def new_name() -> str:
    """Return a unique name for a run or a snapshot, which begins with the time."""
    return f"{stamp(datetime.now(UTC))}-{secrets.token_hex(4)}"


def stamp(moment: datetime) -> str:
    """Return a time as names have it."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S.%f}"


def _folder(sync: str) -> str:
    return f"syncs/{hashlib.sha256(sync.encode()).hexdigest()[:40]}"


def _named(form: re.Pattern[str], name: str) -> str | None:
    found = form.fullmatch(name)
    return found[1] if found else None
