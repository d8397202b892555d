"""The operator that submits a hosted CSV of contacts to Smartech."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperator
from pydantic import SecretStr

from airflow_provider_smartech.errors import UploadNotCompleted, UploadTimeout
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.parameters import BulkUploadParameters
from airflow_provider_smartech.redaction import SecretUrl, mask
from airflow_provider_smartech.submissions import OnUnknownOutcome, Submission, task_try
from airflow_provider_smartech.uploads import Upload
from airflow_provider_smartech.waits import Wait

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


class SmartechBulkUploadOperator(BaseOperator):
    """Submits a hosted CSV of contacts to Smartech and pushes its ``requestid`` to XCom.

    Smartech loads the file in the background after the answer. Unless ``callback`` is given, the request carries a
    callback of this provider's own, by which ``SmartechBulkUploadSensor``, or this task with
    ``wait_for_completion``, learns that the upload is complete.

    A retry first looks at what the tries before it did: it takes an upload that Smartech accepted, and sends one
    again only if that failed, was never accepted, or its outcome is unknown and ``on_unknown_outcome`` allows it.
    Clearing a task that handed over its requestid uploads anew.

    Rests on Smartech's page "Add Bulk Contact".

    :param path: absolute http(s) URL of the CSV, which Smartech's servers fetch; a signed link must stay valid for
        hours. Its query is never shown.
    :param listid: number of the list to add the contacts to.
    :param notifyemail: e-mail address that Smartech notifies at completion.
    :param callback: a ping-back URL of your own, instead of this provider's; the end of the upload is then not
        known here.
    :param smartech_conn_id: connection with the API key.
    :param wait_for_completion: succeed only when the ping-back says that the upload is complete.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param timeout: how long to wait, in seconds or as a timedelta; 24 hours by default.
    :param on_unknown_outcome: what a retry does when nothing is known of the upload before it: ``"resubmit"`` sends
        it again with a warning (contacts are upserted), ``"fail"`` fails.

    :raises SmartechInvalidParameter: a parameter is wrong; nothing was sent.
    :raises SmartechRefused: Smartech said no.
    :raises SmartechNotReached: Smartech could not be reached.
    :raises SmartechOutcomeUnknown: the request was sent, but no clear answer came.
    :raises UploadFailed: the upload that was waited for failed.
    :raises UploadStatusUnrecognised: it ended with a status that nobody recognises.
    :raises UploadTimeout: no ping-back came in time.
    """

    template_fields: Sequence[str] = ("path", "listid", "notifyemail", "callback", "smartech_conn_id")
    ui_color = "#fde8d7"

    def __init__(
        self,
        *,
        path: str,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | None = None,
        smartech_conn_id: str = SmartechHook.default_conn_name,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: float | timedelta = timedelta(hours=24),
        on_unknown_outcome: OnUnknownOutcome = "resubmit",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_unknown_outcome not in ("resubmit", "fail"):
            raise ValueError(f"on_unknown_outcome must be 'resubmit' or 'fail'; got {on_unknown_outcome!r}")
        self.path: str | SecretUrl = path
        self.listid = listid
        self.notifyemail = notifyemail
        self.callback: str | SecretStr | None = callback
        self.smartech_conn_id = smartech_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)
        self.on_unknown_outcome = on_unknown_outcome

    def execute(self, context: Context) -> str:
        """Submit the file, or take what an earlier try submitted, and return its requestid."""
        parameters = BulkUploadParameters.check(self.path, self.listid, self.notifyemail, self.callback)
        wait = Wait(timeout=self.timeout)
        submission = self._submission(context, wait)
        upload = submission.send(parameters)
        context["ti"].xcom_push(key="requestid", value=upload.requestid)
        if not self.wait_for_completion:
            return self._hand_over(submission, upload)
        if self.deferrable and not wait.has_ended(upload):
            self.defer(trigger=wait.trigger(upload), method_name="execute_complete", timeout=wait.backstop)
        return self._finish(submission, wait, wait.block(upload))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Finish the task after the deferred wait; the upload store has the last word on what happened."""
        wait = Wait(timeout=self.timeout)
        return self._finish(self._submission(context, wait), wait, wait.resume(event))

    def _finish(self, submission: Submission, wait: Wait, upload: Upload) -> str:
        try:
            wait.conclude(upload)
        except (UploadNotCompleted, UploadTimeout):
            submission.hand_over(upload, "not completed")
            raise
        return self._hand_over(submission, upload)

    def _hand_over(self, submission: Submission, upload: Upload) -> str:
        submission.hand_over(upload, "handed over")
        return upload.requestid

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
        if isinstance(self.path, str):
            self.path = SecretUrl(self.path)
            mask(self.path.secrets())
        if isinstance(self.callback, str):
            mask([self.callback])
            self.callback = SecretStr(self.callback)

    def _submission(self, context: Context, wait: Wait) -> Submission:
        return Submission(
            hook=SmartechHook(self.smartech_conn_id),
            store=wait.store,
            settings=wait.settings,
            task=task_try(context),
            waits=self.wait_for_completion,
            on_unknown_outcome=self.on_unknown_outcome,
        )
