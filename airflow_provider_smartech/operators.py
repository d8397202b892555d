"""Submitting a hosted CSV of contacts to Smartech: the operator, a function for tasks in Python, and the base class."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperator, get_current_context
from pydantic import SecretStr

from airflow_provider_smartech.api.parameters import BulkUploadParameters
from airflow_provider_smartech.assets import lineage
from airflow_provider_smartech.assets.contact_list import list_uri
from airflow_provider_smartech.assets.outlets import announce_updates, check_outlets, lists_of
from airflow_provider_smartech.errors import SmartechTerminalError, UploadNotCompleted, UploadTimeout, WaitBroken
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.links import SmartechPanelLink, SmartechUploadLink
from airflow_provider_smartech.redaction import SecretUrl, mask
from airflow_provider_smartech.uploads.row_counts import checked_max_rejected

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_smartech.tasks.submission import OnUnknownOutcome, Submission
    from airflow_provider_smartech.tasks.under_way import UnderWay
    from airflow_provider_smartech.tasks.wait import Wait
    from airflow_provider_smartech.uploads.upload import Upload

__all__ = ["SmartechBaseOperator", "SmartechBulkUploadOperator", "submit_upload"]

log = logging.getLogger(__name__)

# The XCom with the uploads that a deferred task waits for.
WAITS_FOR = "waits_for"

Summaries: TypeAlias = "Sequence[dict[str, Any]] | None"


def as_timedelta(value: float | timedelta) -> timedelta:
    """Return a duration that is given in seconds or as a timedelta."""
    return value if isinstance(value, timedelta) else timedelta(seconds=value)


@dataclass(frozen=True, kw_only=True)
class HostedFile:
    """A file for Smartech to fetch: its ``plain_url``, and ``make_url``, which returns the URL to send if it is needed.

    ``source`` is its URL for lineage, if that is a different one; ``rows`` is the number of rows, if known, and
    ``of_rows`` that of the query that it is a part of, if only what changed is sent.
    """

    plain_url: str | SecretUrl
    make_url: Callable[[], str | SecretUrl]
    source: str | None = None
    rows: int | None = None
    of_rows: int | None = None


class SmartechBaseOperator(BaseOperator, ABC):
    """Submits hosted CSVs of contacts to Smartech; a subclass says which. Returns the requestid.

    Based on Smartech's page "Add Bulk Contact".

    Smartech loads the files in the background after the answer. Unless ``callback`` is given, each request carries
    this provider's callback. It tells ``SmartechBulkUploadSensor``, or this task with ``wait_for_completion``, that
    the upload is complete.

    A retry first checks the uploads of earlier tries. It reuses an upload that Smartech accepted. It sends an upload
    again only if the earlier one failed, was not accepted, or has an unknown outcome and ``on_unknown_outcome`` allows
    it. Clearing a task that handed over its requestid uploads again.

    With ``wait_for_completion`` the task also pushes the XCom ``summaries``, for each upload the summary that
    ``SmartechBulkUploadSensor`` returns. It also emits the asset event ``smartech://<idc>/<listid>``, or
    ``smartech://<idc>/<account>/<listid>`` if the connection names its account, to schedule other DAGs. Without
    ``wait_for_completion``, nothing is loaded yet when the task succeeds, and the sensor emits the event.

    :param listid: number of the list to add the contacts to; the connection's ``listid`` by default.
    :param notifyemail: e-mail address that Smartech notifies at completion; the connection's ``notifyemail`` by
        default.
    :param callback: your own ping-back URL instead of this provider's; the provider then cannot know when the upload
        ends.
    :param smartech_conn_id: connection with the API key.
    :param wait_for_completion: succeed only when the ping-back says that the upload is complete.
    :param deferrable: wait in the triggerer, without a worker slot; Airflow's ``[operators] default_deferrable`` by
        default. It needs ``wait_for_completion``.
    :param timeout: how long to wait, in seconds or as a timedelta; 24 hours by default. Then the task fails without
        retries. If files are sent some at a time, the time begins anew when others were sent.
    :param max_rejected: how many rows of a file Smartech may reject: a number (an int), or a share of the rows (a float
        such as ``0.01``). By default rejected rows cause a warning, and only a file without any accepted row fails.
        It needs ``wait_for_completion``.
    :param on_unknown_outcome: what a retry does if the outcome of the earlier upload is not known: ``"resubmit"``
        sends it again with a warning (contacts are upserted), ``"fail"`` fails.

    :raises SmartechInvalidParameter: a parameter is wrong; nothing was sent.
    :raises SmartechRefused: Smartech refused the upload.
    :raises SmartechNotReached: Smartech could not be reached.
    :raises SmartechOutcomeUnknown: the request was sent, but no clear answer came.
    :raises UploadFailed: the upload that was waited for failed.
    :raises UploadRowsRejected: none of its rows was accepted, or more than ``max_rejected`` were rejected.
    :raises UploadStatusUnrecognised: it ended with a status that is not recognised.
    :raises UploadTimeout: no ping-back came in time.
    """

    template_fields: Sequence[str] = ("listid", "notifyemail", "callback", "smartech_conn_id")
    operator_extra_links = (SmartechUploadLink(), SmartechPanelLink())
    ui_color = "#fde8d7"

    uploads_at_once: int | None = None
    """How many uploads may be under way at a time if the task waits; None for all."""

    def __init__(
        self,
        *,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | None = None,
        smartech_conn_id: str = SmartechHook.default_conn_name,
        wait_for_completion: bool = False,
        deferrable: bool | None = None,
        timeout: float | timedelta = timedelta(hours=24),
        max_rejected: float | None = None,
        on_unknown_outcome: OnUnknownOutcome = "resubmit",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_choice(on_unknown_outcome)
        if deferrable and not wait_for_completion:
            raise ValueError(
                "deferrable=True does nothing without wait_for_completion=True: the task would succeed before Smartech "
                "has loaded anything. Set both, or remove it and wait with SmartechBulkUploadSensor(deferrable=True)"
            )
        if max_rejected is not None and not wait_for_completion:
            raise ValueError(
                "max_rejected does nothing without wait_for_completion=True: the numbers of rows come with the "
                "ping-back. Set both, or give it to SmartechBulkUploadSensor"
            )
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.listid = listid
        self.notifyemail = notifyemail
        self.callback: str | SecretStr | None = callback
        self.smartech_conn_id = smartech_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = as_timedelta(timeout)
        self.max_rejected = checked_max_rejected(max_rejected)
        self.on_unknown_outcome = on_unknown_outcome
        self._submitted: Sequence[Upload] = ()
        self._check_outlets()

    @abstractmethod
    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the files to submit, one upload for each file."""

    def announce(self, requestids: Sequence[str], context: Context) -> None:
        """Push the requestid to XCom, before the wait; called again if other files are sent after a wait."""
        context["ti"].xcom_push(key="requestid", value=requestids[0])

    def nothing_sent(self, context: Context) -> None:
        """Do what is to be done if there was nothing to upload, and the task succeeds."""

    def outcome(self, uploads: Sequence[Upload], submission: Submission, summaries: Summaries) -> Any:
        """Return the task's return value. The task has finished: if it waits, all uploads are complete.

        ``summaries`` are those of ``Upload.summary``, one for each upload; None if the task does not wait.
        """
        return uploads[0].requestid

    def request(self, hook: SmartechHook, path: str | SecretUrl) -> BulkUploadParameters:
        """Return the request's parameters for one file.

        :raises SmartechInvalidParameter: one of the parameters is wrong, or an outlet is a different list.
        :raises SmartechConfigurationError: the connection is wrong.
        """
        parameters = hook.parameters(path, self.listid, self.notifyemail, self.callback)
        check_outlets(self.outlets, [list_uri(hook.account.idc, hook.account.name, parameters.listid)])
        return parameters

    def execute(self, context: Context) -> Any:
        """Submit the files, or reuse the uploads of an earlier try, and wait for them if configured."""
        self._check_outlets()
        self._compare_timeouts()
        wait = self._wait()
        submission = self._submission(context, wait)
        files = self.hosted(submission)
        at_once = self.uploads_at_once if self.wait_for_completion else None
        under_way = self._under_way().begun(wait, _paths(files), at_once)
        return self._go_on(files, under_way, submission, context)

    def _go_on(self, files: Sequence[HostedFile], under_way: UnderWay, submission: Submission, context: Context) -> Any:
        """Send what is left, as many files at a time as are allowed, and wait for them if configured."""
        while True:
            before = len(under_way.sent)
            while room := under_way.room:
                parts = range(len(under_way.sent), len(under_way.sent) + room)
                under_way.add([self._send(submission, files[part], part) for part in parts])
            if len(under_way.sent) > before or not under_way.files:
                self.announce(list(under_way.sent.values()), context)
            if not self.wait_for_completion:
                return self._hand_over(under_way.all(), submission)
            if under_way.is_over:
                return self._finish(under_way, submission, context)
            if self.deferrable:
                trigger = under_way.trigger()
                context["ti"].xcom_push(key=WAITS_FOR, value=under_way.kept())
                self.defer(trigger=trigger, method_name="execute_complete", timeout=under_way.wait.backstop)
            under_way.block()

    def _send(self, submission: Submission, file: HostedFile, part: int) -> Upload:
        hook = submission.hook
        request = self.request(hook, file.plain_url)
        # Before the request is sent: after that, only the upload itself may fail the task.
        lineage.collect(hook, file.source or str(request.path), hook.account, request.listid)
        return submission.send(request, part, lambda: self.request(hook, file.make_url()), file.rows, file.of_rows)

    def _compare_timeouts(self) -> None:
        """Warn if Airflow ends the task before its wait is over."""
        if self.wait_for_completion and self.execution_timeout and self.execution_timeout < self.timeout:
            log.warning(
                "execution_timeout (%s) ends this task before timeout (%s): if no ping-back has come until then, the "
                "upload may still be running, and a retry waits for it again. Use only timeout.",
                self.execution_timeout,
                self.timeout,
            )

    def _check_outlets(self) -> None:
        if not self.wait_for_completion:
            _check_no_list(self.outlets)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on after the deferred wait; the upload store decides what happened."""
        wait = self._wait()
        submission = self._submission(context, wait)
        under_way = self._under_way().resumed(wait, self._kept(context), event)
        files: Sequence[HostedFile] = ()
        if under_way.room:
            files = self.hosted(submission)
            request = self.request(submission.hook, files[0].plain_url)
            under_way.check_unchanged(_paths(files), submission.hook.account, request.listid)
        return self._go_on(files, under_way, submission, context)

    def _kept(self, context: Context) -> Any:
        ti = context["ti"]
        return ti.xcom_pull(task_ids=ti.task_id, key=WAITS_FOR, map_indexes=ti.map_index)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume like every operator, but check the uploads once more if Airflow's own timeout has passed."""
        from airflow_provider_smartech.tasks.wait import is_timeout

        if not is_timeout(next_method, next_kwargs):
            return super().resume_execution(next_method, next_kwargs, context)
        # The trigger's data is lost in this case.
        kept = self._kept(context)
        keys = kept.get("watched") if isinstance(kept, dict) else None
        return self.execute_complete(context, {"keys": keys, "event": "timed out"})

    def sources(self) -> OperatorLineage[Any, Any] | None:
        """Return the contacts' source for OpenLineage."""
        return None

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Return the lineage from the contacts' source to the Smartech lists; the OpenLineage provider calls this."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        found = self.sources() or OperatorLineage()
        found.outputs = lineage.list_datasets(self._submitted)
        return found

    # Imported here: DAG files are parsed every few seconds, but their tasks run rarely.
    def _wait(self) -> Wait:
        from airflow_provider_smartech.tasks.wait import Wait

        return Wait(self.timeout, self.max_rejected)

    def _under_way(self) -> type[UnderWay]:
        from airflow_provider_smartech.tasks.under_way import UnderWay

        return UnderWay

    def _submission(self, context: Context, wait: Wait) -> Submission:
        from airflow_provider_smartech.tasks.submission import Submission, task_try

        return Submission(
            hook=SmartechHook(self.smartech_conn_id),
            store=wait.store,
            settings=wait.settings,
            task=task_try(context),
            waits=self.wait_for_completion,
            on_unknown_outcome=self.on_unknown_outcome,
            max_rejected=self.max_rejected,
        )

    def _finish(self, under_way: UnderWay, submission: Submission, context: Context) -> Any:
        wait, uploads, left = under_way.wait, under_way.all(), under_way.left
        if left:
            log.error("%s of %s files are not sent, because of what became of the others.", left, under_way.files)
        summaries: list[dict[str, Any]] = []
        failures: list[UploadNotCompleted | UploadTimeout] = []
        for upload in uploads:
            try:
                summaries.append(wait.conclude(upload))
            except (UploadNotCompleted, UploadTimeout) as failure:
                failures.append(failure)
                wait.patiently(submission.hand_over, upload, "not completed")
        if failures:
            # If one upload must not be retried, none is: a retry sends all of them again.
            failures.sort(key=lambda failure: not isinstance(failure, SmartechTerminalError))
            for other in failures[1:]:
                log.error("%s", other)
            raise failures[0]
        if left:
            raise WaitBroken(f"{left} of {under_way.files} files are not sent; a retry sends them.")
        if not uploads:
            self.nothing_sent(context)
        context["ti"].xcom_push(key="summaries", value=summaries)
        announce_updates(context, self, uploads, summaries, undeclared=wait.settings.asset_events)
        for upload in uploads:
            wait.patiently(submission.hand_over, upload, "handed over")
        self._submitted = uploads
        return wait.patiently(self.outcome, uploads, submission, summaries)

    def _hand_over(self, uploads: Sequence[Upload], submission: Submission) -> Any:
        """End a task that does not wait."""
        for upload in uploads:
            submission.hand_over(upload, "handed over")
        self._submitted = uploads
        return self.outcome(uploads, submission, None)

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        """Render as usual, then hide what Airflow must not store or show as a rendered template."""
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        self.hide()

    def hide(self) -> None:
        """Wrap rendered fields that hold secrets, so that the secrets are not shown."""
        if isinstance(self.callback, str):
            mask([self.callback])
            self.callback = SecretStr(self.callback)


