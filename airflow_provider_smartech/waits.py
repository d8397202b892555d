"""Waiting for one upload, in this process or in the triggerer, and what comes of it."""

from __future__ import annotations

import logging
import time
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

    def trigger(self, upload: Upload) -> SmartechBulkUploadTrigger:
        """Return the trigger that waits for this upload, from now on."""
        deadline = datetime.now(UTC) + self.timeout
        log.info("Waiting for Smartech to complete upload %s, until %s at most.", upload.requestid, deadline)
        return SmartechBulkUploadTrigger(upload.key, deadline.timestamp())

    def block(self, upload: Upload) -> Upload:
        """Wait here and return the upload as it is when it has ended, or when the time is over."""
        deadline = time.monotonic() + self.timeout.total_seconds()
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

    def resume(self, event: dict[str, Any] | None) -> Upload:
        """Return the upload that a trigger's event is about, as the store has it now.

        :raises WaitBroken: the event is missing, says nothing that is known, or is not what the store says.
        """
        known = isinstance(event, dict) and event.get("event") in ("ended", "timed out", "error")
        if not known or event is None or not isinstance(event.get("key"), str):
            raise WaitBroken(f"The trigger came back with an event that says nothing: {event!r}.")
        upload = self.store.read(event["key"])
        if event["event"] == "error" and not self.has_ended(upload):
            raise WaitBroken(f"Waiting for upload {upload.requestid} broke off: {event.get('message')}")
        if event["event"] == "ended" and not self.has_ended(upload):
            raise WaitBroken(
                f"The triggerer says that upload {upload.requestid} has ended, but by this worker's settings it has "
                "not. Give both the same [smartech] section, and restart the triggerer after a change."
            )
        return upload

    def conclude(self, upload: Upload) -> dict[str, Any]:
        """Return the summary of an upload that was waited for.

        :raises UploadNotCompleted: it failed, or ended with a status that nobody recognises.
        :raises UploadTimeout: it has not ended.
        """
        summary = self.look(upload)
        if summary is None:
            raise UploadTimeout(upload.requestid, upload.record.at, self.timeout.total_seconds(), len(upload.pingbacks))
        return summary
