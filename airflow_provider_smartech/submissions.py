"""Sending one upload from one task instance, once: each try first looks at what the tries before it did."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from airflow_provider_smartech import statuses
from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
    SmartechRequestError,
    SmartechThrottled,
    UploadStoreError,
    UploadUnknown,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.redaction import mask
from airflow_provider_smartech.settings import Settings
from airflow_provider_smartech.store import UploadStore
from airflow_provider_smartech.uploads import Answer, Handover, Record, State, TaskTry, Upload, key_of, new_upload_id

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_smartech.parameters import BulkUploadParameters

log = logging.getLogger(__name__)

STORE_ATTEMPTS = 3
STORE_WAIT = 5.0

OnUnknownOutcome = Literal["resubmit", "fail"]


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The uploads that one task instance is to send, and must not send twice without saying so.

    ``waits``: the task itself waits for the ping-back, so it needs a callback of ours.
    """

    hook: SmartechHook
    store: UploadStore
    settings: Settings
    task: TaskTry
    waits: bool
    on_unknown_outcome: OnUnknownOutcome

    def check(self) -> None:
        """See that an upload can be sent at all.

        :raises SmartechConfigurationError: the connection or ``[smartech]`` is wrong.
        """
        self.hook.check()
        if self.waits and not self.settings.callback_base_url:
            raise _no_callback()

    def check_earlier(self) -> None:
        """See whether something else than before may be sent at all.

        :raises SmartechOutcomeUnknown: nothing is known of an earlier try's upload, and ``on_unknown_outcome`` is
            ``fail``.
        """
        for part in count():
            uploads = self.store.earlier(self.task.for_part(part))
            if not uploads:
                return
            earlier = next((upload for upload in uploads if self._state(upload) is not State.NOT_ACCEPTED), None)
            if earlier and self._is_unknown(earlier):
                self._decide_unknown(earlier)

    def send(
        self,
        file: BulkUploadParameters,
        part: int = 0,
        signed: Callable[[], BulkUploadParameters] | None = None,
        rows: int | None = None,
    ) -> Upload:
        """Return the upload: an earlier try's where that is under way or done, else a new one.

        ``part`` tells the uploads of one task apart. ``signed`` returns what is really sent, where that is made only
        if it is needed; ``file`` tells the upload again. ``rows`` of the file are kept, where they are known.

        :raises SmartechOutcomeUnknown: nothing is known of an earlier try's upload, and ``on_unknown_outcome`` is
            ``fail``; or this try got no clear answer.
        :raises SmartechError: as ``SmartechHook.bulk_upload`` raises.
        """
        earlier = self.standing(file, part)
        return self._take(earlier) if earlier else self._submit(file, part, signed() if signed else file, rows)

    def standing(self, file: BulkUploadParameters, part: int = 0) -> Upload | None:
        """Return the earlier try's upload that need not be sent again, None if there is none.

        :raises SmartechOutcomeUnknown: nothing is known of it, and ``on_unknown_outcome`` is ``fail``.
        """
        for earlier in self.store.earlier(self.task.for_part(part)):
            if self._state(earlier) is not State.NOT_ACCEPTED:
                return earlier if self._stands(earlier, file) else None
        return None

    def hand_over(self, upload: Upload, reason: Literal["handed over", "not completed"]) -> None:
        """Keep that this task has done its part for the upload."""
        self.store.handed_over(upload.key, Handover(reason=reason, task=self.task))

    def _state(self, upload: Upload) -> State:
        return upload.progress(self.settings.statuses, self.settings.pingbacks_expected).state

    def _stands(self, earlier: Upload, file: BulkUploadParameters) -> bool:
        """Whether the earlier upload is the one that this try would send. If not, the log says why."""
        record, handover, state = earlier.record, earlier.handover, self._state(earlier)
        if (record.fingerprint, record.smartech_conn_id) != (file.fingerprint(), self.hook.smartech_conn_id):
            if self._is_unknown(earlier) and self.on_unknown_outcome == "fail":
                self._decide_unknown(earlier)
            log.warning("An earlier try sent upload %s of another file or list; uploading anew.", earlier.requestid)
            return False
        if state is State.FAILED:
            log.warning("Upload %s of an earlier try failed; uploading anew.", earlier.requestid)
            return False
        if handover and handover.reason == "handed over" and not self.task.retries(handover.task):
            log.warning("Upload %s was handed over before the task was cleared; uploading anew.", earlier.requestid)
            return False
        other_run = record.task is not None and not self.task.follows(record.task)
        lost_track = self.waits and not record.tracked
        if other_run or lost_track or self._is_unknown(earlier):
            self._decide_unknown(earlier)
            return False
        return True

    def _is_unknown(self, earlier: Upload) -> bool:
        """Whether nobody knows if it was loaded: no clear answer came, or the wait for it was given up."""
        state, handover = self._state(earlier), earlier.handover
        given_up = handover is not None and handover.reason == "not completed"
        return state in (State.SUBMITTING, State.OUTCOME_UNKNOWN) or (
            given_up and state not in (State.COMPLETED, State.FAILED)
        )

    def _decide_unknown(self, earlier: Upload) -> None:
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

    def _take(self, earlier: Upload) -> Upload:
        requestid = earlier.answer and earlier.answer.requestid
        answer = Answer(outcome="accepted", requestid=requestid or self._lost_requestid(earlier))
        # Written again: the try before may have died before the upload could be found by its requestid.
        self.store.answered(earlier.key, answer)
        log.info("Taking upload %s of an earlier try; nothing is sent again.", answer.requestid)
        return earlier.model_copy(update={"answer": answer})

    def _lost_requestid(self, earlier: Upload) -> str:
        """Return the requestid that the ping-backs name, else the key: another upload's requestid would mislead."""
        named = {statuses.requestid(pingback.payload) for pingback in earlier.pingbacks} - {None}
        requestid = str(named.pop()) if len(named) == 1 else earlier.key
        try:
            known = self.store.find(requestid)
        except UploadUnknown:
            return requestid
        return requestid if known.key == earlier.key else earlier.key

    def _submit(
        self, file: BulkUploadParameters, part: int, parameters: BulkUploadParameters, rows: int | None
    ) -> Upload:
        upload_id = new_upload_id()
        tracked, parameters = self._with_callback(parameters, upload_id)
        self.hook.check()
        record = Record(
            key=str(key_of(upload_id)),
            path=str(file.path),
            listid=file.listid,
            idc=self.hook.account.idc,
            rows=rows,
            fingerprint=file.fingerprint(),
            smartech_conn_id=self.hook.smartech_conn_id,
            tracked=tracked,
            task=self.task.for_part(part),
        )
        self.store.create(record)
        return Upload(record=record, answer=self._ask(record, parameters))

    def _ask(self, record: Record, parameters: BulkUploadParameters) -> Answer:
        try:
            requestid = self.hook.submit(parameters)
        except SmartechRequestError as error:
            surely_not = isinstance(error, SmartechRefused | SmartechThrottled | SmartechNotReached)
            self.store.answered(record.key, Answer(outcome="not accepted" if surely_not else "unknown"))
            raise
        # Before it is kept: whatever happens to the store, the requestid can be read here.
        log.info("Smartech accepted the upload of %s as %s.", record.path, requestid)
        answer = Answer(outcome="accepted", requestid=requestid)
        keep = retry(
            retry=retry_if_exception_type(UploadStoreError),
            stop=stop_after_attempt(STORE_ATTEMPTS),
            wait=wait_random_exponential(max=STORE_WAIT),
            reraise=True,
        )
        keep(self.store.answered)(record.key, answer)
        return answer

    def _with_callback(self, parameters: BulkUploadParameters, upload_id: str) -> tuple[bool, BulkUploadParameters]:
        base = self.settings.callback_base_url
        if parameters.callback is None and base:
            mask([upload_id])
            return True, parameters.with_callback(f"{base}/pingback/{upload_id}")
        if self.waits:
            raise _no_callback()
        if parameters.callback is None:
            log.warning(
                "The upload is sent without a callback, so nobody will know when it is complete: "
                "set [smartech] callback_base_url (or [api] base_url)."
            )
        return False, parameters


def _no_callback() -> SmartechConfigurationError:
    return SmartechConfigurationError(
        "Waiting for completion needs this provider's callback: leave `callback` unset and set "
        "[smartech] callback_base_url (or [api] base_url) to where Smartech's servers reach Airflow."
    )


def task_try(context: Context) -> TaskTry:
    """Return what identifies the try that runs now."""
    ti, dag_run = context["ti"], context["dag_run"]
    return TaskTry(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
        try_number=ti.try_number,
        max_tries=ti.max_tries,
        clear_number=dag_run.clear_number or 0,
        run_started=dag_run.start_date,
    )
