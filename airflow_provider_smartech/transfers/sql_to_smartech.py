"""The operator that streams a query's rows into CSV files in S3 and submits these."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_smartech.assets.outlets import COUNTED, total
from airflow_provider_smartech.errors import TaskKilled, UploadStoreError
from airflow_provider_smartech.operators import HostedFile
from airflow_provider_smartech.staging.staged_query import OnEmpty, OnMissingKey, StagedQuery, one_of
from airflow_provider_smartech.transfers.s3_base import S3BaseOperator

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_smartech.api.parameters import BulkUploadParameters
    from airflow_provider_smartech.operators import Summaries
    from airflow_provider_smartech.tasks.staged import TaskStagings
    from airflow_provider_smartech.tasks.submission import Submission
    from airflow_provider_smartech.uploads.staged_files import StagedFile, Staging
    from airflow_provider_smartech.uploads.upload import Upload

log = logging.getLogger(__name__)

DeleteStaged = Literal["on_success", "always", "never"]


class SqlToSmartechOperator(S3BaseOperator):
    """Streams a query's rows into CSV files in S3, and submits these to Smartech.

    Memory use does not grow with the number of rows. PostgreSQL writes the CSV itself (``COPY``), drivers that give
    Arrow batches are read in these, all others with ``fetchmany``; the bytes are the same.

    A retry continues with the files that an earlier try staged. Clearing the task runs the query again.

    Returns ``{"requestids": […], "rows": …, "bytes": …, "missing_keys": …, "accepted": …, "rejected": …, "files":
    [{"requestid", "key", "rows", "bytes", "accepted", "rejected"}]}``; ``accepted`` and ``rejected`` are None if the
    task does not wait or a ping-back has no such numbers. ``requestids`` is also pushed to XCom under that name as soon
    as all files are submitted.

    The parameters for Smartech and the wait, the retries and the errors are those of
    ``SmartechBulkUploadOperator``.

    :param sql: one SELECT, or the name of a ``.sql`` file; templated.
    :param conn_id: connection of any database whose hook is a ``DbApiHook``.
    :param s3_bucket: name of the bucket to stage the files in.
    :param s3_prefix: folder in the bucket; the files in it get unguessable names.
    :param columns: new names for columns of the query, such as ``{"email": "EMAIL"}``; others keep their names.
    :param parameters: values for the query's placeholders, bound by the driver.
    :param hook_params: arguments for the database's hook.
    :param primary_key: column of the file by which Smartech identifies a contact.
    :param on_missing_key: what to do if rows have it NULL or blank: ``"fail"`` the task, or ``"skip"`` these rows.
    :param on_empty: what to do without rows: ``"skip"`` or ``"fail"`` the task, or ``"submit"`` only the header.
    :param max_rows_per_file: splits the rows into files of this many rows, each with its own requestid.
    :param delete_staged: when to remove the staged files, including those of earlier tries: ``"on_success"`` (the
        default if the task waits for completion), ``"always"`` (also when the task has finally failed), or ``"never"``
        (the default otherwise: Smartech still has to fetch them). Files that were replaced before they were submitted
        are always removed.
    :param upload_args: arguments for S3 about the files, such as ``{"ServerSideEncryption": "aws:kms"}``.
    :param aws_conn_id: AWS connection that writes the files and signs the URLs.
    :param url_mode: ``"presigned"`` gives Smartech a signed URL; ``"direct"`` the plain https address, for a bucket
        whose policy allows Smartech's servers.
    :param url_validity: how long a signed URL is valid, in seconds or as a timedelta, 7 days at most: Smartech
        fetches the file some time after its answer.
    :param url_minimum_validity: if the AWS credentials are temporary, a URL expires with them; it is an error if
        they expire within this time.

    :raises ContactsRefused: the query's columns or values cannot be uploaded.
    :raises ContactsWithoutKey: rows have no primary key, and ``on_missing_key`` is ``fail``.
    :raises ContactsEmpty: there are no rows, and ``on_empty`` is ``fail``.
    :raises ContactsQueryFailed: the database aborted the query while rows were read.
    :raises ContactsStorageError: an S3 request for the files failed.
    :raises SmartechConfigurationError: a connection has the wrong type or its provider is missing, its credentials
        expire too soon, or there is no such bucket.
    """

    template_fields: Sequence[str] = (
        "sql",
        "conn_id",
        "parameters",
        "hook_params",
        "s3_prefix",
        "columns",
        "primary_key",
        *S3BaseOperator.template_fields,
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json", "columns": "json"}

    def __init__(
        self,
        *,
        sql: str,
        conn_id: str,
        s3_prefix: str,
        columns: dict[str, str] | None = None,
        parameters: Sequence[Any] | dict[str, Any] | None = None,
        hook_params: dict[str, Any] | None = None,
        primary_key: str | None = None,
        on_missing_key: OnMissingKey = "fail",
        on_empty: OnEmpty = "skip",
        max_rows_per_file: int | None = None,
        delete_staged: DeleteStaged | None = None,
        upload_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(sql, list | tuple):
            raise ValueError(f"sql must be one SELECT, because one query makes the columns of the files; got {sql!r}")
        self.sql = sql
        self.conn_id = conn_id
        self.s3_prefix = s3_prefix
        self.columns = columns
        self.parameters = parameters
        self.hook_params = hook_params
        self.primary_key = primary_key
        self.on_missing_key = on_missing_key
        self.on_empty = on_empty
        self.max_rows_per_file = max_rows_per_file
        self.delete_staged = delete_staged or ("on_success" if self.wait_for_completion else "never")
        self.upload_args = upload_args
        self._streaming = False
        # A wrong choice is an error when the DAG is parsed; texts may still be templates.
        self._query()
        self._check_delete_staged()
        if self.url_mode == "direct" and str((upload_args or {}).get("ServerSideEncryption")).startswith("aws:kms"):
            raise ValueError(
                "url_mode='direct' must not be used with KMS: S3 serves such objects only to signed requests"
            )

    def execute(self, context: Context) -> Any:
        """Stage and submit the query's rows, or continue where an earlier try ended."""
        with self._tidied(context):
            return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Finish the task after the deferred wait, successful or not."""
        with self._tidied(context):
            return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Stop while rows are streamed, so that no files are left: the task has only seconds left.

        Airflow calls this during the stream, and would otherwise let the task continue.
        """
        if self._streaming:
            raise TaskKilled("The task was killed while it streamed the query; nothing was sent.")

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the staged files."""
        urls = self._urls
        staging = self._earlier(submission) or self._stage(submission)
        return [
            HostedFile(
                plain_url=urls.plain_url(staging.bucket, file.key),
                make_url=partial(urls.fetch_url, staging.bucket, file.key),
                source=f"s3://{staging.bucket}/{quote(file.key)}",
                rows=file.rows,
            )
            for file in staging.files
        ]

    def sources(self) -> OperatorLineage[Any, Any] | None:
        """Return the tables that the query reads, as far as OpenLineage's parser finds them."""
        from airflow.providers.common.compat.openlineage.utils.sql import get_openlineage_facets_with_sql

        found: OperatorLineage[Any, Any] | None = get_openlineage_facets_with_sql(
            hook=self._query().database(), sql=self.sql, conn_id=self.conn_id, database=None
        )
        return found

    def announce(self, uploads: Sequence[Upload], context: Context) -> None:
        """Push the requestids."""
        context["ti"].xcom_push(key="requestids", value=[upload.requestid for upload in uploads])

    def outcome(self, uploads: Sequence[Upload], submission: Submission, summaries: Summaries) -> dict[str, Any]:
        """Remove the staged files if configured, and return what was uploaded."""
        staged = self._staged(submission)
        stagings = staged.all()
        # Not found by the query, which may have changed while the task was deferred.
        staging = next((one for one in stagings if one.holds(uploads[0])), None)
        if staging is None:
            raise UploadStoreError("The upload store lost the record of this task's staged files; they were submitted.")
        if self.delete_staged != "never":
            for one in stagings:
                staged.remove(one)
        counted = summaries or [dict.fromkeys(COUNTED)] * len(uploads)
        files = [
            {"requestid": upload.requestid, **file.model_dump(), **{name: summary[name] for name in COUNTED}}
            for upload, file, summary in zip(uploads, staging.files, counted, strict=True)
        ]
        return {
            "requestids": [upload.requestid for upload in uploads],
            "rows": sum(file.rows for file in staging.files),
            "bytes": sum(file.bytes for file in staging.files),
            "missing_keys": staging.complete.missing_keys if staging.complete else 0,
            **{name: total(files, name) for name in COUNTED},
            "files": files,
        }

    def _query(self) -> StagedQuery:
        return StagedQuery(
            sql=self.sql,
            conn_id=self.conn_id,
            parameters=self.parameters,
            hook_params=self.hook_params,
            columns=self.columns,
            primary_key=self.primary_key,
            on_missing_key=self.on_missing_key,
            on_empty=self.on_empty,
            max_rows_per_file=self.max_rows_per_file,
            upload_args=self.upload_args,
        )

    def _check_delete_staged(self) -> None:
        one_of("delete_staged", self.delete_staged, DeleteStaged)
        if self.delete_staged != "never" and not self.wait_for_completion:
            raise ValueError(
                f"delete_staged={self.delete_staged!r} needs wait_for_completion=True: without it, the files would be "
                "removed before Smartech has fetched them"
            )

    def _staged(self, submission: Submission) -> TaskStagings:
        # Imported here: DAG files are parsed every few seconds, but their tasks run rarely.
        from airflow_provider_smartech.tasks.staged import TaskStagings

        return TaskStagings(
            store=submission.store,
            task=submission.task,
            urls=self._urls,
            statuses=submission.settings.statuses,
        )

    def _earlier(self, submission: Submission) -> Staging | None:
        """Return what an earlier try staged for this query, if the task can continue with it."""
        staged, fingerprint = self._staged(submission), self._query().fingerprint(self.s3_bucket, self.s3_prefix)
        staging = staged.usable(fingerprint)

        def request(file: StagedFile) -> BulkUploadParameters:
            return self.request(submission.hook, self._urls.plain_url(self.s3_bucket, file.key))

        if staging is None or not staged.goes_on_with(staging, submission, request):
            return None
        log.info("Continuing with the %s file(s) that an earlier try staged.", len(staging.files))
        return staging

    def _stage(self, submission: Submission) -> Staging:
        # Everything that can be checked is checked before the query runs.
        self.request(submission.hook, "https://bucket.example/contacts.csv")
        self._urls.check(self.s3_bucket, self.s3_prefix)
        submission.check()
        submission.check_earlier()
        self._query().database()
        self._urls.check_bucket(self.s3_bucket)
        submission.hook.check_api_key()
        staged = self._staged(submission)
        staged.remove_superseded(also_uploaded=self.delete_staged != "never")
        self._streaming = True
        try:
            return staged.stage(self._query(), self.s3_bucket, self.s3_prefix)
        finally:
            self._streaming = False

    @contextmanager
    def _tidied(self, context: Context) -> Iterator[None]:
        """After a failure, log which staged files are left; if it is final, first remove them if configured."""
        try:
            yield
        except (TaskDeferred, AirflowSkipException):
            raise
        except BaseException as error:
            ti = context["ti"]
            over = isinstance(error, AirflowFailException) or ti.try_number > ti.max_tries
            try:
                staged = self._staged(self._submission(context, self._wait()))
                if self.delete_staged == "always" and over:
                    staged.remove_superseded(also_uploaded=True)
                staged.name_left(self.delete_staged, over=over)
            except Exception as failure:  # noqa: BLE001 - it must not replace the error that ended the task
                log.warning("It is not known whether staged files are left in S3. %s", failure)
            raise
