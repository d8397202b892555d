"""Waiting for uploads, in this process or in the triggerer, and the result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from tenacity import Retrying, retry_if_exception, wait_fixed

from airflow_provider_smartech import metrics
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.errors import (
    UploadNotTracked,
    UploadRecordUnreadable,
    UploadStoreError,
    UploadTimeout,
    WaitBroken,
)
from airflow_provider_smartech.triggers import REMINDER_SECONDS, SmartechBulkUploadTrigger, what_for
from airflow_provider_smartech.uploads.upload import Conclusion, Progress, State, Upload

log = logging.getLogger(__name__)

# Airflow's own deadline for a deferred task comes after the trigger's, whose message says more.
BACKSTOP = timedelta(minutes=10)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Reminder:
    """Logs once what a wait in this process waits for, and until when, and then now and then that it still does."""

    def __init__(self, deadline: datetime) -> None:
        self._deadline = deadline
        self._due, self._words = time.monotonic(), "Waiting"

    def remind(self, uploads: Sequence[Upload]) -> None:
        """Log it, if it is time to."""
        if time.monotonic() < self._due:
            return
        log.info("%s %s", self._words, what_for([upload.requestid for upload in uploads], self._deadline))
        self._due, self._words = time.monotonic() + REMINDER_SECONDS, "Still waiting"


class Wait:
    """Waits for uploads in the configured upload store, at most ``timeout`` at a time.

    :param max_rejected: an upload with more rejected rows (an int), or a larger share of them (a float), has failed.
    """

    def __init__(self, timeout: timedelta, max_rejected: float | None = None) -> None:
        self.timeout = timeout
        self.max_rejected = max_rejected
        self.settings = Settings.load()
        self.store = open_upload_store(self.settings.upload_store)
        self._deadline = time.monotonic() + timeout.total_seconds()
        self._reminder = Reminder(datetime.now(UTC) + timeout)
        self._has_timed_out = False
        self._concluded: dict[str, Conclusion] = {}

    @property
    def backstop(self) -> timedelta:
        """The time after which Airflow itself ends a deferred wait."""
        return self.timeout + BACKSTOP

    def extend(self, more: timedelta) -> None:
        """Give the store this much time from now on, after the wait itself is over."""
        self._deadline = time.monotonic() + more.total_seconds()

    def last_look(self) -> None:
        """Give the store some time for a last check, but not the whole timeout again."""
        self.extend(min(self.timeout, BACKSTOP))

    def find(self, requestid: str, account: str | None = None) -> Upload:
        """Return the upload with this requestid.

        :raises UploadUnknown: the store has no record of it.
        :raises UploadAmbiguous: several uploads have it.
        :raises UploadNotTracked: it was sent without this provider's callback.
        """
        upload = self.store.find(requestid, account)
        if not upload.record.tracked:
            raise UploadNotTracked(upload.requestid)
        return upload

    def patiently(
        self, call: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Call the store; if its storage fails, try again until the deadline."""
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=lambda attempt: time.monotonic() >= self._deadline,
            wait=wait_fixed(self.settings.poll_interval),
            before_sleep=lambda attempt: log.warning(
                "%s Still waiting.", attempt.outcome and attempt.outcome.exception()
            ),
            reraise=True,
        )
        return retrying(call, *arguments, **named)

    def has_ended(self, upload: Upload) -> bool:
        """Whether enough ping-backs have come."""
        return self.state(upload).ended

    def state(self, upload: Upload) -> State:
        """Return its state, as far as it was read."""
        return self._progress(upload).state

    def look(self, upload: Upload) -> dict[str, Any] | None:
        """Return the summary of a completed upload, None while it has not ended.

        From then on it does not change, even if more ping-backs come.

        :raises UploadNotCompleted: it ended, but is not complete.
        """
        progress = self._progress(upload)
        if not progress.state.ended:
            return None
        if not upload.conclusions:
            seen = self._conclude(upload)
            # Another waiter may have concluded at the same moment, from more ping-backs.
            upload = self.store.read(upload.key, upload)
            self.store.ended(upload, self.settings.statuses)
            progress = self._progress(upload)
            # Of waiters that conclude at the same moment, only the first one counts it.
            if seen == min(upload.conclusions, key=lambda one: one.at, default=seen):
                metrics.upload_ended(upload, progress)
        summary = upload.summary(progress, self.settings.statuses)
        level = logging.WARNING if progress.rows.rejected else logging.INFO
        log.log(
            level,
            "Smartech completed upload %s of %s after %s seconds: %s.",
            upload.requestid,
            upload.record.file,
            summary["seconds"],
            progress.rows,
        )
        return summary

    def _conclude(self, upload: Upload) -> Conclusion:
        """Store, once, that this waiter acts on the ping-backs; a look that failed after that is repeated."""
        if upload.key not in self._concluded:
            names = tuple(pingback.name for pingback in upload.pingbacks)
            seen = Conclusion(pingbacks=names, state=self.state(upload))
            self.store.concluded(upload.key, seen)
            self._concluded[upload.key] = seen
        return self._concluded[upload.key]

    def _progress(self, upload: Upload) -> Progress:
        return upload.progress(self.settings.statuses, self.max_rejected)

    def trigger(self, uploads: Sequence[Upload], enough: int | None = None) -> SmartechBulkUploadTrigger:
        """Return the trigger that waits, from now on, until so many of these uploads have ended; by default all."""
        deadline = datetime.now(UTC) + self.timeout
        Reminder(deadline).remind(uploads)
        return SmartechBulkUploadTrigger([upload.key for upload in uploads], deadline.timestamp(), enough)

    def block(self, uploads: Sequence[Upload], enough: int | None = None) -> list[Upload]:
        """Wait in this process, from now on, until so many have ended (by default all) or the time is over.

        Returns the uploads as they are then.
        """
        self.extend(self.timeout)
        self._reminder = Reminder(datetime.now(UTC) + self.timeout)
        if enough is None or enough >= len(uploads):
            waited = [self._until(upload, uploads[place:]) for place, upload in enumerate(uploads)]
        else:
            waited = self._until_some(uploads, enough)
        self.last_look()
        return [one if self.has_ended(one) else self.patiently(self.store.read, one.key, one) for one in waited]

    def _until(self, upload: Upload, open_ones: Sequence[Upload]) -> Upload:
        while not self.has_ended(upload) and self._time_is_left:
            upload = self._read_again(upload)
            if not self.has_ended(upload):
                self._pause(open_ones)
        return upload

    def _until_some(self, uploads: Sequence[Upload], enough: int) -> list[Upload]:
        uploads = list(uploads)
        while sum(map(self.has_ended, uploads)) < enough and self._time_is_left:
            uploads = [one if self.has_ended(one) else self._read_again(one) for one in uploads]
            if sum(map(self.has_ended, uploads)) < enough:
                self._pause(uploads)
        return uploads

    @property
    def _time_is_left(self) -> bool:
        return time.monotonic() < self._deadline

    def _read_again(self, upload: Upload) -> Upload:
        """Return the upload as it is now, or as it was if the storage fails until the time is over."""
        try:
            return self.patiently(self.store.read, upload.key, upload)
        except UploadStoreError as error:
            if not _may_pass(error):
                raise
            # The caller checks once more.
            return upload

    def _pause(self, open_ones: Sequence[Upload]) -> None:
        self._reminder.remind(open_ones)
        time.sleep(max(0.0, min(self.settings.poll_interval, self._deadline - time.monotonic())))

    def resume(self, event: dict[str, Any] | None, enough: int | None = None) -> list[Upload]:
        """Return the uploads of a trigger's event, as they are in the store now.

        :param enough: how many of them the trigger waited for; by default all.
        :raises WaitBroken: the event is missing or not recognised, or contradicts the store.
        """
        known = isinstance(event, dict) and event.get("event") in ("ended", "timed out", "error")
        keys = event.get("keys") if known and event else None
        if event is None or not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
            raise WaitBroken(f"The trigger returned an event that is not recognised: {event!r}.")
        self.extend(BACKSTOP)
        uploads = [self.patiently(self.store.read, key) for key in keys]
        unfinished = [upload.requestid for upload in uploads if not self.has_ended(upload)]
        if len(uploads) - len(unfinished) >= (len(uploads) if enough is None else enough):
            return uploads
        if event["event"] == "error":
            raise WaitBroken(f"Waiting for upload {unfinished[0]} failed: {event.get('message')}")
        if event["event"] == "ended":
            raise WaitBroken(
                f"The triggerer says that upload {unfinished[0]} has ended, but with this worker's settings it has "
                "not. Give both the same [smartech] section, and restart the triggerer after a change."
            )
        return uploads

    def conclude(self, upload: Upload) -> dict[str, Any]:
        """Return the summary of an upload that was waited for.

        :raises UploadNotCompleted: it failed, or ended with a status that is not recognised.
        :raises UploadTimeout: it has not ended.
        """
        summary = self.patiently(self.look, upload)
        if summary is None:
            if not self._has_timed_out:
                metrics.wait_timed_out(upload.record)
            self._has_timed_out = True
            raise UploadTimeout(upload.requestid, upload.record.at, self.timeout.total_seconds(), len(upload.pingbacks))
        return summary


def is_timeout(next_method: str, next_kwargs: dict[str, Any] | None) -> bool:
    """Whether a task is resumed because Airflow's own deadline for the deferral has passed."""
    return next_method == TRIGGER_FAIL_REPR and (next_kwargs or {}).get("error") == TriggerFailureReason.TRIGGER_TIMEOUT


def _may_pass(error: BaseException) -> bool:
    """Whether the error may be temporary: not for a damaged file."""
    return isinstance(error, UploadStoreError) and not isinstance(error, UploadRecordUnreadable)
