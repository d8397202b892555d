"""The sensor that waits until Smartech says that an upload is complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_smartech.assets import announce_updates, check_outlets
from airflow_provider_smartech.errors import SmartechError, SmartechInvalidParameter, UploadTimeout
from airflow_provider_smartech.links import SmartechAwaitedUploadLink

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_smartech.uploads import Upload
    from airflow_provider_smartech.waits import Wait


class SmartechBulkUploadSensor(BaseSensorOperator):
    """Waits until Smartech's ping-back says that an upload is complete, and returns a summary of it.

    Waits for several uploads if it is given a list, and returns the list of their summaries.

    Needs only the requestid, so it may stand in any DAG. It fails at once for a requestid that the upload store does
    not know and for an upload that was sent without this provider's callback; and when the ping-back says that the
    upload failed, or says a word that nobody recognises. With ``soft_fail`` it is skipped instead.

    When all are complete, it emits an asset event for each list that they updated, ``smartech://<idc>/<listid>``.

    The summary has the keys ``requestid``, ``state``, ``counts``, ``submitted_at``, ``completed_at``, ``seconds`` and
    ``payload``.

    :param requestid: what ``SmartechBulkUploadOperator`` returned, or a list such as
        ``sync.output["requestids"]`` of a ``SqlToSmartechOperator``.
    :param deferrable: wait in the triggerer, without a worker slot; looks every ``[smartech] poll_interval`` there.
    :param timeout: how long to wait, in seconds or as a timedelta; Airflow's ``[sensors] default_timeout`` by default.

    :raises UploadUnknown: the upload store has no record of the upload.
    :raises UploadNotTracked: the upload was sent without this provider's callback.
    :raises UploadFailed: the upload failed.
    :raises UploadStatusUnrecognised: it ended with a status that nobody recognises.
    :raises AirflowSensorTimeout: no ping-back came in time.
    """

    template_fields: Sequence[str] = ("requestid",)
    operator_extra_links = (SmartechAwaitedUploadLink(),)
    ui_color = "#fde8d7"

    def __init__(
        self,
        *,
        requestid: str | Sequence[str],
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.requestid = requestid
        self.deferrable = deferrable

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        wait = self._wait()
        uploads = self._find(wait)
        summaries = [wait.look(upload) for upload in uploads]
        if None not in summaries:
            announce_updates(context, self, uploads)
        return PokeReturnValue(is_done=None not in summaries, xcom_value=self._as_given(summaries))

    def execute(self, context: Context) -> Any:
        """Wait as ``deferrable`` and ``mode`` say."""
        try:
            return self._execute_deferrable(context) if self.deferrable else self._execute_here(context)
        except SmartechError as error:
            # Airflow's own soft_fail knows this only of deferred sensors.
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Finish after the deferred wait; the upload store has the last word on what happened."""
        wait = self._wait()
        try:
            uploads = wait.resume(event)
            summaries = [wait.conclude(upload) for upload in uploads]
        except UploadTimeout as error:
            raise AirflowSensorTimeout(str(error)) from error
        announce_updates(context, self, uploads)
        return self._as_given(summaries)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as every sensor does, but say why it is skipped if it is."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            raise _skip_because(skip) from skip.__cause__

    def _execute_deferrable(self, context: Context) -> Any:
        wait = self._wait()
        uploads = self._find(wait)
        summaries = [wait.look(upload) for upload in uploads]
        if None in summaries:
            self.defer(trigger=wait.trigger(uploads), method_name="execute_complete", timeout=wait.backstop)
        announce_updates(context, self, uploads)
        return self._as_given(summaries)

    def _execute_here(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except (AirflowSensorTimeout, AirflowSkipException) as end:
            if end.__cause__:
                raise _skip_because(end) from end.__cause__
            # A time-out, of which the base class knows only how long it waited.
            raise type(end)(str(self._timed_out())) from None

    def _timed_out(self) -> UploadTimeout:
        wait = self._wait()
        upload = next(upload for upload in self._find(wait) if not wait.has_ended(upload))
        return UploadTimeout(upload.requestid, upload.record.at, self.timeout, len(upload.pingbacks))

    def _wait(self) -> Wait:
        # Here, because DAG files are parsed every few seconds, and their tasks run once a night.
        from airflow_provider_smartech.waits import Wait

        return Wait(timeout=timedelta(seconds=self.timeout))

    def _find(self, wait: Wait) -> list[Upload]:
        requestids = [self.requestid] if isinstance(self.requestid, str) else self.requestid
        known = isinstance(requestids, list | tuple) and all(map(_is_requestid, requestids))
        if not known or not requestids:
            raise SmartechInvalidParameter(
                "requestid",
                "give what SmartechBulkUploadOperator returned, or a list such as sync.output['requestids'] of a "
                f"SqlToSmartechOperator, which is no text from a template; got {self.requestid!r}.",
            )
        uploads = [wait.find(requestid) for requestid in requestids]
        check_outlets(self.outlets, [(upload.record.idc, upload.record.listid) for upload in uploads])
        return uploads

    def _as_given(self, summaries: Sequence[dict[str, Any] | None]) -> Any:
        return summaries[0] if isinstance(self.requestid, str) else summaries


def _is_requestid(value: object) -> bool:
    # A list that went through a Jinja template is a text that begins like this.
    return isinstance(value, str) and value.strip() not in ("", "None") and value.strip()[0] not in "[{"


def _skip_because(skip: AirflowException) -> AirflowSkipException:
    """Return a skip that says what the base class only chains."""
    return AirflowSkipException(str(skip.__cause__ or skip))
