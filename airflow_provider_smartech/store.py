"""The upload store: upload records and ping-backs as small files in any object storage that Airflow reaches.

::

    uploads/<day>/<key>/record.json                what was about to be sent
                       /answer-<time>.json         how the request ended
                       /handover-<time>.json       the submitting task did its part
                       /pingback-<time>-<id>.json  one file for each call of the callback
    requestids/<hash>/<key>                        finds an upload by its requestid
    tasks/<task instance>/<key>                    finds what earlier tries of a task sent
    stagings/<task instance>/<time>.json           finds the files that earlier tries of a task staged
    arrivals/<five minutes>/<time>_<key>_<id>      tells waiters which uploads have news

A key begins with its upload's time, so names alone tell what is newest, and what is old enough to be removed.
Every file is written once and whole under a name of its own, so that writers cannot undo each other's work.
Waiters list ``arrivals`` of the last minutes only, so what is over costs them nothing.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from airflow_provider_smartech.errors import UploadRecordUnreadable, UploadUnknown
from airflow_provider_smartech.settings import upload_store
from airflow_provider_smartech.staging import Staging
from airflow_provider_smartech.storage import Storage
from airflow_provider_smartech.uploads import KEY, Answer, Handover, PingBack, Record, TaskTry, Upload

BUCKET = timedelta(minutes=5)
# The clocks of the receiver and of a waiter may differ by this much without news being seen late.
CLOCK_SKEW = timedelta(minutes=1)

# Every name that the store writes, with the time that tells its age: for what belongs to an upload, the upload's.
# What a writer that died has left begins with a dot and ends with random digits.
_HASH, _STAMP, _LEFT = "[0-9a-f]{40}", r"20[0-9]{6}T[0-9]{6}\.[0-9]{6}", r"(?:\.[0-9a-f]{16})?"
_NAMES = {
    "uploads": re.compile(rf"[0-9]{{8}}/({KEY.pattern})/\.?(?:record|answer|handover|pingback)[-.\w]*"),
    "requestids": re.compile(rf"{_HASH}/\.?({KEY.pattern}){_LEFT}"),
    "tasks": re.compile(rf"{_HASH}/\.?({KEY.pattern}){_LEFT}"),
    "stagings": re.compile(rf"{_HASH}/\.?({_STAMP})\.json{_LEFT}"),
    "arrivals": re.compile(rf"20[0-9]{{6}}T[0-9]{{4}}/\.?({_STAMP})_{KEY.pattern}_[0-9a-f]{{8}}{_LEFT}"),
}

log = logging.getLogger(__name__)

AnyDocument = TypeVar("AnyDocument", bound=BaseModel)


class UploadStore:
    """Upload records and ping-backs under one folder.

    All methods block; each raises ``UploadStoreError`` when the storage does not do its part.

    :param url: the folder, in ``ObjectStoragePath``'s form, such as ``s3://aws_default@bucket/prefix``.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._storage = Storage(self.url)

    @classmethod
    def configured(cls) -> UploadStore:
        """Return the store that ``[smartech] upload_store`` names."""
        return cls(upload_store())

    def create(self, record: Record) -> None:
        """Keep the record of an upload that is about to be sent."""
        self._write(f"{_folder(record.key)}/record.json", record)
        if record.task:
            self._mark(f"tasks/{record.task.instance()}/{record.key}")

    def answered(self, key: str, answer: Answer) -> None:
        """Keep how the request ended, and make the upload known by its requestid."""
        self._write(f"{_folder(key)}/answer-{_stamp(answer.at)}.json", answer)
        if answer.requestid:
            self._mark(f"requestids/{_hash(answer.requestid)}/{key}")

    def handed_over(self, key: str, handover: Handover) -> None:
        """Keep that the submitting task did its part."""
        self._write(f"{_folder(key)}/handover-{_stamp(handover.at)}.json", handover)

    def add_pingback(self, key: str, pingback: PingBack) -> None:
        """Keep a ping-back, then tell the waiters of it."""
        name = f"{_stamp(pingback.at)}-{secrets.token_hex(4)}"
        self._write(f"{_folder(key)}/pingback-{name}.json", pingback)
        # The time of this write, and not of the ping-back: the one before may have taken long.
        now = datetime.now(UTC)
        self._mark(f"arrivals/{_bucket(now)}/{_stamp(now)}_{key}_{secrets.token_hex(4)}")

    def has(self, key: str) -> bool:
        """Whether an upload with this key is recorded."""
        if self._storage.read(f"{_folder(key)}/record.json") is not None:
            return True
        # Nobody can say that an upload is unknown where there is no store.
        self.check()
        return False

    def read(self, key: str) -> Upload:
        """Return all that is known of one upload.

        :raises UploadUnknown: there is no such upload.
        :raises UploadRecordUnreadable: one of its files is damaged.
        """
        folder = _folder(key)
        names = [name for name in self._storage.names(folder) if name.endswith(".json")]
        if "record.json" not in names:
            raise UploadUnknown(key, self.shown_url)
        return Upload(
            record=self._load(Record, folder, "record.json"),
            answer=_last(self._load(Answer, folder, name) for name in names if name.startswith("answer-")),
            handover=_last(self._load(Handover, folder, name) for name in names if name.startswith("handover-")),
            pingbacks=tuple(self._load(PingBack, folder, name) for name in names if name.startswith("pingback-")),
        )

    def find(self, requestid: str) -> Upload:
        """Return the upload with this requestid, or with this key.

        :raises UploadUnknown: none is recorded.
        """
        if KEY.fullmatch(requestid):
            return self.read(requestid)
        found = self._recorded(f"requestids/{_hash(requestid)}")
        if not found:
            raise UploadUnknown(requestid, self.shown_url)
        return max(found, key=lambda upload: upload.record.at)

    def earlier(self, task: TaskTry) -> list[Upload]:
        """Return what earlier tries of this task instance recorded, the latest first."""
        uploads = [
            (upload.record.task.try_number, upload.record.at, upload)
            for upload in self.of_task(task)
            if upload.record.task and upload.record.task.try_number < task.try_number
        ]
        return [upload for *_, upload in sorted(uploads, key=lambda found: found[:2], reverse=True)]

    def of_task(self, task: TaskTry) -> list[Upload]:
        """Return what all tries of this task instance recorded."""
        return self._recorded(f"tasks/{task.instance()}")

    def keys_of_task(self, instance: str) -> list[str]:
        """Name what all tries of a task instance recorded, for one upload; ``instance`` is ``TaskTry.instance()``."""
        return list(filter(KEY.fullmatch, self._storage.names(f"tasks/{instance}")))

    def staged(self, staging: Staging) -> None:
        """Keep which files a task has staged."""
        self._write(f"stagings/{staging.task.instance()}/{_stamp(staging.at)}.json", staging)

    def last_staging(self, task: TaskTry) -> Staging | None:
        """Return what the tries of this task instance have staged last."""
        folder = f"stagings/{task.instance()}"
        names = [name for name in self._storage.names(folder) if name.endswith(".json")]
        return self._load(Staging, folder, names[-1]) if names else None

    def _recorded(self, folder: str) -> list[Upload]:
        """Read the uploads that a folder of marks names, those aside that were removed since."""
        uploads = []
        for key in filter(KEY.fullmatch, self._storage.names(folder)):
            try:
                uploads.append(self.read(key))
            except UploadUnknown:
                log.warning("Upload %s is named in the upload store, but its record is gone.", key)
        return uploads

    def keys(self, before: str = "") -> Iterator[str]:
        """Name the uploads, the newest first; only those whose keys are less than ``before``, if that is given.

        Lists one day after the other, as far as it is asked to.
        """
        days = [day for day in self._storage.folders("uploads") if re.fullmatch(r"20[0-9]{6}", day)]
        if not days:
            # Nobody can say that there are none where there is no store.
            self.check()
        for day in sorted(days, reverse=True):
            if not before or day <= before[:8]:
                keys = filter(KEY.fullmatch, self._storage.folders(f"uploads/{day}"))
                yield from (key for key in sorted(keys, reverse=True) if not before or key < before)

    def purge(self, before: datetime) -> int:
        """Remove all that was written for uploads that were recorded before that moment, and return their number.

        What is in the folder and not of the store's making stays.
        """
        old = [name for name, written in self._own_names() if written < _stamp(before)]
        self._storage.remove(old)
        return sum(name.endswith("/record.json") for name in old)

    def arrivals(self, since: datetime) -> dict[str, str]:
        """Return the news since then, as names of arrivals with the keys of their uploads.

        Says some older ones again. Lists a few minutes' folders, however many uploads the store holds.
        """
        found = {}
        moment, end = since - CLOCK_SKEW, datetime.now(UTC) + CLOCK_SKEW
        buckets = [_bucket(moment)]
        while (moment := moment + BUCKET) < end + BUCKET:
            buckets.append(_bucket(min(moment, end)))
        for bucket in dict.fromkeys(buckets):
            for name in self._storage.names(f"arrivals/{bucket}"):
                key = name.split("_")[1] if name.count("_") == 2 else ""
                if KEY.fullmatch(key):
                    found[name] = key
        return found

    def check(self) -> None:
        """Reach the storage, to tell whether it is there."""
        self._storage.check()

    @property
    def shown_url(self) -> str:
        """The folder's URL, fit for a message."""
        return self._storage.shown_url

    def _own_names(self) -> Iterator[tuple[str, str]]:
        """List the files that the store has written, with the times in their names."""
        for folder, form in _NAMES.items():
            for name in self._storage.names_below(folder):
                if written := form.fullmatch(name):
                    yield f"{folder}/{name}", written[1]

    def _load(self, document: type[AnyDocument], folder: str, file: str) -> AnyDocument:
        content = self._storage.read(f"{folder}/{file}")
        key = folder.rpartition("/")[2]
        if content is None:
            raise UploadRecordUnreadable(key, file, "it is gone")
        try:
            return document.model_validate_json(content)
        except ValidationError as error:
            reason = f"{error.error_count()} error(s), first: {error.errors()[0]['msg']}"
        raise UploadRecordUnreadable(key, file, reason)

    def _mark(self, name: str) -> None:
        self._storage.write(name, b"{}")

    def _write(self, name: str, document: BaseModel) -> None:
        self._storage.write(name, document.model_dump_json().encode())


def _last(documents: Iterator[Any]) -> Any:
    return max(documents, key=lambda document: document.at, default=None)


def _folder(key: str) -> str:
    return f"uploads/{key[:8]}/{key}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S.%f}"


def _bucket(moment: datetime) -> str:
    start = moment - timedelta(minutes=moment.minute % (BUCKET.seconds // 60))
    return f"{start.astimezone(UTC):%Y%m%dT%H%M}"
