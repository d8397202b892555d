"""The operator that submits CSVs that are already in S3."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_smartech.assets import lineage
from airflow_provider_smartech.assets.outlets import COUNTED, total
from airflow_provider_smartech.errors import ContactsEmpty, SmartechConfigurationError, UploadRecordUnreadable
from airflow_provider_smartech.operators import HostedFile
from airflow_provider_smartech.redaction import SecretUrl
from airflow_provider_smartech.staging.s3_selection import Kind, Selection
from airflow_provider_smartech.staging.staged_query import one_of
from airflow_provider_smartech.transfers.s3_base import S3BaseOperator

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_smartech.operators import Summaries
    from airflow_provider_smartech.tasks.sources import TaskSources
    from airflow_provider_smartech.tasks.submission import Submission
    from airflow_provider_smartech.uploads.source_files import SourceFile
    from airflow_provider_smartech.uploads.upload import Upload

OnNoRows = Literal["skip", "fail"]
DeleteSource = Literal["on_success", "never"]

KINDS: tuple[Kind, ...] = ("s3_key", "s3_prefix", "s3_wildcard", "s3_manifest")


class S3ToSmartechOperator(S3BaseOperator):
    """Submits CSVs of contacts that are already in S3: one object, or all that a warehouse has written in parallel.

    Each object is an upload of its own. Before anything is sent, the first bytes of all objects are read: each must be
    plain CSV that begins with a header in UTF-8, without blank or repeated columns, and all must have the same columns.
    Objects without a row are left out.

    The first try fixes which objects are uploaded, and a retry keeps to them: it submits those that were not submitted,
    and an object that was replaced since then fails it. Clearing the task looks again.

    With one ``s3_key``, a text, it returns the ``requestid``. Otherwise it returns ``{"requestids": […], "bytes": …,
    "empty": …, "accepted": …, "rejected": …, "files": [{"requestid", "key", "bytes", "accepted", "rejected"}]}``;
    ``empty`` is the number of objects without a row; ``accepted`` and ``rejected`` are None if the task does not wait
    or a ping-back has no such numbers. ``requestids`` is also pushed to XCom under that name, before the wait.

    The parameters for Smartech and the wait, the retries and the errors are those of
    ``SmartechBulkUploadOperator``.

    :param s3_bucket: name of the bucket.
    :param s3_key: key of the object, or several keys. Give this or one of the next three.
    :param s3_prefix: all objects whose keys begin with it, such as ``unload/2026-11-24/``, in the order of their keys.
    :param s3_wildcard: all objects whose keys match it, such as ``unload/2026-11-24/part-*.csv``; ``*`` also stands for
        a ``/``, as in Airflow's own S3 operators.
    :param s3_manifest: key of a manifest that names the objects, as Redshift's ``UNLOAD … MANIFEST`` writes it.
    :param primary_key: column that each header must have, such as ``EMAIL``.
    :param on_empty: what to do if there is no object, or no object has a row: ``"skip"`` or ``"fail"`` the task.
    :param uploads_at_once: how many uploads may be under way at a time if the task waits, None for all: what Smartech
        takes at a time is not documented. When half of them have ended, others are sent. If one fails, no other is
        sent, and a retry goes on with those that are left.
    :param delete_source: when to remove the objects: ``"on_success"``, when all are loaded, or ``"never"``. An object
        that was replaced since it was uploaded stays.
    :param aws_conn_id: AWS connection that reads the objects and signs the URLs.
    :param url_mode: ``"presigned"`` gives Smartech a signed URL; ``"direct"`` the plain https address, for a bucket
        whose policy allows Smartech's servers.
    :param url_validity: how long a signed URL is valid, in seconds or as a timedelta, 7 days at most: Smartech
        fetches the file some time after its answer.
    :param url_minimum_validity: if the AWS credentials are temporary, a URL expires with them; it is an error if
        they expire within this time.

    :raises ContactsRefused: an object does not exist, is not a CSV that Smartech can load, or was replaced.
    :raises ContactsFilesRefused: several are not; the message names all of them.
    :raises ContactsEmpty: there are no rows, and ``on_empty`` is ``fail``.
    :raises ContactsStorageError: an S3 request for an object failed.
    :raises SmartechConfigurationError: the AWS credentials cannot sign a URL that is valid long enough.
    """

    template_fields: Sequence[str] = (*KINDS, "primary_key", *S3BaseOperator.template_fields)

    def __init__(
        self,
        *,
        s3_key: str | Sequence[str] | None = None,
        s3_prefix: str | None = None,
        s3_wildcard: str | None = None,
        s3_manifest: str | None = None,
        primary_key: str | None = None,
        on_empty: OnNoRows = "skip",
        uploads_at_once: int | None = 10,
        delete_source: DeleteSource = "never",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.s3_key = s3_key
        self.s3_prefix = s3_prefix
        self.s3_wildcard = s3_wildcard
        self.s3_manifest = s3_manifest
        self.primary_key = primary_key
        self.on_empty = on_empty
        self.uploads_at_once = uploads_at_once
        self.delete_source = delete_source
        self._check_selection()
        one_of("on_empty", on_empty, OnNoRows)
        one_of("delete_source", delete_source, DeleteSource)
        if uploads_at_once is not None and (not isinstance(uploads_at_once, int) or uploads_at_once < 1):
            raise ValueError(f"uploads_at_once must be an integer of 1 or more, or None for all; got {uploads_at_once}")
        if delete_source != "never" and not self.wait_for_completion:
            raise ValueError(
                f"delete_source={delete_source!r} needs wait_for_completion=True: without it, the objects would be "
                "removed before Smartech has fetched them"
            )

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the objects; all are checked before the first is sent."""
        sources = self._sources(submission)
        if earlier := sources.fixed():
            found = sources.go_on(earlier, lambda file: self.request(submission.hook, self._plain_url(file)))
        else:
            self._check_before(submission)
            found = sources.find(self.primary_key)
            submission.check_earlier(len(found.files))
            sources.keep(found)
        if not found.files:
            self._has_no_rows(found.empty)
        return [
            HostedFile(
                plain_url=self._plain_url(file),
                make_url=partial(self._checked_url, sources, file),
                source=self.source(file.key),
            )
            for file in found.files
        ]

    def sources(self) -> OperatorLineage[Any, Any]:
        """Return the objects, or the folder that they are in."""
        return lineage.of_files(f"s3://{self.s3_bucket}", self._selection.names)

    def announce(self, requestids: Sequence[str], context: Context) -> None:
        """Push the requestid, or the requestids if several objects may be selected."""
        if self._is_one:
            super().announce(requestids, context)
        else:
            context["ti"].xcom_push(key="requestids", value=requestids)

    def outcome(self, uploads: Sequence[Upload], submission: Submission, summaries: Summaries) -> Any:
        """Remove the objects if configured, and return what was uploaded."""
        sources = self._sources(submission)
        found = sources.fixed()
        if found is None or len(found.files) != len(uploads):
            raise UploadRecordUnreadable(
                uploads[0].key, "sources", "the record of this task's objects is gone; all of them are submitted"
            )
        if self.delete_source == "on_success":
            sources.remove(found)
        if self._is_one:
            return super().outcome(uploads, submission, summaries)
        counted = summaries or [dict.fromkeys(COUNTED)] * len(uploads)
        files = [
            {
                "requestid": upload.requestid,
                "key": file.key,
                "bytes": file.bytes,
                **{name: summary[name] for name in COUNTED},
            }
            for upload, file, summary in zip(uploads, found.files, counted, strict=True)
        ]
        return {
            "requestids": [upload.requestid for upload in uploads],
            "bytes": sum(file.bytes for file in found.files),
            "empty": found.empty,
            **{name: total(files, name) for name in COUNTED},
            "files": files,
        }

    @property
    def _is_one(self) -> bool:
        return isinstance(self.s3_key, str)

    @cached_property
    def _selection(self) -> Selection:
        # First used after the templates are rendered.
        try:
            kind = self._check_selection()
        except ValueError as error:
            raise SmartechConfigurationError(str(error)) from error
        value = getattr(self, kind)
        if isinstance(value, Sequence) and not isinstance(value, str) and kind == "s3_key":
            # By index: what a mapped task returned is read from Airflow one by one.
            value = tuple(value[place] for place in range(len(value)))
        texts = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(text, str) and text for text in texts):
            raise SmartechConfigurationError(f"{kind} must be a text, which is not empty; got {value!r}.")
        return Selection(bucket=self.s3_bucket, kind=kind, value=value)

    def _check_selection(self) -> Kind:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"one of {', '.join(KINDS)} must be given; got {' and '.join(given) or 'none of them'}")
        value = getattr(self, given[0])
        # What another task returns is known only when the task runs.
        keys = value if isinstance(value, list | tuple) else [value]
        if urls := [key for key in keys if str(key).startswith("s3://")]:
            what = "the key of an object" if given[0] == "s3_key" else "a key, or the beginning of one,"
            raise ValueError(f"{given[0]} must be {what} in s3_bucket, without s3://; got {urls[0]!r}")
        return given[0]

    def _sources(self, submission: Submission) -> TaskSources:
        # Imported here: DAG files are parsed every few seconds, but their tasks run rarely.
        from airflow_provider_smartech.tasks.sources import TaskSources

        return TaskSources(submission=submission, urls=self._urls, selection=self._selection)

    def _check_before(self, submission: Submission) -> None:
        """Check everything that can be checked before the objects are read."""
        self.example(submission)
        self._urls.check(self.s3_bucket, self._selection.described)
        submission.check()

    def _has_no_rows(self, empty: int) -> None:
        """Skip or fail the task: there is nothing to upload."""
        source = f"{self._selection.described} ({empty:,} object(s))"
        if self.on_empty == "fail":
            raise ContactsEmpty(source)
        raise AirflowSkipException(f"There are no contacts to upload from {source}.")

    def _plain_url(self, file: SourceFile) -> SecretUrl:
        # With its ETag, which tells later tries and rounds whether an upload was of the same content.
        plain = self._urls.plain_url(self.s3_bucket, file.key).get_secret_value()
        return SecretUrl(f"{plain}?{urlencode({'ETag': file.etag})}")

    def _checked_url(self, sources: TaskSources, file: SourceFile) -> SecretUrl:
        sources.check_unchanged(file)
        return self._urls.fetch_url(self.s3_bucket, file.key)
