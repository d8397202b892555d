"""The sensor that waits until Smartech says that an upload is complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from airflow.sdk import BaseOperator

from airflow_provider_smartech.assets.contact_list import uri_of
from airflow_provider_smartech.assets.outlets import announce_updates, check_outlets
from airflow_provider_smartech.errors import (
    SmartechError,
    SmartechInvalidParameter,
    UploadRecordUnreadable,
    UploadStoreError,
    UploadTimeout,
    WaitBroken,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.links import SmartechAwaitedUploadLink
from airflow_provider_smartech.uploads.row_counts import checked_max_rejected

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_smartech.tasks.wait import Wait
    from airflow_provider_smartech.uploads.upload import Upload


class SmartechBulkUploadSensor(BaseSensorOperator):
    """Waits until Smartech's ping-back says that an upload is complete, and returns a summary of it.

    Waits for several uploads if it is given a list, and returns the list of their summaries.

    Needs only the requestid, so it may stand in any DAG. It fails at once for a requestid that the upload store does
    not know and for an upload that was sent without this provider's callback; and when the ping-back says that the
    upload failed, or says a word that nobody recognises. With ``soft_fail`` it is skipped instead.

    When all are complete, it emits an asset event for each list that they updated, ``smartech://<idc>/<listid>``, with
    the account's name in between where the connection has one.

    The summary has the keys ``requestid``, ``state``, ``rows``, ``accepted``, ``rejected`` (None where the ping-back
    named no numbers), ``counts`` (under its own names), ``submitted_at``, ``completed_at``, ``seconds`` and
    ``payload``.

    A storage that fails says nothing of an upload: the sensor looks again until its timeout.

    :param requestid: what ``SmartechBulkUploadOperator`` returned, or a list such as
        ``sync.output["requestids"]`` of a ``SqlToSmartechOperator``.
    :param smartech_conn_id: the connection that the uploads were submitted by; needed only where two accounts have
        uploads with the same requestid.
    :param max_rejected: how many rows of an upload Smartech may reject: a number (an int), or a share of the rows (a
        float such as ``0.01``). By default rejected rows are a warning, and only an upload of which no row was
        accepted fails.
    :param deferrable: wait in the triggerer, without a worker slot; looks every ``[smartech] poll_interval`` there.
    :param timeout: how long to wait, in seconds or as a timedelta; Airflow's ``[sensors] default_timeout`` by default.

    :raises UploadUnknown: the upload store has no record of the upload.
    :raises UploadAmbiguous: several uploads have this requestid.
    :raises UploadNotTracked: the upload was sent without this provider's callback.
    :raises UploadFailed: the upload failed.
    :raises UploadRowsRejected: none of its rows was accepted, or more than ``max_rejected`` were rejected.
    :raises UploadStatusUnrecognised: it ended with a status that nobody recognises.
    :raises AirflowSensorTimeout: no ping-back came in time.
    """

    template_fields: Sequence[str] = ("requestid", "smartech_conn_id")
    operator_extra_links = (SmartechAwaitedUploadLink(),)
    ui_color = "#fde8d7"

    def __init__(
        self,
        *,
        requestid: str | Sequence[str],
        smartech_conn_id: str | None = None,
        max_rejected: float | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.requestid = requestid
        self.smartech_conn_id = smartech_conn_id
        self.max_rejected = checked_max_rejected(max_rejected)
        self.deferrable = deferrable

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        wait = self._wait()
        try:
            summaries = self._look(wait, self._find(wait), context)
        except UploadRecordUnreadable:
            raise
        except UploadStoreError as error:
            self.log.warning("%s The waiting goes on.", error)
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=summaries is not None, xcom_value=summaries)

    def execute(self, context: Context) -> Any:
        """Wait as ``deferrable`` and ``mode`` say."""
        with self._softly():
            return self._execute_deferrable(context) if self.deferrable else self._execute_here(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Finish after the deferred wait; the upload store has the last word on what happened."""
        wait = self._wait()
        return self._conclude(wait, wait.resume(event), context)

    def give_up(self, context: Context) -> Any:
        """Finish when the time is over, unless the last ping-back has come meanwhile."""
        wait = self._wait()
        wait.last_look()
        return self._conclude(wait, wait.patiently(self._find, wait), context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as every sensor does, but look once more if the time is over, and say why it is skipped if it is."""
        from airflow_provider_smartech.tasks.wait import is_timeout

        if is_timeout(next_method, next_kwargs):
            next_method, next_kwargs = "give_up", {}
        with self._softly():
            # Not the sensors' own, which skips for whatever happens.
            return BaseOperator.resume_execution(self, next_method, next_kwargs, context)

    def _execute_deferrable(self, context: Context) -> Any:
        wait = self._wait()
        uploads = wait.patiently(self._find, wait)
        summaries = wait.patiently(self._look, wait, uploads, context)
        if summaries is None:
            self.defer(trigger=wait.trigger(uploads), method_name="execute_complete", timeout=wait.backstop)
        return summaries

    def _execute_here(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except (AirflowSensorTimeout, AirflowSkipException) as end:
            if end.__cause__:
                raise _skip_because(end) from end.__cause__
        # A time-out, of which the base class knows only how long it waited.
        return self.give_up(context)

    @contextmanager
    def _softly(self) -> Iterator[None]:
        """Skip where ``soft_fail`` says so, but not because a storage or a triggerer failed: nobody has looked then."""
        try:
            yield
        except (SmartechError, AirflowSensorTimeout) as error:
            nobody_looked = isinstance(error, UploadStoreError | WaitBroken)
            if self.never_fail or (self.soft_fail and not nobody_looked):
                raise AirflowSkipException(str(error)) from error
            raise

    def _look(self, wait: Wait, uploads: Sequence[Upload], context: Context) -> Any:
        """Return the summaries, None while not all uploads have ended."""
        summaries = [wait.look(upload) for upload in uploads]
        if None in summaries:
            return None
        return self._complete(uploads, [summary for summary in summaries if summary], context)

    def _conclude(self, wait: Wait, uploads: Sequence[Upload], context: Context) -> Any:
        try:
            summaries = [wait.conclude(upload) for upload in uploads]
        except UploadTimeout as error:
            raise AirflowSensorTimeout(str(error)) from error
        return self._complete(uploads, summaries, context)

    def _complete(self, uploads: Sequence[Upload], summaries: Sequence[dict[str, Any]], context: Context) -> Any:
        announce_updates(context, self, uploads, summaries)
        return summaries[0] if isinstance(self.requestid, str) else summaries

    def _wait(self) -> Wait:
        # Here, because DAG files are parsed every few seconds, and their tasks run once a night.
        from airflow_provider_smartech.tasks.wait import Wait

        return Wait(timedelta(seconds=self.timeout), self.max_rejected)

    def _find(self, wait: Wait) -> list[Upload]:
        requestids = [self.requestid] if isinstance(self.requestid, str) else self.requestid
        known = isinstance(requestids, list | tuple) and all(map(_is_requestid, requestids))
        if not known or not requestids:
            raise SmartechInvalidParameter(
                "requestid",
                "give what SmartechBulkUploadOperator returned, or a list such as sync.output['requestids'] of a "
                f"SqlToSmartechOperator, which is no text from a template; got {self.requestid!r}.",
            )
        account = SmartechHook(self.smartech_conn_id).account.identity if self.smartech_conn_id else None
        uploads = [wait.find(requestid, account) for requestid in requestids]
        check_outlets(self.outlets, map(uri_of, uploads))
        return uploads


def _is_requestid(value: object) -> bool:
    # A list that went through a Jinja template is a text that begins like this.
    return isinstance(value, str) and value.strip() not in ("", "None") and value.strip()[0] not in "[{"


def _skip_because(skip: AirflowException) -> AirflowSkipException:
    """Return a skip that says what the base class only chains."""
    return AirflowSkipException(str(skip.__cause__ or skip))