def _paths(files: Sequence[HostedFile]) -> list[str]:
    """Return what identifies each file."""
    urls = (file.plain_url for file in files)
    return [url.get_secret_value() if isinstance(url, SecretUrl) else url for url in urls]


def _check_choice(on_unknown_outcome: str) -> None:
    if on_unknown_outcome not in ("resubmit", "fail"):
        raise ValueError(f"on_unknown_outcome must be 'resubmit' or 'fail'; got {on_unknown_outcome!r}")


def _check_no_list(outlets: Iterable[object]) -> None:
    """Check that a task that does not wait has no list as its outlet."""
    if lists_of(outlets):
        raise ValueError(
            "outlets: without wait_for_completion the task succeeds before Smartech has loaded anything, and its "
            "event would say that the list was updated. Set wait_for_completion, or move the outlet to the sensor"
        )


class SmartechBulkUploadOperator(SmartechBaseOperator):
    """Submits a hosted CSV of contacts to Smartech and pushes its ``requestid`` to XCom.

    The other parameters, the retries and the errors are those of ``SmartechBaseOperator``.

    :param path: absolute http(s) URL of the CSV, which Smartech's servers fetch; a signed URL must stay valid for
        hours. Its query is in no log, XCom, rendered template or page, but a query in the DAG file is in Airflow's
        view of the code: read it from a connection or a variable.
    """

    template_fields: Sequence[str] = ("path", *SmartechBaseOperator.template_fields)

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path: str | SecretUrl = path

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the one file."""
        return [HostedFile(plain_url=self.path, make_url=lambda: self.path)]

    def sources(self) -> OperatorLineage[Any, Any]:
        """Return the file."""
        return lineage.of_hosted(str(self.path))

    def hide(self) -> None:
        """Hide the query of the path as well."""
        super().hide()
        if isinstance(self.path, str):
            self.path = SecretUrl(self.path)
            mask(self.path.secrets())


def submit_upload(
    path: str,
    *,
    listid: int | str | None = None,
    notifyemail: str | None = None,
    smartech_conn_id: str = SmartechHook.default_conn_name,
    on_unknown_outcome: OnUnknownOutcome = "resubmit",
) -> str:
    """Submit a hosted CSV from a running task, such as a ``@task``, and return the requestid for the sensor.

    It does what ``SmartechBulkUploadOperator`` does without waiting: it records the upload, sends it once with this
    provider's callback, and hands it over. A retry of the task returns the requestid of an upload that Smartech
    accepted, and sends nothing again. Clearing the task uploads again.

    It may be called several times in a task: an earlier try's upload is recognised by its file, list and connection,
    in any order of the calls. Two calls with the same file are two uploads. So a retry must name the same file again: a
    URL that is different in each try, other than by its signature, is another file.

    :param path: absolute http(s) URL of the CSV, which Smartech's servers fetch; a signed link must stay valid for
        hours. Its query is in no log, XCom, rendered template or page.
    :param listid: number of the list to add the contacts to; the connection's ``listid`` by default.
    :param notifyemail: e-mail address that Smartech notifies at completion; the connection's ``notifyemail`` by
        default.
    :param smartech_conn_id: connection with the API key.
    :param on_unknown_outcome: what a retry does if the outcome of the earlier upload is not known: ``"resubmit"``
        sends it again with a warning (contacts are upserted), ``"fail"`` fails; then it also fails, and sends nothing,
        if the unknown outcome is that of another file of the task.

    :raises RuntimeError: no task is running here.
    :raises SmartechInvalidParameter: a parameter is wrong; nothing was sent.
    :raises SmartechConfigurationError: the connection or ``[smartech]`` is wrong; nothing was sent.
    :raises SmartechRefused: Smartech refused the upload.
    :raises SmartechThrottled: Smartech asked to try later (HTTP 429).
    :raises SmartechNotReached: Smartech could not be reached.
    :raises SmartechOutcomeUnknown: the request was sent, but no clear answer came.
    """
    # Imported here: DAG files are parsed every few seconds, but their tasks run rarely.
    from airflow_provider_smartech.config.settings import Settings
    from airflow_provider_smartech.config.upload_store import open_upload_store
    from airflow_provider_smartech.tasks.submission import Submission, task_try

    context = _context()
    _check_choice(on_unknown_outcome)
    _check_no_list(context["task"].outlets)
    hook, settings = SmartechHook(smartech_conn_id), Settings.load()
    submission = Submission(
        hook=hook,
        store=open_upload_store(settings.upload_store),
        settings=settings,
        task=task_try(context),
        waits=False,
        on_unknown_outcome=on_unknown_outcome,
        by_file=True,
    )
    request = hook.parameters(path, listid, notifyemail)
    mask(request.secrets())
    lineage.collect(hook, str(request.path), hook.account, request.listid)
    upload = submission.send(request)
    submission.hand_over(upload, "handed over")
    return upload.requestid


def _context() -> Context:
    try:
        return get_current_context()
    except RuntimeError:
        raise RuntimeError(
            "submit_upload needs a running task, which it records with the upload: call it in a @task or in an "
            "operator's execute, not while the DAG file is read"
        ) from None
