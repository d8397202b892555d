"""The objects in S3 that the tries of one task upload: the first try fixes them, and the later ones keep to them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from airflow_provider_smartech.api.parameters import BulkUploadParameters
from airflow_provider_smartech.errors import ContactsFilesRefused, ContactsRefused
from airflow_provider_smartech.staging.s3_selection import Selection
from airflow_provider_smartech.staging.s3_urls import S3Urls
from airflow_provider_smartech.staging.source_objects import changed, check_objects, remove_objects, what_became_of
from airflow_provider_smartech.tasks.submission import Submission
from airflow_provider_smartech.uploads.source_files import SourceFile, SourceFiles

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TaskSources:
    """The objects that one task instance uploads."""

    submission: Submission
    urls: S3Urls
    selection: Selection

    def fixed(self) -> SourceFiles | None:
        """Return the objects that this try uploads, if it or a try that it retries has fixed them.

        :raises UploadRecordUnreadable: the record of them is damaged.
        """
        task, fingerprint = self.submission.task, self.selection.fingerprint()
        known = self.submission.store.sources(task)
        # What this very try has begun it ends, even if the DAG has been edited while it was deferred.
        own = (one for one in known if one.task == task)
        return next(own, None) or next((one for one in known if one.serves(task, fingerprint)), None)

    def find(self, primary_key: str | None) -> SourceFiles:
        """Find the objects, and check them.

        :raises ContactsRefused: some cannot be loaded.
        :raises ContactsStorageError: S3 cannot be read.
        """
        client = self.urls.client
        keys = self.selection.keys(client)
        files, empty = check_objects(client, self.selection.bucket, keys, primary_key)
        return SourceFiles(
            task=self.submission.task,
            fingerprint=self.selection.fingerprint(),
            bucket=self.selection.bucket,
            files=tuple(files),
            empty=empty,
        )

    def keep(self, found: SourceFiles) -> None:
        """Keep which objects this try and its retries upload."""
        self.submission.store.sources_fixed(found)

    def go_on(self, earlier: SourceFiles, request: Callable[[SourceFile], BulkUploadParameters]) -> SourceFiles:
        """Return the objects that an earlier try has fixed, after a check that those to be sent are as they were.

        :param request: returns the request's parameters for one of them.
        :raises ContactsRefused: some were replaced or removed, and have not been uploaded.
        """
        if earlier.task == self.submission.task:
            return earlier
        left = [file for part, file in enumerate(earlier.files) if not self.submission.would_take(request(file), part)]
        refused = [_changed(earlier.bucket, key, what) for key, what in changed(self.urls.client, earlier.bucket, left)]
        if refused:
            raise ContactsFilesRefused.of(f"s3://{earlier.bucket}", refused, len(earlier.files))
        log.info("Continuing with the %s object(s) that the first try has found.", f"{len(earlier.files):,}")
        ours = earlier.model_copy(update={"task": self.submission.task})
        self.keep(ours)
        return ours

    def check_unchanged(self, file: SourceFile) -> None:
        """Check that an object is still what was checked.

        :raises ContactsRefused: it was replaced or removed.
        """
        bucket = self.selection.bucket
        if what := what_became_of(self.urls.client, bucket, file):
            raise _changed(bucket, file.key, what)

    def remove(self, found: SourceFiles) -> None:
        """Remove the objects, unless they were replaced since they were uploaded."""
        remove_objects(self.urls.client, found.bucket, found.files)


def _changed(bucket: str, key: str, what: str) -> ContactsRefused:
    return ContactsRefused(
        f"s3://{bucket}/{key}",
        f"the object was {what} after this task had checked it. Clear the task to upload what is there now.",
    )
