"""The operators that bring contacts from S3 and from a database to Smartech."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property, partial
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args
from urllib.parse import quote

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import BaseHook

from airflow_provider_smartech.assets import lineage
from airflow_provider_smartech.assets.contact_list import COUNTED, total
from airflow_provider_smartech.errors import (
    ContactsEmpty,
    ContactsWithoutKey,
    SmartechConfigurationError,
    SmartechOutcomeUnknown,
    TaskKilled,
    UploadStoreError,
)
from airflow_provider_smartech.operators import HostedFile, SmartechBaseOperator, as_timedelta
from airflow_provider_smartech.redaction import SecretUrl
from airflow_provider_smartech.staging.s3_urls import S3Links, UrlMode

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_smartech.operators import Summaries
    from airflow_provider_smartech.uploads.staged_files import Staging
    from airflow_provider_smartech.staging.area import StagingArea
    from airflow_provider_smartech.uploads.store import UploadStore
    from airflow_provider_smartech.tasks.submission import Submission
    from airflow_provider_smartech.uploads.upload import TaskTry, Upload

log = logging.getLogger(__name__)

OnMissingKey = Literal["fail", "skip"]
OnEmpty = Literal["skip", "fail", "submit"]
DeleteStaged = Literal["on_success", "always", "never"]


class _S3Operator(SmartechBaseOperator):
    """Submits objects of an S3 bucket; the public operators describe the parameters."""

    template_fields: Sequence[str] = ("s3_bucket", "aws_conn_id", *SmartechBaseOperator.template_fields)

    def __init__(
        self,
        *,
        s3_bucket: str,
        aws_conn_id: str | None = "aws_default",
        url_mode: UrlMode = "presigned",
        url_validity: float | timedelta = timedelta(hours=24),
        url_minimum_validity: float | timedelta = timedelta(minutes=15),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if s3_bucket.startswith("s3://"):
            raise ValueError(f"s3_bucket must be the name of a bucket, without s3://; got {s3_bucket!r}")
        self.s3_bucket = s3_bucket
        self.aws_conn_id = aws_conn_id
        self.url_mode = url_mode
        self.url_validity = as_timedelta(url_validity)
        self.url_minimum_validity = as_timedelta(url_minimum_validity)
        # A wrong choice is an error when the DAG is read; the connection's id may still be a template.
        self._new_links()

    @cached_property
    def _links(self) -> S3Links:
        # Once for a task, because making clients of S3 takes long; it is first needed when the templates are rendered.
        return self._new_links()

    def _new_links(self) -> S3Links:
        return S3Links(
            aws_conn_id=self.aws_conn_id,
            url_mode=self.url_mode,
            validity=self.url_validity,
            minimum_validity=self.url_minimum_validity,
        )


class S3ToSmartechOperator(_S3Operator):
    """Submits a CSV of contacts that is in S3 already, and returns its ``requestid``.

    Before anything is sent, the first bytes of the object are read: it must be plain CSV that begins with a header in
    UTF-8, without blank or repeated columns.

    The parameters about Smartech and the wait, the retries and the errors are those of
    ``SmartechBulkUploadOperator``.

    :param s3_bucket: name of the bucket.
    :param s3_key: key of the object.
    :param primary_key: column that the header must have, such as ``EMAIL``.
    :param aws_conn_id: AWS connection that reads the object and signs the link.
    :param url_mode: ``"presigned"`` gives Smartech a signed link; ``"direct"`` the plain https address, for a bucket
        whose policy admits Smartech's servers.
    :param url_validity: how long a signed link is valid, in seconds or as a timedelta, 7 days at most: Smartech
        fetches the file some time after its answer.
    :param url_minimum_validity: where the AWS credentials are temporary, a link dies with them; it is an error if
        they expire within this time.

    :raises ContactsRefused: the object is not there, or is no CSV that Smartech could load.
    :raises ContactsStorageError: S3 does not show the object.
    :raises SmartechConfigurationError: the AWS credentials cannot sign a link that lives long enough.
    """

    template_fields: Sequence[str] = ("s3_key", "primary_key", *_S3Operator.template_fields)

    def __init__(self, *, s3_key: str, primary_key: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.s3_key = s3_key
        self.primary_key = primary_key

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the object; its beginning is looked at before it is sent."""
        links = self._links
        return [
            HostedFile(
                address=links.address(self.s3_bucket, self.s3_key),
                link=lambda: self._checked_link(links),
                source=f"s3://{self.s3_bucket}/{quote(self.s3_key)}",
            )
        ]

    def sources(self) -> OperatorLineage[Any, Any]:
        """Return the object."""
        return lineage.of_file(f"s3://{self.s3_bucket}", self.s3_key)

    def _checked_link(self, links: S3Links) -> SecretUrl:
        from airflow_provider_smartech.staging.csv_header import check_object

        check_object(links.client, self.s3_bucket, self.s3_key, self.primary_key)
        return links.link(self.s3_bucket, self.s3_key)


