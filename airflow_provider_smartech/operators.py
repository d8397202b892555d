"""The operator that submits a hosted CSV of contacts to Smartech, and what all operators that submit share."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
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

log = logging.getLogger(__name__)


def as_timedelta(value: float | timedelta) -> timedelta:
    """Return a time that is given in seconds or as a timedelta."""
    return value if isinstance(value, timedelta) else timedelta(seconds=value)


@dataclass(frozen=True, kw_only=True)
class HostedFile:
    """A file that Smartech is to fetch: its ``address``, and what makes the link that is sent, if one is needed."""

    address: str | SecretUrl
    link: Callable[[], str | SecretUrl]


class SmartechBaseOperator(BaseOperator, ABC):
    """Submits hosted CSVs of contacts to Smartech; a subclass says which. Returns the requestid.

    Rests on Smartech's page "Add Bulk Contact".

    Smartech loads the files in the background after the answer. Unless ``callback`` is given, each request carries a
    callback of this provider's own, by which ``SmartechBulkUploadSensor``, or this task with
    ``wait_for_completion``, learns that the upload is complete.

    A retry first looks at what the tries before it did: it takes an upload that Smartech accepted, and sends one
    again only if that failed, was never accepted, or its outcome is unknown and ``on_unknown_outcome`` allows it.
    Clearing a task that handed over its requestid uploads anew.

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

    template_fields: Sequence[str] = ("listid", "notifyemail", "callback", "smartech_conn_id")
    ui_color = "#fde8d7"

    def __init__(
        self,
        *,
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
        self.listid = listid
        self.notifyemail = notifyemail
        self.callback: str | SecretStr | None = callback
        self.smartech_conn_id = smartech_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = as_timedelta(timeout)
        self.on_unknown_outcome = on_unknown_outcome

    @abstractmethod
    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the files to submit, each for an upload of its own."""

    def announce(self, uploads: Sequence[Upload], context: Context) -> None:
        """Push to XCom what is known when all uploads are submitted, before they are waited for."""
        context["ti"].xcom_push(key="requestid", value=uploads[0].requestid)

    def outcome(self, uploads: Sequence[Upload], submission: Submission) -> Any:
        """Return what the task is to return. It has done its part: if it waits, all uploads are complete."""
        return uploads[0].requestid

    def request(self, path: str | SecretUrl) -> BulkUploadParameters:
        """Return what Smartech is asked for one file.

        :raises SmartechInvalidParameter: one of the parameters is wrong.
        """
        return BulkUploadParameters.check(path, self.listid, self.notifyemail, self.callback)

    def execute(self, context: Context) -> Any:
        """Submit the files, or take what an earlier try submitted, and wait for them if that is asked for."""
        wait = Wait(timeout=self.timeout)
        submission = self._submission(context, wait)
        files = self.hosted(submission)
        uploads = [
            submission.send(self.request(file.address), part, partial(self._signed, file))
            for part, file in enumerate(files)
        ]
        self.announce(uploads, context)
        if not self.wait_for_completion:
            return self._hand_over(uploads, submission)
        if self.deferrable and not all(map(wait.has_ended, uploads)):
            self.defer(trigger=wait.trigger(uploads), method_name="execute_complete", timeout=wait.backstop)
        return self._finish(wait.block(uploads), submission, wait)

    def _signed(self, file: HostedFile) -> BulkUploadParameters:
        return self.request(file.link())

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Finish the task after the deferred wait; the upload store has the last word on what happened."""
        wait = Wait(timeout=self.timeout)
        return self._finish(wait.resume(event), self._submission(context, wait), wait)

    def _submission(self, context: Context, wait: Wait) -> Submission:
        return Submission(
            hook=SmartechHook(self.smartech_conn_id),
            store=wait.store,
            settings=wait.settings,
            task=task_try(context),
            waits=self.wait_for_completion,
            on_unknown_outcome=self.on_unknown_outcome,
        )

    def _finish(self, uploads: Sequence[Upload], submission: Submission, wait: Wait) -> Any:
        failures: list[UploadNotCompleted | UploadTimeout] = []
        for upload in uploads:
            try:
                wait.conclude(upload)
            except (UploadNotCompleted, UploadTimeout) as failure:
                failures.append(failure)
                submission.hand_over(upload, "not completed")
        for other in failures[1:]:
            log.error("%s", other)
        if failures:
            raise failures[0]
        return self._hand_over(uploads, submission)

    def _hand_over(self, uploads: Sequence[Upload], submission: Submission) -> Any:
        for upload in uploads:
            submission.hand_over(upload, "handed over")
        return self.outcome(uploads, submission)

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
        """Replace rendered fields that hold secrets by what does not show them."""
        if isinstance(self.callback, str):
            mask([self.callback])
            self.callback = SecretStr(self.callback)


class SmartechBulkUploadOperator(SmartechBaseOperator):
    """Submits a hosted CSV of contacts to Smartech and pushes its ``requestid`` to XCom.

    The other parameters, the retries and the errors are those of ``SmartechBaseOperator``.

    :param path: absolute http(s) URL of the CSV, which Smartech's servers fetch; a signed link must stay valid for
        hours. Its query is never shown.
    """

    template_fields: Sequence[str] = ("path", *SmartechBaseOperator.template_fields)

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path: str | SecretUrl = path

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        """Return the one file."""
        return [HostedFile(address=self.path, link=lambda: self.path)]

    def hide(self) -> None:
        """Hide the query of the path as well."""
        super().hide()
        if isinstance(self.path, str):
            self.path = SecretUrl(self.path)
            mask(self.path.secrets())
