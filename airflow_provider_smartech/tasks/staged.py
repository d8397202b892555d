"""The files that the tries of one task stage in S3: reusing earlier ones, and removing those no longer needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_smartech.api.parameters import BulkUploadParameters
from airflow_provider_smartech.errors import SmartechOutcomeUnknown, UploadStoreError
from airflow_provider_smartech.staging.area import exist, is_empty, new_folder, remove_folder
from airflow_provider_smartech.staging.s3_urls import S3Urls
from airflow_provider_smartech.staging.staged_query import StagedQuery
from airflow_provider_smartech.tasks.submission import Submission
from airflow_provider_smartech.uploads.staged_files import StagedFile, Staging
from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import State, TaskTry, Upload

if TYPE_CHECKING:
    from airflow_provider_smartech.tasks.changes import TaskChanges

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TaskStagings:
    """The files that the tries of one task instance have staged, including this try."""

    store: UploadStore
    task: TaskTry
    urls: S3Urls
    statuses: Statuses

    def all(self) -> list[Staging]:
        """Return everything that was staged, the latest first."""
        return self.store.stagings(self.task)

    def usable(self, fingerprint: str) -> Staging | None:
        """Return the files that this try, or an earlier one that it retries, has staged for the query."""
        return next((one for one in self.all() if one.serves(self.task, fingerprint)), None)

    def goes_on_with(
        self, staging: Staging, submission: Submission, request: Callable[[StagedFile], BulkUploadParameters]
    ) -> bool:
        """Whether the files of an earlier try still exist, or are no longer needed.

        :param request: returns the request's parameters for one of them.
        :raises SmartechOutcomeUnknown: some were uploaded and the others are gone, and ``on_unknown_outcome`` is
            ``fail``.
        """
        if exist(self.urls.client, staging.bucket, [file.key for file in staging.files]):
            return True
        uploaded = [submission.earlier_upload(request(file), part) for part, file in enumerate(staging.files)]
        if any(uploaded) and not all(uploaded) and submission.on_unknown_outcome == "fail":
            raise SmartechOutcomeUnknown(
                "Some of the files that an earlier try staged were uploaded, and the others are gone; nothing is sent "
                "again because on_unknown_outcome is 'fail'. Check Smartech's panel, then clear the task"
            )
        if not all(uploaded):
            log.warning("The files that an earlier try staged are gone; running the query again.")
        return all(uploaded)

    def stage(self, query: StagedQuery, bucket: str, prefix: str, changes: TaskChanges | None = None) -> Staging:
        """Stream a query's rows into files; after an error no file is left.

        :param changes: if only what changed is streamed.
        :raises SmartechError: as ``StagedQuery.stream`` raises.
        """
        folder = new_folder(prefix)
        began = Staging(task=self.task, fingerprint=query.fingerprint(bucket, prefix), bucket=bucket, folder=folder)
        staging = self.store.staging_begins(began)
        area = query.area(self.urls.client, bucket, folder)
        try:
            files = changes.stream(query, area, folder) if changes else query.stream(area)
            return self.store.staging_completed(staging, files)
        except BaseException:
            if area.discard():
                with suppress(UploadStoreError):
                    self.store.staging_removed(staging)
            raise

    def remove_superseded(self, *, also_uploaded: bool) -> None:
        """Remove the files that the tries of this task have staged, except those that Smartech may still fetch.

        :param also_uploaded: whether files whose uploads have ended are removed too.
        """
        left = [staging for staging in self.all() if not staging.removed]
        uploads = self.store.of_all_parts(self.task) if left else []
        for staging in left:
            self.remove(staging, self._taken(staging, uploads, also_uploaded=also_uploaded))

    def name_left(self, delete_staged: str, *, over: bool) -> None:
        """Log what the tries of this task have left in S3, and why.

        :param over: whether there is no other try.
        """
        left = [staging for staging in self.all() if not staging.removed]
        uploads = self.store.of_all_parts(self.task) if left else []
        for staging in left:
            if not staging.complete:
                why = "a try was killed while it wrote them, or they could not be removed"
            elif is_empty(self.urls.client, staging.bucket, staging.folder):
                continue
            elif self._taken(staging, uploads, also_uploaded=True):
                why = "Smartech may still fetch them"
            elif not over and self.task.is_of_round(staging.task):
                why = "the next try continues with them"
            else:
                failed = over and delete_staged == "always"
                why = "they could not be removed" if failed else f"delete_staged is {delete_staged!r}"
            log.warning("Files with contacts are left in %s: %s.", staging.url, why)

    def remove(self, staging: Staging, spare: Collection[str] = ()) -> None:
        """Remove the files of a staging, except those named in ``spare``; files that are left are logged."""
        if staging.removed:
            return
        if spare:
            log.warning("Not removing %s of %s: Smartech may still fetch them.", ", ".join(sorted(spare)), staging.url)
        if remove_folder(self.urls.client, staging.bucket, staging.folder, spare):
            self.store.staging_removed(staging)

    def _taken(self, staging: Staging, uploads: list[Upload], *, also_uploaded: bool) -> set[str]:
        """Return the names of the files that Smartech has, or, with ``also_uploaded``, may still fetch."""
        sent = [one for one in uploads if staging.holds(one)]
        states = {one.key: one.progress(self.statuses).state for one in sent}
        taken = [one for one in sent if states[one.key] is not State.NOT_ACCEPTED]
        if also_uploaded:
            taken = [one for one in taken if not states[one.key].ended and not one.given_up]
        return {one.record.file for one in taken}