class SqlToSmartechOperator(_S3Operator):
    """Streams a query into CSV on S3, and submits that to Smartech.

    Memory stays flat however many rows there are. PostgreSQL writes the CSV itself (``COPY``), drivers that give Arrow
    batches are read by these, all others by ``fetchmany``; the bytes are the same.

    A retry goes on with the files that an earlier try has staged. Clearing the task asks the database anew.

    Returns ``{"requestids": […], "rows": …, "bytes": …, "missing_keys": …, "accepted": …, "rejected": …, "files":
    [{"requestid", "key", "rows", "bytes", "accepted", "rejected"}]}``; ``accepted`` and ``rejected`` are None where the
    task does not wait or a ping-back named no numbers. ``requestids`` is pushed to XCom by that name as soon as all
    files are submitted.

    The parameters about Smartech and the wait, the retries and the errors are those of
    ``SmartechBulkUploadOperator``.

    :param sql: one SELECT, or the name of a ``.sql`` file; templated.
    :param conn_id: connection of any database whose hook is a ``DbApiHook``.
    :param s3_bucket: name of the bucket to stage the files in.
    :param s3_prefix: folder in it; below, the files get names that nobody can guess.
    :param columns: new names for columns of the query, such as ``{"email": "EMAIL"}``; the others keep theirs.
    :param parameters: values for the query's placeholders, bound by the driver.
    :param hook_params: arguments for the database's hook.
    :param primary_key: column of the file without which Smartech cannot tell the contact.
    :param on_missing_key: what rows do where it is NULL or blank: ``"fail"`` the task, or be left out (``"skip"``).
    :param on_empty: what becomes of the task without rows: ``"skip"``, ``"fail"``, or ``"submit"`` the header alone.
    :param max_rows_per_file: splits the rows into files of so many, each with a requestid of its own.
    :param delete_staged: removes the staged files, earlier tries' included: ``"on_success"`` (the default if the task
        waits for completion), ``"always"`` also when it has failed for good, or ``"never"`` (the default otherwise:
        Smartech has yet to fetch them). Files that were superseded before Smartech was told of them are always removed.
    :param upload_args: what S3 is told of the files, such as ``{"ServerSideEncryption": "aws:kms"}``.
    :param aws_conn_id: AWS connection that writes the files and signs the links.
    :param url_mode: ``"presigned"`` gives Smartech a signed link; ``"direct"`` the plain https address, for a bucket
        whose policy admits Smartech's servers.
    :param url_validity: how long a signed link is valid, in seconds or as a timedelta, 7 days at most: Smartech
        fetches the file some time after its answer.
    :param url_minimum_validity: where the AWS credentials are temporary, a link dies with them; it is an error if
        they expire within this time.

    :raises ContactsRefused: the query's columns or values cannot be uploaded.
    :raises ContactsWithoutKey: rows have no primary key, and ``on_missing_key`` is ``fail``.
    :raises ContactsEmpty: there are no rows, and ``on_empty`` is ``fail``.
    :raises ContactsQueryFailed: the database stopped the query while rows were read.
    :raises ContactsStorageError: S3 does not take the files.
    :raises SmartechConfigurationError: a connection is not of the right kind, or its credentials expire too soon.
    """

    template_fields: Sequence[str] = (
        "sql",
        "conn_id",
        "parameters",
        "hook_params",
        "s3_prefix",
        "columns",
        "primary_key",
        *_S3Operator.template_fields,
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
        _one_of("on_missing_key", on_missing_key, OnMissingKey)
        _one_of("on_empty", on_empty, OnEmpty)
        if max_rows_per_file is not None and (not isinstance(max_rows_per_file, int) or max_rows_per_file < 1):
            raise ValueError(
                f"max_rows_per_file must be a whole number from 1 on, or None for one file; got {max_rows_per_file!r}"
            )
        if columns is not None and not isinstance(columns, dict):
            raise ValueError(f"columns must be a dict of old and new names; got {columns!r}")
        delete_staged = delete_staged or ("on_success" if self.wait_for_completion else "never")
        _one_of("delete_staged", delete_staged, DeleteStaged)
        if delete_staged != "never" and not self.wait_for_completion:
            raise ValueError(
                f"delete_staged={delete_staged!r} needs wait_for_completion=True: without it, the files would be gone "
                "before Smartech has fetched them"
            )
        per_part = [name for name in upload_args or {} if name.startswith(("Checksum", "SSECustomer"))]
        if per_part:
            raise ValueError(f"upload_args: {per_part[0]} must go with each part of a file or each fetch; leave it out")
        if self.url_mode == "direct" and str((upload_args or {}).get("ServerSideEncryption")).startswith("aws:kms"):
            raise ValueError(
                "url_mode='direct' must not be used with KMS: S3 gives such objects to signed requests only"
            )
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
        self.delete_staged = delete_staged
        self.upload_args = upload_args
        self._streaming = False

    def execute(self, context: Context) -> Any:
        """Stage and submit the query's rows, or go on where an earlier try ended."""
        with self._tidied(context):
            return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Finish the task after the deferred wait, however that ended."""
        with self._tidied(context):
            return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Break off while rows are streamed, so that nothing stays behind: the task has only seconds left.

        Airflow calls this in between, and would let the task go on.
        """
        if self._streaming:
            raise TaskKilled("The task was killed while it streamed the query; nothing was sent.")

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the staged files."""
        links = self._links
        earlier = self._staging(submission)
        if earlier and self._goes_on_with(earlier, submission, links):
            log.info("Going on with the %s file(s) that an earlier try has staged.", len(earlier.files))
            staging = earlier
        else:
            staging = self._stage(submission, links)
        return [
            HostedFile(
                address=links.address(staging.bucket, file.key),
                link=partial(links.link, staging.bucket, file.key),
                source=f"s3://{staging.bucket}/{quote(file.key)}",
                rows=file.rows,
            )
            for file in staging.files
        ]

    def sources(self) -> OperatorLineage[Any, Any] | None:
        """Return the tables that the query reads, as far as OpenLineage's parser knows them."""
        from airflow.providers.common.compat.openlineage.utils.sql import get_openlineage_facets_with_sql

        found: OperatorLineage[Any, Any] | None = get_openlineage_facets_with_sql(
            hook=self._database(), sql=self.sql, conn_id=self.conn_id, database=None
        )
        return found

    def announce(self, uploads: Sequence[Upload], context: Context) -> None:
        """Push the requestids."""
        context["ti"].xcom_push(key="requestids", value=[upload.requestid for upload in uploads])

    def outcome(self, uploads: Sequence[Upload], submission: Submission, summaries: Summaries) -> dict[str, Any]:
        """Remove the staged files if that is wanted, and return what was uploaded."""
        stagings = submission.store.stagings(submission.task)
        # Not by the query, which may have been changed while the task was deferred.
        staging = next((one for one in stagings if one.holds(uploads[0])), None)
        if staging is None:
            raise UploadStoreError("The upload store has lost what this task staged; its uploads were submitted.")
        if self.delete_staged != "never":
            for one in stagings:
                self._remove(submission.store, one)
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

    def _staging(self, submission: Submission) -> Staging | None:
        """Return the files that this try or an earlier one of this round has staged for this query."""
        stagings, fingerprint = submission.store.stagings(submission.task), self._fingerprint()
        return next((one for one in stagings if one.serves(submission.task, fingerprint)), None)

    def _goes_on_with(self, earlier: Staging, submission: Submission, links: S3Links) -> bool:
        """Whether the files that an earlier try staged are there, or needed no more."""
        from airflow_provider_smartech.staging.area import exist

        if exist(links.client, earlier.bucket, [file.key for file in earlier.files]):
            return True
        requests = [self.request(submission.hook, links.address(earlier.bucket, file.key)) for file in earlier.files]
        standing = [submission.standing(request, part) for part, request in enumerate(requests)]
        if any(standing) and not all(standing) and self.on_unknown_outcome == "fail":
            raise SmartechOutcomeUnknown(
                "Some of the files that an earlier try staged were uploaded, and the others are gone; nothing is sent "
                "again because on_unknown_outcome is 'fail'. Look in Smartech's panel, then clear the task"
            )
        if not all(standing):
            log.warning("The files that an earlier try staged are gone; asking the database again.")
        return all(standing)

    def _stage(self, submission: Submission, links: S3Links) -> Staging:
        from airflow_provider_smartech.uploads.staged_files import StagedFiles, Staging
        from airflow_provider_smartech.staging.area import StagingArea, new_folder

        store, folder = submission.store, new_folder(self.s3_prefix)
        # Whatever can be refused, is refused before the query runs.
        self.request(submission.hook, "https://bucket.example/contacts.csv")
        links.check(self.s3_bucket, folder)
        submission.check()
        submission.check_earlier()
        self._remove_superseded(store, submission.task)
        began = Staging(task=submission.task, fingerprint=self._fingerprint(), bucket=self.s3_bucket, folder=folder)
        staging = store.staging_begins(began)
        area = StagingArea(
            links.client,
            self.s3_bucket,
            folder,
            columns=self.columns or {},
            primary_key=self.primary_key,
            rows_per_file=self.max_rows_per_file,
            arguments=self.upload_args or {},
        )
        self._streaming = True
        try:
            self._stream(area)
            self._judge(area)
            area.complete()
            files = StagedFiles(files=tuple(area.files), missing_keys=area.missing_keys)
            return store.staging_completed(staging, files)
        except BaseException:
            if area.discard():
                with suppress(UploadStoreError):
                    store.staging_removed(staging)
            raise
        finally:
            self._streaming = False

    def _stream(self, area: StagingArea) -> None:
        from airflow_provider_smartech.extracts import send
        from airflow_provider_smartech.extracts.base import Query

        send(self._database(), Query.of(self.sql, self.parameters), area)

    def _judge(self, area: StagingArea) -> None:
        rows = area.rows + area.missing_keys
        if area.missing_keys and self.on_missing_key == "fail":
            raise ContactsWithoutKey("the query", str(self.primary_key), area.missing_keys, rows)
        if area.missing_keys:
            log.warning("%s of %s rows have no %s and are left out.", area.missing_keys, rows, self.primary_key)
        if area.rows:
            return
        if self.on_empty == "fail":
            raise ContactsEmpty("the query")
        if self.on_empty == "skip":
            raise AirflowSkipException("There are no contacts to upload.")
        area.add_header_alone()

    def _database(self) -> DbApiHook:
        from airflow.providers.common.sql.hooks.sql import DbApiHook

        connection = BaseHook.get_connection(self.conn_id)
        hook = connection.get_hook(hook_params=self.hook_params)  # type: ignore[no-untyped-call]
        if not isinstance(hook, DbApiHook):
            raise SmartechConfigurationError(
                f"Connection {self.conn_id!r} is of the type {connection.conn_type!r}, which is no database that "
                "Airflow's DbApiHook reaches. Give conn_id the id of a database's connection."
            )
        return hook

    def _fingerprint(self) -> str:
        """Return a hash of what makes it this query and these files."""
        parts: list[Any] = [self.sql, self.conn_id, self.s3_bucket, self.s3_prefix, self.columns, self.parameters]
        parts += [self.primary_key, self.on_missing_key, self.on_empty, self.max_rows_per_file]
        return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:40]

    @contextmanager
    def _tidied(self, context: Context) -> Iterator[None]:
        """With ``delete_staged="always"``, remove the staged files when the task has failed for good."""
        from airflow_provider_smartech.uploads.store import UploadStore
        from airflow_provider_smartech.tasks.submission import task_try

        try:
            yield
        except TaskDeferred:
            raise
        except BaseException as error:
            ti = context["ti"]
            over = isinstance(error, AirflowFailException) or ti.try_number > ti.max_tries
            if self.delete_staged == "always" and over:
                try:
                    self._remove_superseded(UploadStore.configured(), task_try(context))
                except Exception as failure:  # noqa: BLE001 - it must not take the place of what ended the task
                    log.warning("Staged files may be left in S3. %s", failure)
            raise

    def _remove_superseded(self, store: UploadStore, task: TaskTry) -> None:
        """Remove what the tries of this task have staged so far, but nothing that Smartech may have yet to fetch."""
        from airflow_provider_smartech.config.settings import Settings
        from airflow_provider_smartech.uploads.upload import State

        settings = Settings.load()
        left = [staging for staging in store.stagings(task) if not staging.removed]
        uploads = self._uploads(store, task) if left else []
        for staging in left:
            sent = [one for one in uploads if staging.holds(one)]
            states = {one.key: one.progress(settings.statuses, settings.pingbacks_expected).state for one in sent}
            taken = [one for one in sent if states[one.key] is not State.NOT_ACCEPTED]
            if self.delete_staged != "never":
                taken = [one for one in taken if not states[one.key].ended and not one.given_up]
            self._remove(store, staging, {one.record.file for one in taken})

    def _uploads(self, store: UploadStore, task: TaskTry) -> list[Upload]:
        """Return what the tries of this task have uploaded so far, whatever the file."""
        parts = takewhile(bool, (store.of_task(task.for_part(part)) for part in count()))
        return [upload for uploads in parts for upload in uploads]

    def _remove(self, store: UploadStore, staging: Staging, spare: Collection[str] = ()) -> None:
        from airflow_provider_smartech.staging.area import remove_folder

        if staging.removed:
            return
        if spare:
            log.warning("%s of %s stay: Smartech may have yet to fetch them.", ", ".join(sorted(spare)), staging.url)
        if remove_folder(self._links.client, staging.bucket, staging.folder, spare):
            store.staging_removed(staging)


def _one_of(name: str, value: object, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(choices)))}; got {value!r}")
