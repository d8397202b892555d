"""Sending one upload from one task instance, once: each try first looks at what the tries before it did."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechError,
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
    SmartechThrottled,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.redaction import mask
from airflow_provider_smartech.settings import Settings
from airflow_provider_smartech.store import UploadStore
from airflow_provider_smartech.uploads import Answer, Handover, Record, State, TaskTry, Upload, key_of, new_upload_id

if TYPE_CHECKING:
    from airflow_provider_smartech.parameters import BulkUploadParameters

log = logging.getLogger(__name__)

OnUnknownOutcome = Literal["resubmit", "fail"]


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One upload that one task instance is to send, and must not send twice without saying so.

    ``waits``: the task itself waits for the ping-back, so it needs a callback of ours.
    """

    hook: SmartechHook
    store: UploadStore
    settings: Settings
    task: TaskTry
    waits: bool
    on_unknown_outcome: OnUnknownOutcome

    def send(self, parameters: BulkUploadParameters) -> Upload:
        """Return the upload: an earlier try's where that is under way or done, else a new one.

        :raises SmartechOutcomeUnknown: nothing is known of an earlier try's upload, and ``on_unknown_outcome`` is
            ``fail``; or this try got no clear answer.
        :raises SmartechError: as ``SmartechHook.bulk_upload`` raises.
        """
        earlier = self.store.last_of(self.task)
        if earlier and self._is_the_same(earlier, parameters) and self._stands(earlier):
            log.info("Taking upload %s of an earlier try; nothing is sent again.", earlier.requestid)
            self.store.name(earlier.key, earlier.requestid)
            return earlier
        return self._submit(parameters)

    def hand_over(self, upload: Upload, reason: Literal["handed over", "timed out"]) -> None:
        """Keep that this task has done its part for the upload."""
        self.store.handed_over(upload.key, Handover(reason=reason, max_tries=self.task.max_tries))

    def _is_the_same(self, earlier: Upload, parameters: BulkUploadParameters) -> bool:
        record = earlier.record
        return (record.path, record.listid, record.smartech_conn_id) == (
            str(parameters.path),
            parameters.listid,
            self.hook.smartech_conn_id,
        )

    def _stands(self, earlier: Upload) -> bool:
        """Whether the earlier upload is the one that this try would send."""
        progress = earlier.progress(self.settings.statuses, self.settings.pingbacks_expected)
        handover = earlier.handover
        if progress.state in (State.FAILED, State.UNRECOGNISED, State.NOT_ACCEPTED):
            return False
        if handover and handover.reason == "handed over":
            # A retry of the same round: the task died between handing over and being done.
            return handover.max_tries == self.task.max_tries
        accepted = progress.state in (State.ACCEPTED, State.IN_PROGRESS, State.COMPLETED)
        if accepted and (not handover or progress.state is State.COMPLETED):
            return True
        return self._decide_unknown(earlier)

    def _decide_unknown(self, earlier: Upload) -> Literal[False]:
        what = (
            f"An earlier try of this task submitted upload {earlier.requestid} at "
            f"{earlier.record.at:%Y-%m-%d %H:%M:%S} UTC, and whether Smartech loaded it is not known"
        )
        if self.on_unknown_outcome == "fail":
            raise SmartechOutcomeUnknown(
                f"{what}; nothing is sent again because on_unknown_outcome is 'fail'. Look in Smartech's panel, "
                "then clear the task with on_unknown_outcome='resubmit' if the contacts did not arrive"
            )
        log.warning("%s. Submitting it again: contacts are upserted, so a second load changes nothing more.", what)
        return False

    def _submit(self, parameters: BulkUploadParameters) -> Upload:
        upload_id = new_upload_id()
        tracked, parameters = self._with_callback(parameters, upload_id)
        record = Record(
            key=str(key_of(upload_id)),
            path=str(parameters.path),
            listid=parameters.listid,
            smartech_conn_id=self.hook.smartech_conn_id,
            tracked=tracked,
            task=self.task,
        )
        self.store.create(record)
        answer = self._ask(record.key, parameters)
        log.info("Smartech accepted the upload of %s as %s.", record.path, answer.requestid)
        return Upload(record=record, answer=answer)

    def _ask(self, key: str, parameters: BulkUploadParameters) -> Answer:
        try:
            requestid = self.hook.submit(parameters)
        except SmartechError as error:
            surely_not = isinstance(error, SmartechRefused | SmartechThrottled | SmartechNotReached)
            surely_not = surely_not or isinstance(error, SmartechConfigurationError)
            self.store.answered(key, Answer(outcome="not accepted" if surely_not else "unknown"))
            raise
        answer = Answer(outcome="accepted", requestid=requestid)
        self.store.answered(key, answer)
        return answer

    def _with_callback(self, parameters: BulkUploadParameters, upload_id: str) -> tuple[bool, BulkUploadParameters]:
        base = self.settings.callback_base_url
        if parameters.callback is None and base:
            mask([upload_id])
            return True, parameters.with_callback(f"{base}/pingback/{upload_id}")
        if self.waits:
            raise SmartechConfigurationError(
                "Waiting for completion needs this provider's callback: leave `callback` unset and set "
                "[smartech] callback_base_url (or [api] base_url) to where Smartech's servers reach Airflow."
            )
        if parameters.callback is None:
            log.warning(
                "The upload is sent without a callback, so nobody will know when it is complete: "
                "set [smartech] callback_base_url (or [api] base_url)."
            )
        return False, parameters


def task_try(ti: Any) -> TaskTry:
    """Return what identifies the try that runs now; ``ti`` is the task instance of an Airflow context."""
    return TaskTry(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
        max_tries=ti.max_tries,
    )
