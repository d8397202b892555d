"""Sending one upload from one task instance, once: each try first looks at what the tries before it did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
    SmartechRequestError,
    SmartechThrottled,
    UploadStoreError,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.redaction import mask
from airflow_provider_smartech.settings import Settings
from airflow_provider_smartech.store import UploadStore
from airflow_provider_smartech.uploads import (
    Answer,
    Handover,
    Progress,
    Record,
    State,
    TaskTry,
    Upload,
    key_of,
    new_upload_id,
)

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

    ``waits``: the task itself waits for the ping-back, so it needs a callback of ours. ``max_rejected``: with more
    rejected rows, an upload counts as failed.
    """

    hook: SmartechHook
    store: UploadStore
    settings: Settings
    task: TaskTry
    waits: bool
    on_unknown_outcome: OnUnknownOutcome
    max_rejected: float | None = None

    def check(self) -> None:
        """See that an upload can be sent at all.

        :raises SmartechConfigurationError: the connection or ``[smartech]`` is wrong.
        """
        self.hook.check()
        if self.waits and not self.settings.callback_base_url:
            raise _no_callback()

    def check_earlier(self) -> None:
        """See whether something else than before may be sent at all, such as a query's rows of now.

        :raises SmartechOutcomeUnknown: an earlier upload may be loaded yet, and ``on_unknown_outcome`` is ``fail``.
        """
        for part in count():
            uploads = self.store.earlier(self.task.for_part(part))
            if not uploads:
                return
            earlier = self._latest(uploads)
            if earlier and (self._is_unknown(earlier) or self._is_open(earlier)):
                self._decide_unknown(earlier)

    def _latest(self, uploads: Iterable[Upload]) -> Upload | None:
        """Return the first upload that Smartech may have taken, None if it took none."""
        return next((upload for upload in uploads if self._progress(upload).state is not State.NOT_ACCEPTED), None)

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
        earlier = self._latest(self.store.earlier(self.task.for_part(part)))
        return earlier if earlier and self._stands(earlier, file) else None

    def hand_over(self, upload: Upload, reason: Literal["handed over", "not completed"]) -> None:
        """Keep that this task has done its part for the upload."""
        self.store.handed_over(upload.key, Handover(reason=reason, task=self.task))

    def _progress(self, upload: Upload) -> Progress:
        return upload.progress(self.settings.statuses, self.settings.pingbacks_expected, self.max_rejected)

    def _stands(self, earlier: Upload, file: BulkUploadParameters) -> bool:
        """Whether the earlier upload is the one that this try would send. If not, the log says why."""
        record, account = earlier.record, self.hook.account
        if self._progress(earlier).surely_failed:
            log.warning("Upload %s of an earlier try failed; uploading anew.", earlier.requestid)
            return False
        if self._was_handed_over(earlier):
            log.warning("Upload %s was handed over before the task was cleared; uploading anew.", earlier.requestid)
            return False
        if record.fingerprint != file.fingerprint() or record.idc != account.idc:
            if self._is_unknown(earlier) and self.on_unknown_outcome == "fail":
                self._decide_unknown(earlier)
            what = "another file, list or data centre"
            log.warning("An earlier try sent upload %s of %s; uploading anew.", earlier.requestid, what)
            return False
        # A key that was renewed looks like another account, and a run of the same name like this one.
        same_account = record.account == account.identity
        same_run = record.task is not None and self.task.follows(record.task)
        if not (same_account and same_run and (record.tracked or not self.waits)) or self._is_unknown(earlier):
            self._decide_unknown(earlier)
            return False
        return True

    def _was_handed_over(self, earlier: Upload) -> bool:
        """Whether the task did its part for it, and was cleared since."""
        return any(one.reason == "handed over" and not self.task.retries(one.task) for one in earlier.handovers)

    def _is_open(self, earlier: Upload) -> bool:
        """Whether nothing has been said of its end yet, and its task was not cleared to upload anew."""
        return not self._progress(earlier).state.ended and not self._was_handed_over(earlier)

    def _is_unknown(self, earlier: Upload) -> bool:
        """Whether nobody knows if it was loaded: no clear answer came, or the wait for it was given up."""
        progress = self._progress(earlier)
        return (
            progress.state in (State.SUBMITTING, State.OUTCOME_UNKNOWN)
            or (earlier.given_up and progress.state is not State.COMPLETED and not progress.surely_failed)
            or self._may_be_of_another(earlier)
        )

    def _may_be_of_another(self, earlier: Upload) -> bool:
        """Whether the ping-backs of an upload without a requestid name the requestid of another upload."""
        if earlier.answer and earlier.answer.requestid:
            return False
        return any(
            known.key != earlier.key and known.record.account == earlier.record.account
            for requestid in earlier.named_requestids()
            for known in self.store.all_with(requestid)
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
        """Return the requestid that the ping-backs name, else the key."""
        named = earlier.named_requestids()
        return named.pop() if len(named) == 1 else earlier.key

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
            account=self.hook.account.identity,
            account_name=self.hook.account.name,
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
        run_started=dag_run.start_date,
    )
