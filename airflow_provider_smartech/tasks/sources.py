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
        store, task, fingerprint = self.submission.store, self.submission.task, self.selection.fingerprint()
        return next((one for one in store.sources(task) if one.serves(task, fingerprint)), None)

    def fix(self, primary_key: str | None) -> SourceFiles:
        """Find the objects and check them, and keep which they are.

        :raises ContactsRefused: some cannot be loaded.
        :raises ContactsStorageError: S3 cannot be read.
        """
        client = self.urls.client
        keys = self.selection.keys(client)
        files, empty = check_objects(client, self.selection.bucket, keys, primary_key)
        return self._keep(files, empty)

    def go_on(self, earlier: SourceFiles, request: Callable[[SourceFile], BulkUploadParameters]) -> SourceFiles:
        """Return the objects that an earlier try has fixed, after a check that those to be sent are as they were.

        :param request: returns the request's parameters for one of them.
        :raises ContactsRefused: some were replaced or removed, and have not been uploaded.
        """
        if earlier.task == self.submission.task:
            return earlier
        different = changed(self.urls.client, earlier.bucket, earlier.files)
        refused = [
            _changed(earlier.bucket, file.key, different[file.key])
            for part, file in enumerate(earlier.files)
            if file.key in different and not self.submission.earlier_upload(request(file), part)
        ]
        if refused:
            many = len(refused) > 1
            raise ContactsFilesRefused(f"s3://{earlier.bucket}", refused, len(earlier.files)) if many else refused[0]
        log.info("Continuing with the %s object(s) that the first try has found.", f"{len(earlier.files):,}")
        return self._keep(earlier.files, earlier.empty)

    def check_unchanged(self, file: SourceFile) -> None:
        """Check that an object is still what was checked.

        :raises ContactsRefused: it was replaced or removed.
        """
        bucket = self.selection.bucket
        if what := what_became_of(self.urls.client, bucket, file):
            raise _changed(bucket, file.key, what)

    def remove(self) -> None:
        """Remove the objects, unless they were replaced since they were uploaded."""
        if fixed := self.fixed():
            remove_objects(self.urls.client, fixed.bucket, fixed.files)

    def _keep(self, files: list[SourceFile] | tuple[SourceFile, ...], empty: int) -> SourceFiles:
        found = SourceFiles(
            task=self.submission.task,
            fingerprint=self.selection.fingerprint(),
            bucket=self.selection.bucket,
            files=tuple(files),
            empty=empty,
        )
        self.submission.store.sources_fixed(found)
        return found


def _changed(bucket: str, key: str, what: str) -> ContactsRefused:
    return ContactsRefused(
        f"s3://{bucket}/{key}",
        f"the object was {what} after this task had checked it. Clear the task to upload what is there now.",
    )
