"""What became of the runs of a sync: whether all they sent is loaded, or something of it may still be."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_provider_smartech.errors import UploadRecordUnreadable
from airflow_provider_smartech.uploads.staged_files import is_in
from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.syncs import OVER_AFTER, SyncRun
from airflow_provider_smartech.uploads.upload import State, Upload

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunOutcomes:
    """Reads the uploads of a sync's runs; all methods block, and raise ``UploadStoreError``."""

    store: UploadStore
    statuses: Statuses

    def uploads(self, run: SyncRun) -> list[Upload]:
        """Return what is recorded of a run's uploads: less than there are, if they were purged or cannot be read."""
        try:
            return [upload for upload in self.store.of_all_parts(run.task) if is_in(run.folder, upload)]
        except UploadRecordUnreadable as error:
            log.warning("Sync %s: what became of a run is not known. %s", run.sync, error)
            return []

    def is_complete(self, run: SyncRun, uploads: Sequence[Upload]) -> bool:
        """Whether all files of a run were loaded."""
        return len({one.record.file for one in uploads if self._has_completed(run, one)}) == run.files

    def is_denied(self, run: SyncRun, uploads: Sequence[Upload]) -> bool:
        """Whether a ping-back says that an upload of a complete run failed, after a task had acted upon another one."""
        complete = (one for one in uploads if self._has_completed(run, one))
        return any(one.is_denied(self.statuses, run.max_rejected) for one in complete)

    def has_all_loaded(self, run: SyncRun, uploads: Sequence[Upload]) -> bool:
        """Whether all copies of a base's files are known to have ended, or are too old to be loaded."""
        if datetime.now(UTC) - run.at > OVER_AFTER:
            return True
        return len({upload.record.file for upload in uploads}) == run.files and self._has_none_open(uploads)

    def surely_not_loaded(self, run: SyncRun, uploads: Sequence[Upload]) -> bool:
        """Whether all files of a run were sent, and none was accepted. Uploads that are not known may be purged."""
        files = {upload.record.file for upload in uploads}
        return len(files) == run.files and all(self._state(upload) is State.NOT_ACCEPTED for upload in uploads)

    def is_over(self, run: SyncRun, uploads: Sequence[Upload]) -> bool:
        """Whether nothing of a run will be loaded from now on."""
        if datetime.now(UTC) - run.at > OVER_AFTER:
            return True
        # Its try sends no file twice; another try records a run of its own first.
        ended = {
            upload.record.file
            for upload in uploads
            if self._state(upload).ended
            and any(
                task and task.is_not_before(run.task)
                for task in (upload.record.task, *(handover.task for handover in upload.handovers))
            )
        }
        return len(ended) == run.files and self._has_none_open(uploads)

    def is_under_way(self, run: SyncRun) -> bool:
        """Whether Smartech is about to load something of it, and nobody has given that up."""
        under_way = (State.ACCEPTED, State.IN_PROGRESS)
        return any(self._state(one) in under_way and not one.given_up for one in self.uploads(run))

    def _has_completed(self, run: SyncRun, upload: Upload) -> bool:
        # By the limit that it was sent with: a higher one may not turn a red night into a base.
        return upload.progress(self.statuses, run.max_rejected).state is State.COMPLETED

    def _has_none_open(self, uploads: Sequence[Upload]) -> bool:
        """Whether each upload has ended, was not accepted, or is too old to be loaded."""
        states = [self._state(one) for one in uploads if datetime.now(UTC) - one.record.at <= OVER_AFTER]
        return all(state.ended or state is State.NOT_ACCEPTED for state in states)

    def _state(self, upload: Upload) -> State:
        return upload.progress(self.statuses).state
