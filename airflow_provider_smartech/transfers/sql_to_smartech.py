"""The operator that streams a query's rows into CSV files in S3 and submits these."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_smartech.assets.outlets import COUNTED, total, without_lists
from airflow_provider_smartech.errors import SmartechConfigurationError, TaskKilled, UploadRecordUnreadable
from airflow_provider_smartech.operators import HostedFile, as_timedelta
from airflow_provider_smartech.staging.staged_query import OnEmpty, OnMissingKey, StagedQuery, one_of
from airflow_provider_smartech.transfers.s3_base import S3BaseOperator

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_smartech.api.parameters import BulkUploadParameters
    from airflow_provider_smartech.operators import Summaries
    from airflow_provider_smartech.tasks.changes import TaskChanges
    from airflow_provider_smartech.tasks.staged import TaskStagings
    from airflow_provider_smartech.tasks.submission import Submission
    from airflow_provider_smartech.uploads.staged_files import StagedFile, StagedFiles, Staging
    from airflow_provider_smartech.uploads.upload import TaskTry, Upload

log = logging.getLogger(__name__)

DeleteStaged = Literal["on_success", "always", "never"]
OnDuplicateKey = Literal["fail", "keep"]

# A template is rendered to a text.
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "none", "")


class SqlToSmartechOperator(S3BaseOperator):
    """Streams a query's rows into CSV files in S3, and submits these to Smartech.

    Memory use does not grow with the number of rows. PostgreSQL writes the CSV itself (``COPY``), drivers that give
    Arrow batches are read in these, all others with ``fetchmany``; the bytes are the same.

    A retry continues with the files that an earlier try staged. Clearing the task runs the query again.

    Returns ``{"requestids": […], "rows": …, "bytes": …, "missing_keys": …, "accepted": …, "rejected": …, "files":
    [{"requestid", "key", "rows", "bytes", "accepted", "rejected"}]}``; ``accepted`` and ``rejected`` are None if the
    task does not wait or a ping-back has no such numbers. ``requestids`` is also pushed to XCom under that name as soon
    as all files are submitted.

    With ``only_changes``, only the rows are uploaded that are not, with the same values, in the last sync that
    completed; rows that are gone from the query are counted, and stay in Smartech. For each row, the upload store keeps
    16 bytes: hashes of its key and its values, encrypted with a key that is derived from the account's API key. A
    failed sync changes nothing, so its rows are sent again. All rows are sent if the API key, the account, the list,
    the primary key or the columns have changed, or two runs of a sync were active at once. The returned dict also has
    ``sent``, ``new``, ``changed``, ``unchanged`` and ``removed``, and ``rows`` counts all rows of the query. If nothing
    has changed, nothing is sent, ``requestids`` is empty, and no list's asset event is emitted.

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
    :param only_changes: upload only what has changed since the last sync. It needs ``primary_key``,
        ``wait_for_completion`` and the extra ``airflow-provider-smartech[changes]``.
    :param sync_name: what the sync is called in the upload store; by default by its DAG, task and map index.
    :param on_duplicate_key: what to do if rows have the same primary key: ``"fail"`` the task, or ``"keep"`` all of
        them; then such rows may be sent each time.
    :param full: send all rows nevertheless; a boolean, or a template such as
        ``"{{ dag_run.conf.get('full', false) }}"``.
    :param full_every: send all rows if they were last sent so long ago, in seconds or as a timedelta: somebody may have
        edited contacts in Smartech's panel.
    :param dry_run: only count what a sync would do; nothing is sent or kept, and ``sent`` is what would be sent.
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
    :raises ContactsKeyRepeated: rows have the same primary key, and ``on_duplicate_key`` is ``fail``.
    :raises ContactsEmpty: there are no rows, and ``on_empty`` is ``fail``.
    :raises ContactsQueryFailed: the database aborted the query while rows were read.
    :raises ContactsStorageError: an S3 request for the files failed.
    :raises SmartechConfigurationError: a connection has the wrong type or its provider is missing, its credentials
        expire too soon, there is no such bucket, or ``only_changes`` misses numpy or xxhash.
    """

    template_fields: Sequence[str] = (
        "sql",
        "conn_id",
        "parameters",
        "hook_params",
        "s3_prefix",
        "columns",
        "primary_key",
        "sync_name",
        "full",
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
        only_changes: bool = False,
        sync_name: str | None = None,
        on_duplicate_key: OnDuplicateKey = "fail",
        full: bool | str = False,
        full_every: float | timedelta | None = None,
        dry_run: bool = False,
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
        self.only_changes = only_changes
        self.sync_name = sync_name
        self.on_duplicate_key = on_duplicate_key
        self.full = full
        self.full_every = None if full_every is None else as_timedelta(full_every)
        # BaseOperator has a method dry_run.
        self.only_counts = dry_run
        self._streaming = False
        # A wrong choice is an error when the DAG is parsed; texts may still be templates.
        self._query()
        self._check_delete_staged()
        self._check_only_changes()
        if self.url_mode == "direct" and str((upload_args or {}).get("ServerSideEncryption")).startswith("aws:kms"):
            raise ValueError(
                "url_mode='direct' must not be used with KMS: S3 serves such objects only to signed requests"
            )

    def execute(self, context: Context) -> Any:
        """Stage and submit the query's rows, or continue where an earlier try ended."""
        with self._tidied(context):
            return self._count(context) if self.only_counts else super().execute(context)

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
        changes = staging.complete and staging.complete.changes
        return [
            HostedFile(
                plain_url=urls.plain_url(staging.bucket, file.key),
                make_url=partial(urls.fetch_url, staging.bucket, file.key),
                source=self.source(file.key),
                rows=file.rows,
                of_rows=changes.rows if changes else None,
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

    def announce(self, requestids: Sequence[str], context: Context) -> None:
        """Push the requestids."""
        context["ti"].xcom_push(key="requestids", value=requestids)

    def outcome(self, uploads: Sequence[Upload], submission: Submission, summaries: Summaries) -> dict[str, Any]:
        """Remove the staged files if configured, and return what was uploaded."""
        staged = self._staged(submission)
        stagings = staged.all()
        # Not found by the query, which may have changed while the task was deferred.
        staging = next((one for one in stagings if one.holds(uploads[0])) if uploads else iter(stagings), None)
        if staging is None or staging.complete is None:
            raise UploadRecordUnreadable(
                uploads[0].key if uploads else "-", "stagings", "the record of this task's staged files is gone"
            )
        changes = self._changes(submission)
        if changes:
            changes.sync.completed(staging)
        if self.delete_staged != "never":
            for one in stagings:
                staged.remove(one)
        counted = summaries or [dict.fromkeys(COUNTED)] * len(uploads)
        files = [
            {"requestid": upload.requestid, **file.model_dump(), **{name: summary[name] for name in COUNTED}}
            for upload, file, summary in zip(uploads, staging.files, counted, strict=True)
        ]
        return _result(staging.complete, files)

    def nothing_sent(self, context: Context) -> None:
        """Keep Airflow from emitting the events of lists, which no upload has updated."""
        self.outlets = without_lists(context, self.outlets)

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
            variant=[self.sync_name, self.on_duplicate_key, self.full] if self.only_changes else None,
        )

    def _check_only_changes(self) -> None:
        one_of("on_duplicate_key", self.on_duplicate_key, OnDuplicateKey)
        if self.only_changes:
            if self.primary_key is None:
                raise ValueError("only_changes=True needs primary_key, which tells the rows of two nights apart")
            if not self.wait_for_completion:
                raise ValueError(
                    "only_changes=True needs wait_for_completion=True: the next sync compares with what was loaded"
                )
            return
        given = {
            "sync_name": self.sync_name,
            "full": self.full,
            "full_every": self.full_every,
            "dry_run": self.only_counts,
            "on_duplicate_key": self.on_duplicate_key != "fail",
        }
        if useless := next((name for name, value in given.items() if value), None):
            raise ValueError(f"{useless} does nothing without only_changes=True. Set both, or remove it")

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

    def _changes(self, submission: Submission) -> TaskChanges | None:
        """Return what streams only the changed rows, None if all are to be streamed."""
        if not self.only_changes:
            return None
        try:
            from airflow_provider_smartech.tasks.changes import TaskChanges
            from airflow_provider_smartech.tasks.sync import TaskSync
        except ModuleNotFoundError as error:
            raise SmartechConfigurationError(
                f"only_changes=True needs {error.name}. Install airflow-provider-smartech[changes] on the workers."
            ) from error
        sync = TaskSync(
            store=submission.store,
            statuses=submission.settings.statuses,
            max_rejected=self.max_rejected,
            task=submission.task,
            name=self.sync_name or _default_name(submission.task),
            account=submission.hook.account,
            listid=self.example(submission).listid,
            primary_key=str(self.primary_key),
            full=_is_true(self.full),
            full_every=self.full_every,
            keeps_nothing=self.only_counts,
        )
        return TaskChanges(sync=sync, on_duplicate_key=self.on_duplicate_key)

    def _count(self, context: Context) -> dict[str, Any]:
        from airflow_provider_smartech.staging.area import new_folder
        from airflow_provider_smartech.uploads.staged_files import StagedFiles

        submission = self._submission(context, self._wait())
        self._check_before(submission)
        query, changes = self._query(), self._changes(submission)
        if changes is None:
            raise ValueError("dry_run=True needs only_changes=True")
        area = query.area(self._urls.client, self.s3_bucket, new_folder(self.s3_prefix))
        counted = changes.count(query, area)
        self.announce([], context)
        self.nothing_sent(context)
        staged = StagedFiles(files=(), missing_keys=area.missing_keys, changes=counted)
        return {**_result(staged, []), "sent": changes.would_send(counted)}

    def _earlier(self, submission: Submission) -> Staging | None:
        """Return what an earlier try staged for this query, if the task can continue with it."""
        staged, fingerprint = self._staged(submission), self._query().fingerprint(self.s3_bucket, self.s3_prefix)
        staging = staged.usable(fingerprint)

        def request(file: StagedFile) -> BulkUploadParameters:
            return self.request(submission.hook, self._urls.plain_url(self.s3_bucket, file.key))

        if staging is None or not staged.goes_on_with(staging, submission, request):
            return None
        changes = self._changes(submission)
        if changes and not changes.sync.goes_on_with(staging):
            return None
        log.info("Continuing with the %s file(s) that an earlier try staged.", len(staging.files))
        return staging

    def _stage(self, submission: Submission) -> Staging:
        self._check_before(submission)
        submission.check_earlier()
        staged, changes = self._staged(submission), self._changes(submission)
        if changes is None:
            self._forget_base(submission)
        staged.remove_superseded(also_uploaded=self.delete_staged != "never")
        self._streaming = True
        try:
            staging = staged.stage(self._query(), self.s3_bucket, self.s3_prefix, changes)
        finally:
            self._streaming = False
        if changes is None:
            self._record_for_syncs(submission, staging)
        return staging

    def _forget_base(self, submission: Submission) -> None:
        """Forget what earlier syncs of this task have sent, because it now sends something else besides."""
        name = _default_name(submission.task)
        if submission.store.syncs.state(name).base:
            submission.store.syncs.forget(name)
            log.warning("This task no longer has only_changes: if it gets it back, its first sync sends all rows.")

    def _record_for_syncs(self, submission: Submission, staging: Staging) -> None:
        """Record for the syncs of this task, if there were any, what it is about to send: it may be loaded late."""
        from airflow_provider_smartech.uploads.syncs import SyncRun

        name, syncs = _default_name(submission.task), submission.store.syncs
        if staging.files and syncs.state(name).is_recorded:
            rows = sum(file.rows for file in staging.files)
            run = SyncRun.of_all_rows(name, submission.task, staging.folder, files=len(staging.files), rows=rows)
            syncs.add_run(run)

    def _check_before(self, submission: Submission) -> None:
        """Check everything that can be checked before the query runs."""
        self.example(submission)
        self._urls.check(self.s3_bucket, self.s3_prefix)
        submission.check()
        self._query().database()
        self._urls.check_bucket(self.s3_bucket)
        submission.hook.check_api_key()

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


def _result(staged: StagedFiles, files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the task returns.

    :param files: what is said of each file that was sent.
    """
    sent = sum(file.rows for file in staged.files)
    return {
        "requestids": [file["requestid"] for file in files],
        "rows": sent,
        "bytes": sum(file.bytes for file in staged.files),
        "missing_keys": staged.missing_keys,
        **({"sent": sent, **staged.changes.model_dump()} if staged.changes else {}),
        **{name: total(files, name) for name in COUNTED},
        "files": list(files),
    }


def _default_name(task: TaskTry) -> str:
    """Return what a task's sync is called if it has no name of its own."""
    return f"{task.dag_id}.{task.task_id}" + (f"[{task.map_index}]" if task.map_index >= 0 else "")


def _is_true(value: bool | str) -> bool:
    """Return what ``full`` says.

    :raises SmartechConfigurationError: it is rendered to another text.
    """
    text = str(value).strip().lower()
    if text not in (*YES, *NO):
        raise SmartechConfigurationError(f"full must be true or false, or a template of one; got {value!r}.")
    return text in YES
