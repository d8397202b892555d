"""The sensor that waits until Smartech says that an upload is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

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
from airflow_provider_smartech.assets.outlets import announce_updates, check_outlets, without_lists
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
from airflow_provider_smartech.uploads.requestids import requestids_of
from airflow_provider_smartech.uploads.row_counts import checked_max_rejected

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context, XComArg

    from airflow_provider_smartech.tasks.wait import Reminder, Wait
    from airflow_provider_smartech.uploads.upload import Upload

    # What one task returned.
    Returned: TypeAlias = str | Mapping[str, Any]


__all__ = ["SmartechBulkUploadSensor"]


class SmartechBulkUploadSensor(BaseSensorOperator):
    """Waits until Smartech's ping-back says that an upload is complete, and returns a summary of it.

    Given one text, it returns one summary; given anything else, it waits for all its uploads and returns the list of
    their summaries. An empty list of requestids, as of a sync of which nothing has changed, is complete.

    Needs only the requestid, so it can be in any DAG. It fails at once if the upload store does not know the requestid,
    or if the upload was sent without this provider's callback. It also fails if the ping-back says that the upload
    failed, or has a status that is not recognised. With ``soft_fail`` it is skipped instead.

    When all uploads are complete, it emits an asset event for each list that they updated,
    ``smartech://<idc>/<listid>``, or ``smartech://<idc>/<account>/<listid>`` if the connection names its account.

    The summary has the keys ``requestid``, ``state``, ``rows``, ``accepted``, ``rejected`` (None if the ping-back has
    no such numbers), ``counts`` (under the ping-back's names), ``submitted_at``, ``completed_at``, ``seconds`` and
    ``payload``.

    If the storage fails, the sensor tries again until its timeout.

    :param requestid: what the submitting task returned, usually its ``output``: a requestid, or the dict of a
        ``SqlToSmartechOperator``; or a sequence of these, such as the ``output`` of a mapped task.
    :param smartech_conn_id: the connection that submitted the uploads; needed only if two accounts have uploads with
        the same requestid.
    :param max_rejected: how many rows of an upload Smartech may reject: a number (an int), or a share of the rows (a
        float such as ``0.01``). By default rejected rows cause a warning, and only an upload without any accepted row
        fails.
    :param deferrable: wait in the triggerer, without a worker slot; it checks every ``[smartech] poll_interval`` there.
        Airflow's ``[operators] default_deferrable`` by default.
    :param timeout: how long to wait, in seconds or as a timedelta; Airflow's ``[sensors] default_timeout`` by default.

    :raises UploadUnknown: the upload store has no record of the upload.
    :raises UploadAmbiguous: several uploads have this requestid.
    :raises UploadNotTracked: the upload was sent without this provider's callback.
    :raises UploadFailed: the upload failed.
    :raises UploadRowsRejected: none of its rows was accepted, or more than ``max_rejected`` were rejected.
    :raises UploadStatusUnrecognised: it ended with a status that is not recognised.
    :raises AirflowSensorTimeout: no ping-back came in time.
    """

    template_fields: Sequence[str] = ("requestid", "smartech_conn_id")
    operator_extra_links = (SmartechAwaitedUploadLink(),)
    ui_color = "#fde8d7"

    def __init__(
        self,
        *,
        requestid: Returned | Sequence[Returned] | XComArg,
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
        self._reminder: Reminder | None = None

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render as usual; a sequence that asks Airflow for each of its items is read once."""
        super().render_template_fields(context, jinja_env)
        if isinstance(self.requestid, Sequence) and not isinstance(self.requestid, str) and len(self.requestid):
            # By index: an iteration also asks for the item after the last one, and Airflow logs that as an error.
            self.requestid = [self.requestid[place] for place in range(len(self.requestid))]

    def poke(self, context: Context) -> PokeReturnValue:
        """Check once."""
        wait = self._wait()
        try:
            uploads = self._find(wait)
            summaries = self._look(wait, uploads, context)
        except UploadRecordUnreadable:
            raise
        except UploadStoreError as error:
            self.log.warning("%s Still waiting.", error)
            return PokeReturnValue(is_done=False)
        if summaries is None:
            self._remind(uploads, context)
        return PokeReturnValue(is_done=summaries is not None, xcom_value=summaries)

    def execute(self, context: Context) -> Any:
        """Wait according to ``deferrable`` and ``mode``."""
        with self._softly():
            return self._execute_deferrable(context) if self.deferrable else self._execute_here(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Finish after the deferred wait; the upload store decides what happened."""
        wait = self._wait()
        return self._conclude(wait, wait.resume(event), context)

    def give_up(self, context: Context) -> Any:
        """Finish after the timeout: fail, unless the last ping-back has come in the meantime."""
        wait = self._wait()
        wait.last_look()
        return self._conclude(wait, wait.patiently(self._find, wait), context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume like every sensor, but check once more after a timeout, and give the reason if it is skipped."""
        from airflow_provider_smartech.tasks.wait import is_timeout

        if is_timeout(next_method, next_kwargs):
            next_method, next_kwargs = "give_up", {}
        with self._softly():
            # Not BaseSensorOperator's method, which skips on any error.
            return BaseOperator.resume_execution(self, next_method, next_kwargs, context)

    def _execute_deferrable(self, context: Context) -> Any:
        wait = self._wait()
        uploads = wait.patiently(self._find, wait)
        summaries = wait.patiently(self._look, wait, uploads, context)
        if summaries is None:
            self.defer(trigger=wait.trigger(uploads), method_name="execute_complete", timeout=wait.backstop)
        return summaries

    def _remind(self, uploads: Sequence[Upload], context: Context) -> None:
        """Log until when it waits: in the mode ``reschedule`` at each look, which is a process of its own."""
        from airflow_provider_smartech.tasks.wait import Reminder

        if self._reminder is None:
            began = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
            self._reminder = Reminder((began or datetime.now(UTC)) + timedelta(seconds=self.timeout))
        self._reminder.remind(uploads)

    def _execute_here(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except (AirflowSensorTimeout, AirflowSkipException) as end:
            if end.__cause__:
                raise _skip_because(end) from end.__cause__
        # A timeout: the base class knows only how long it waited.
        return self.give_up(context)

    @contextmanager
    def _softly(self) -> Iterator[None]:
        """Skip if ``soft_fail`` is set, but not if the storage or the triggerer failed: then the state is not known."""
        try:
            yield
        except (SmartechError, AirflowSensorTimeout) as error:
            state_unknown = isinstance(error, UploadStoreError | WaitBroken)
            if self.never_fail or (self.soft_fail and not state_unknown):
                raise AirflowSkipException(str(error)) from error
            raise

    def _look(self, wait: Wait, uploads: Sequence[Upload], context: Context) -> Any:
        """Return the summaries, None while not all uploads have ended."""
        summaries = [wait.look(upload) for upload in uploads]
        if None in summaries:
            return None
        return self._complete(wait, uploads, [summary for summary in summaries if summary], context)

    def _conclude(self, wait: Wait, uploads: Sequence[Upload], context: Context) -> Any:
        try:
            summaries = [wait.conclude(upload) for upload in uploads]
        except UploadTimeout as error:
            raise AirflowSensorTimeout(str(error)) from error
        return self._complete(wait, uploads, summaries, context)

    def _complete(
        self, wait: Wait, uploads: Sequence[Upload], summaries: Sequence[dict[str, Any]], context: Context
    ) -> Any:
        if not uploads:
            # No list was updated, so Airflow must not emit its event.
            self.outlets = without_lists(context, self.outlets)
        announce_updates(context, self, uploads, summaries, undeclared=wait.settings.asset_events)
        return summaries[0] if isinstance(self.requestid, str) else summaries

    def _wait(self) -> Wait:
        # Imported here: DAG files are parsed every few seconds, but their tasks run rarely.
        from airflow_provider_smartech.tasks.wait import Wait

        return Wait(timedelta(seconds=self.timeout), self.max_rejected)

    def _find(self, wait: Wait) -> list[Upload]:
        requestids = requestids_of(self.requestid)
        if requestids is None:
            raise SmartechInvalidParameter(
                "requestid",
                "give what SmartechBulkUploadOperator or SqlToSmartechOperator returned, such as upload.output, or a "
                f"sequence of these (not a list or a dict that a template made a text); got {self.requestid!r}.",
            )
        account = SmartechHook(self.smartech_conn_id).account.identity if self.smartech_conn_id else None
        uploads = [wait.find(requestid, account) for requestid in requestids]
        if uploads:
            check_outlets(self.outlets, map(uri_of, uploads))
        return uploads


def _skip_because(skip: AirflowException) -> AirflowSkipException:
    """Return a skip with the message that the base class only chains."""
    return AirflowSkipException(str(skip.__cause__ or skip))
