"""Waiting for one upload, in this process or in the triggerer, and what comes of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_smartech.errors import (
    UploadNotTracked,
    UploadRecordUnreadable,
    UploadStoreError,
    UploadTimeout,
    WaitBroken,
)
from airflow_provider_smartech.settings import Settings
from airflow_provider_smartech.store import UploadStore
from airflow_provider_smartech.triggers import SmartechBulkUploadTrigger
from airflow_provider_smartech.uploads import Progress, Upload

log = logging.getLogger(__name__)

# Airflow's own deadline for a deferred task comes after the trigger's, whose message says more.
BACKSTOP = timedelta(minutes=10)


class Wait:
    """Waits for uploads, each for ``timeout`` at most, in the deployment's upload store."""

    def __init__(self, timeout: timedelta) -> None:
        self.timeout = timeout
        self.settings = Settings.load()
        self.store = UploadStore(self.settings.upload_store)

    @property
    def backstop(self) -> timedelta:
        """When Airflow itself is to end a deferred wait."""
        return self.timeout + BACKSTOP

    def find(self, requestid: str) -> Upload:
        """Return the upload with this requestid.

        :raises UploadUnknown: the store has no record of it.
        :raises UploadNotTracked: it was sent without our callback.
        """
        upload = self.store.find(requestid)
        if not upload.record.tracked:
            raise UploadNotTracked(upload.requestid)
        return upload

    def has_ended(self, upload: Upload) -> bool:
        """Whether enough ping-backs have come."""
        return self._progress(upload).state.ended

    def look(self, upload: Upload) -> dict[str, Any] | None:
        """Return the summary of a completed upload, None while it has not ended.

        :raises UploadNotCompleted: it ended otherwise.
        """
        progress = self._progress(upload)
        if not progress.state.ended:
            return None
        summary = upload.summary(progress)
        seconds, counts = summary["seconds"], summary["counts"]
        log.info("Smartech completed upload %s after %s seconds: %s", upload.requestid, seconds, counts)
        return summary

    def _progress(self, upload: Upload) -> Progress:
        return upload.progress(self.settings.statuses, self.settings.pingbacks_expected)

    def trigger(self, uploads: Sequence[Upload]) -> SmartechBulkUploadTrigger:
        """Return the trigger that waits for all these uploads, from now on."""
        deadline = datetime.now(UTC) + self.timeout
        names = ", ".join(upload.requestid for upload in uploads)
        log.info("Waiting for Smartech to complete upload %s, until %s at most.", names, deadline)
        return SmartechBulkUploadTrigger([upload.key for upload in uploads], deadline.timestamp())

    def block(self, uploads: Sequence[Upload]) -> list[Upload]:
        """Wait here and return the uploads as they are when all have ended, or when the time is over."""
        deadline = time.monotonic() + self.timeout.total_seconds()
        return [self._until(upload, deadline) for upload in uploads]

    def _until(self, upload: Upload, deadline: float) -> Upload:
        while not self.has_ended(upload) and (left := deadline - time.monotonic()) > 0:
            try:
                upload = self.store.read(upload.key)
            except UploadRecordUnreadable:
                raise
            except UploadStoreError as error:
                log.warning("%s The waiting goes on.", error)
            if not self.has_ended(upload):
                time.sleep(min(self.settings.poll_interval, left))
        return upload

    def resume(self, event: dict[str, Any] | None) -> list[Upload]:
        """Return the uploads that a trigger's event is about, as the store has them now.

        :raises WaitBroken: the event is missing, says nothing that is known, or is not what the store says.
        """
        known = isinstance(event, dict) and event.get("event") in ("ended", "timed out", "error")
        keys = event.get("keys") if known and event else None
        if event is None or not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
            raise WaitBroken(f"The trigger came back with an event that says nothing: {event!r}.")
        uploads = [self.store.read(key) for key in keys]
        unfinished = next((upload.requestid for upload in uploads if not self.has_ended(upload)), None)
        if event["event"] == "error" and unfinished:
            raise WaitBroken(f"Waiting for upload {unfinished} broke off: {event.get('message')}")
        if event["event"] == "ended" and unfinished:
            raise WaitBroken(
                f"The triggerer says that upload {unfinished} has ended, but by this worker's settings it has "
                "not. Give both the same [smartech] section, and restart the triggerer after a change."
            )
        return uploads

    def conclude(self, upload: Upload) -> dict[str, Any]:
        """Return the summary of an upload that was waited for.

        :raises UploadNotCompleted: it failed, or ended with a status that nobody recognises.
        :raises UploadTimeout: it has not ended.
        """
        summary = self.look(upload)
        if summary is None:
            raise UploadTimeout(upload.requestid, upload.record.at, self.timeout.total_seconds(), len(upload.pingbacks))
        return summary
