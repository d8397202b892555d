"""The upload store: upload records and ping-backs as small files in any object storage.

::

    uploads/<day>/<key>/record.json                  what was about to be sent
                       /answer-<time>-<id>.json      how the request ended
                       /handover-<time>-<id>.json    the submitting task is done
                       /pingback-<time>-<id>.json    one file for each call of the callback
                       /conclusion-<time>-<id>.json  a waiter acted on the ping-backs received so far
                       /ended-<digest>-….json        what lists show of it, made from these files; see ``ended``
    requestids/<hash>/<key>                          finds an upload by its requestid
    tasks/<task instance>/<key>                      finds what earlier tries of a task sent
    stagings/<task instance>/<time>-<id>-begun.json  finds the files that tries of a task staged; -complete, -removed
    sources/<task instance>/<time>-<id>.json         which objects of others a try of a task uploads
    arrivals/<time>_<key>_<id>                       tells waiters which uploads have a new ping-back
    days/<day>_…                                     what a chart shows of a day that is over; see ``days``
    syncs/<sync>/…                                   what syncs of only what changed have sent; see ``syncs``
    probes/probe-<key>/record.json                   the doctor expects a ping-back from itself
                      /pingback-<time>-<id>.json     and this is it; the doctor removes both

A key begins with its upload's time, so the names alone show which uploads are newest, and which are old enough to be
removed. Every file is written once, as a whole, under a unique name, so writers cannot overwrite each other's files.
The times in names are only for users and ``purge``: nothing else depends on them, because the clocks of several hosts
differ. Waiters remove the ``arrivals`` that all of them have had time to see, so finished uploads cost them nothing.
Probes are no uploads: only the receiver, the doctor and ``purge`` know them.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count, groupby, takewhile
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from airflow_provider_smartech.errors import UploadAmbiguous, UploadRecordUnreadable, UploadStoreError, UploadUnknown
from airflow_provider_smartech.uploads.days import NAME as DAY
from airflow_provider_smartech.uploads.days import DayStore
from airflow_provider_smartech.uploads.ended import Ended, Outcome, digest_of, find_ended, name_of_ended
from airflow_provider_smartech.uploads.folder import FileUnreadable, Folder
from airflow_provider_smartech.uploads.source_files import SourceFiles
from airflow_provider_smartech.uploads.staged_files import StagedFiles, Staging
from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.syncs import SyncStore, stamp
from airflow_provider_smartech.uploads.upload import (
    KEY,
    PROBE,
    Answer,
    Conclusion,
    Document,
    Handover,
    PingBack,
    Record,
    TaskTry,
    Upload,
)

# For this many seconds after an answer, the store is assumed to be available.
TRUST_SECONDS = 10.0

# The names of all files that the store writes, with the time that tells their age (an upload's files: the upload's).
# A temporary file left by a writer that died begins with a dot and ends with random digits.
_HASH, _STAMP, _LEFT = "[0-9a-f]{40}", r"20[0-9]{6}T[0-9]{6}\.[0-9]{6}", r"(?:\.[0-9a-f]{16})?"
_NAMES = {
    "uploads": re.compile(
        rf"[0-9]{{8}}/({KEY.pattern})/\.?(?:record|answer|handover|conclusion|ended|pingback)[-.\w]*"
    ),
    "requestids": re.compile(rf"{_HASH}/\.?({KEY.pattern}){_LEFT}"),
    "tasks": re.compile(rf"{_HASH}/\.?({KEY.pattern}){_LEFT}"),
    "stagings": re.compile(rf"{_HASH}/\.?({_STAMP})-[0-9a-f]{{8}}-(?:begun|complete|removed)\.json{_LEFT}"),
    "sources": re.compile(rf"{_HASH}/\.?({_STAMP})-[0-9a-f]{{8}}\.json{_LEFT}"),
    "probes": re.compile(rf"{PROBE}({KEY.pattern})/\.?(?:record|pingback)[-.\w]*"),
    "days": re.compile(rf"\.?{DAY.pattern}{_LEFT}"),
    "arrivals": re.compile(rf"\.?({_STAMP})_({KEY.pattern})_[0-9a-f]{{8}}{_LEFT}"),
}
_OUTCOMES = ("not accepted", "unknown", "accepted")

log = logging.getLogger(__name__)

AnyDocument = TypeVar("AnyDocument", bound=BaseModel)


class UploadStore:
    """Upload records and ping-backs under one folder.

    All methods block; each raises ``UploadStoreError`` when a request to the storage fails.

    :param folder: where they are stored; nothing else may write there.
    """

    def __init__(self, folder: Folder) -> None:
        self.syncs = SyncStore(folder)
        self.days = DayStore(folder)
        self._files = folder
        self._trusted_until = 0.0

    def create(self, record: Record) -> None:
        """Store the record of an upload that is about to be sent."""
        self._write(f"{_folder(record.key)}/record.json", record)
        if record.task:
            self._mark(f"tasks/{record.task.instance()}/{record.key}")

    def answered(self, key: str, answer: Answer) -> None:
        """Store how the request ended, and make the upload findable by its requestid."""
        self._add(key, "answer", answer)
        if answer.requestid:
            self._mark(f"requestids/{_hash(answer.requestid)}/{key}")

    def handed_over(self, key: str, handover: Handover) -> None:
        """Store that the submitting task is done."""
        self._add(key, "handover", handover)

    def concluded(self, key: str, conclusion: Conclusion) -> None:
        """Store which ping-backs a waiter acts on."""
        self._add(key, "conclusion", conclusion)

    def ended(self, upload: Upload, statuses: Statuses) -> None:
        """Store for lists what has become of an upload. That only saves time: if it fails, the files say the same.

        :param statuses: what its ping-backs mean: the name of the file says it, so counting uploads need not read it.
        """
        outcome = Outcome.of(upload, statuses)
        try:
            self._write(f"{_folder(upload.key)}/{name_of_ended(upload.digest, outcome)}", Ended.of(upload))
        except UploadStoreError as error:
            log.info("Lists will read all files of upload %s. %s", upload.requestid, error)

    def add_pingback(self, key: str, pingback: PingBack) -> None:
        """Store a ping-back, then notify the waiters; nobody waits for a probe's."""
        self._add(key, "pingback", pingback)
        if not key.startswith(PROBE):
            self._mark(f"arrivals/{stamp(datetime.now(UTC))}_{key}_{secrets.token_hex(4)}")

    def create_probe(self, key: str) -> None:
        """Store that a probe with this key is about to be sent, so that the receiver knows it."""
        self._mark(f"{_folder(key)}/record.json")

    def probe_keys(self) -> list[str]:
        """Return the keys of all probes that were not removed."""
        return self._files.folders("probes")

    def pingbacks_of_probe(self, key: str) -> list[PingBack]:
        """Return the ping-backs of a probe that have come so far."""
        folder = _folder(key)
        names = [name for name in self._files.names(folder) if name.startswith("pingback-") and name.endswith(".json")]
        return [self._load(PingBack, folder, name) for name in names]

    def remove_probe(self, key: str) -> None:
        """Remove all files of a probe."""
        folder = _folder(key)
        self._files.remove([f"{folder}/{name}" for name in self._files.names(folder)])

    def has(self, key: str) -> bool:
        """Whether an upload or a probe with this key is recorded."""
        if self._files.read(f"{_folder(key)}/record.json") is not None:
            self._trusted_until = time.monotonic() + TRUST_SECONDS
            return True
        # An upload is unknown only if the store is available.
        self.check_lately()
        return False

    def read(self, key: str, known: Upload | None = None, names: Sequence[str] | None = None) -> Upload:
        """Return everything that is stored about one upload.

        :param known: the upload as it was read before; its record and ping-backs are not read again: they never change.
        :param names: those of its files, if they were just listed.
        :raises UploadUnknown: there is no such upload.
        :raises UploadRecordUnreadable: one of its files is damaged.
        """
        folder = _folder(key)
        listed = self._files.names(folder) if names is None else names
        names = [name for name in listed if name.endswith(".json")]
        if "record.json" not in names:
            raise UploadUnknown(key, self.shown_url)
        before = {pingback.name: pingback for pingback in known.pingbacks} if known else {}

        def load(document: type[AnyDocument]) -> tuple[AnyDocument, ...]:
            beginning = f"{document.__name__.lower()}-"
            return tuple(self._load(document, folder, name) for name in names if name.startswith(beginning))

        return Upload(
            record=known.record if known else self._load(Record, folder, "record.json"),
            answer=_clearest(load(Answer)),
            handovers=load(Handover),
            conclusions=load(Conclusion),
            pingbacks=tuple(
                before.get(name) or self._load(PingBack, folder, name).model_copy(update={"name": name})
                for name in names
                if name.startswith("pingback-")
            ),
            digest=digest_of(names),
        )

    def names(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return the names of the files of uploads that follow each other in ``keys``, for ``read_listed``."""
        found = {}
        for day, of_day in groupby(keys, lambda key: key[:8]):
            found.update(self._files.names_of(f"uploads/{day}", list(of_day)))
        return found

    def read_listed(self, key: str, names: Sequence[str] | None = None) -> Upload:
        """Return an upload as lists show it: perhaps without its hand-overs, and from one file if it has ended.

        :param names: those of its files, if they were just listed.

        :raises UploadUnknown: there is no such upload.
        :raises UploadRecordUnreadable: one of its files is damaged.
        """
        name = find_ended(names or ())
        if name:
            try:
                return self._load(Ended, _folder(key), name).upload()
            except UploadRecordUnreadable as error:
                log.warning("%s Reading its other files.", error)
        return self.read(key, names=names)

    def find(self, requestid: str, account: str | None = None) -> Upload:
        """Return the upload with this requestid, or with this key.

        :param account: the account that it must belong to, as ``Account.identity`` returns it; by default any.
        :raises UploadUnknown: none is recorded.
        :raises UploadAmbiguous: several are.
        """
        if KEY.fullmatch(requestid):
            return self.read(requestid)
        found = self.all_with(requestid)
        found = [upload for upload in found if account in (None, upload.record.account)]
        if not found:
            raise UploadUnknown(requestid, self.shown_url)
        if len(found) > 1:
            raise UploadAmbiguous(requestid, {upload.key: upload.record.described for upload in found})
        return found[0]

    def all_with(self, requestid: str) -> list[Upload]:
        """Return the uploads with this requestid: each Smartech account has its own requestids."""
        return self._recorded(f"requestids/{_hash(requestid)}")

    def earlier(self, task: TaskTry) -> list[Upload]:
        """Return what earlier tries of this task instance recorded, the latest first."""
        return [upload for upload in self.of_task(task) if _task_of(upload).try_number < task.try_number]

    def of_task(self, task: TaskTry) -> list[Upload]:
        """Return what all tries of this task instance recorded, the latest first."""
        uploads = self._recorded(f"tasks/{task.instance()}")
        return sorted(uploads, key=lambda upload: _task_of(upload).order(), reverse=True)

    def of_all_parts(self, task: TaskTry) -> list[Upload]:
        """Return what all tries of this task instance recorded, of any of its files."""
        parts = takewhile(bool, (self.of_task(task.for_part(part)) for part in count()))
        return [upload for uploads in parts for upload in uploads]

    def keys_of_task(self, instance: str) -> list[str]:
        """Return the keys that all tries of a task instance recorded; ``instance`` is ``TaskTry.instance()``."""
        return list(filter(KEY.fullmatch, self._files.names(f"tasks/{instance}")))

    def staging_begins(self, staging: Staging) -> Staging:
        """Store that a task is about to stage files."""
        named = staging.model_copy(update={"name": f"{stamp(staging.at)}-{secrets.token_hex(4)}"})
        self._write(f"stagings/{staging.task.instance()}/{named.name}-begun.json", named)
        return named

    def staging_completed(self, staging: Staging, files: StagedFiles) -> Staging:
        """Store which files were staged."""
        self._write(f"stagings/{staging.task.instance()}/{staging.name}-complete.json", files)
        return staging.model_copy(update={"complete": files})

    def staging_removed(self, staging: Staging) -> None:
        """Store that no file of a staging is left."""
        self._mark(f"stagings/{staging.task.instance()}/{staging.name}-removed.json")

    def stagings(self, task: TaskTry) -> list[Staging]:
        """Return what the tries of this task instance have staged, the latest first."""
        folder = f"stagings/{task.instance()}"
        names = self._files.names(folder)
        found = []
        for name in (name.removesuffix("-begun.json") for name in names if name.endswith("-begun.json")):
            complete = f"{name}-complete.json"
            try:
                begun = self._load(Staging, folder, f"{name}-begun.json")
                files = self._load(StagedFiles, folder, complete) if complete in names else None
            except UploadRecordUnreadable as error:
                log.warning("Staging %s is ignored. %s", name, error)
                continue
            update = {"name": name, "complete": files, "removed": f"{name}-removed.json" in names}
            found.append(begun.model_copy(update=update))
        return sorted(found, key=lambda staging: staging.task.order(), reverse=True)

    def sources_fixed(self, sources: SourceFiles) -> None:
        """Store which objects a try of a task uploads."""
        name = f"{stamp(sources.at)}-{secrets.token_hex(4)}.json"
        self._write(f"sources/{sources.task.instance()}/{name}", sources)

    def sources(self, task: TaskTry) -> list[SourceFiles]:
        """Return which objects the tries of this task instance have uploaded, the latest first.

        :raises UploadRecordUnreadable: a record is damaged: without it, objects might be lost or sent twice.
        """
        folder = f"sources/{task.instance()}"
        names = [name for name in self._files.names(folder) if name.endswith(".json") and not name.startswith(".")]
        found = [self._load(SourceFiles, folder, name) for name in names]
        return sorted(found, key=lambda sources: sources.task.order(), reverse=True)

    def _recorded(self, folder: str) -> list[Upload]:
        """Read the uploads that a folder of marks names, except those removed since."""
        uploads = []
        for key in filter(KEY.fullmatch, self._files.names(folder)):
            try:
                uploads.append(self.read(key))
            except UploadUnknown:
                log.warning("Upload %s is named in the upload store, but its record is gone.", key)
        return uploads

    def keys(self, before: str = "", since: datetime | None = None) -> Iterator[str]:
        """Yield the keys of the uploads, newest first; if ``before`` is given, only keys less than it.

        Lists one day at a time, only when the caller needs it.

        :param since: when the oldest were submitted.
        """
        oldest = f"{since.astimezone(UTC):%Y%m%dT%H%M%S}" if since else ""
        for day in self.days_with_uploads():
            if day >= oldest[:8] and (not before or day <= before[:8]):
                keys = self.keys_of_day(day)
                yield from (key for key in keys if key >= oldest and (not before or key < before))

    def days_with_uploads(self) -> list[str]:
        """Return the days on which there were uploads, such as ``20261124``, newest first."""
        days = [day for day in self._files.folders("uploads") if re.fullmatch(r"20[0-9]{6}", day)]
        if not days:
            # There are no uploads only if the store is available.
            self.check()
        return sorted(days, reverse=True)

    def keys_of_day(self, day: str) -> list[str]:
        """Return the keys of a day's uploads, newest first."""
        return sorted(filter(KEY.fullmatch, self._files.folders(f"uploads/{day}")), reverse=True)

    def purge(self, before: datetime) -> int:
        """Remove all files of uploads that were recorded before that time, and return the number of uploads.

        So are probes that a doctor left when it died; they are not counted.
        Files that the store did not write stay. Staged files that may be left in S3 are logged: after the purge, the
        store has no record of them.
        """
        old = [name for name, written in self._own_names() if written < stamp(before)]
        self._name_left_stagings(old)
        self._files.remove(old)
        self.syncs.purge(before)
        return sum(name.startswith("uploads/") and name.endswith("/record.json") for name in old)

    def _name_left_stagings(self, old: list[str]) -> None:
        removed = {name.removesuffix("-removed.json") for name in old if name.endswith("-removed.json")}
        begun = {name for name in old if name.startswith("stagings/") and name.endswith("-begun.json")}
        for name in sorted(begun - {f"{stem}-begun.json" for stem in removed}):
            folder, _, file = name.rpartition("/")
            try:
                staging = self._load(Staging, folder, file)
                log.warning("Contacts may be left in %s; its record is removed now.", staging.url)
            except UploadRecordUnreadable as error:
                log.warning("%s", error)

    def arrivals(self) -> dict[str, str]:
        """Return the arrivals that no waiter has removed yet: their names, with the keys of their uploads."""
        forms = {name: _NAMES["arrivals"].fullmatch(name) for name in self._files.names("arrivals")}
        return {name: form[2] for name, form in forms.items() if form}

    def sweep(self, arrivals: Iterable[str]) -> None:
        """Remove arrivals that every waiter has had time to see."""
        self._files.remove(f"arrivals/{name}" for name in arrivals)

    def check(self) -> None:
        """Send a request to the storage, to see whether it is available."""
        self._files.check()

    def check_lately(self) -> None:
        """Check the storage, unless it has answered within the last few seconds."""
        if time.monotonic() > self._trusted_until:
            self.check()
            self._trusted_until = time.monotonic() + TRUST_SECONDS

    @property
    def shown_url(self) -> str:
        """The folder's URL, for messages."""
        return self._files.shown_url

    def _own_names(self) -> Iterator[tuple[str, str]]:
        """Yield the files that the store has written, with the times in their names."""
        for folder, form in _NAMES.items():
            for name in self._files.names_below(folder):
                if written := form.fullmatch(name):
                    yield f"{folder}/{name}", written[1]

    def _load(self, document: type[AnyDocument], folder: str, file: str) -> AnyDocument:
        key = folder.rpartition("/")[2]
        try:
            content = self._files.read(f"{folder}/{file}")
        except FileUnreadable as error:
            raise UploadRecordUnreadable(key, file, str(error)) from error
        if content is None:
            raise UploadRecordUnreadable(key, file, "it no longer exists")
        try:
            return document.model_validate_json(content)
        except ValidationError as error:
            reason = f"{error.error_count()} error(s), first: {error.errors()[0]['msg']}"
        raise UploadRecordUnreadable(key, file, reason)

    def _mark(self, name: str) -> None:
        self._files.write(name, b"{}")

    def _add(self, key: str, kind: str, document: Document) -> None:
        self._write(f"{_folder(key)}/{kind}-{stamp(document.at)}-{secrets.token_hex(4)}.json", document)

    def _write(self, name: str, document: BaseModel) -> None:
        self._files.write(name, document.model_dump_json().encode())


def _clearest(answers: Sequence[Answer]) -> Answer | None:
    """Return the clearest answer: an unknown outcome may become known later, never the other way round."""
    return max(answers, key=lambda answer: _OUTCOMES.index(answer.outcome), default=None)


def _task_of(upload: Upload) -> TaskTry:
    if upload.record.task is None:
        raise UploadRecordUnreadable(upload.key, "record.json", "it names no task")
    return upload.record.task


def _folder(key: str) -> str:
    return f"probes/{key}" if key.startswith(PROBE) else f"uploads/{key[:8]}/{key}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]
