"""Sending one upload from one task instance, once: each try first checks the uploads of earlier tries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

from airflow_provider_smartech.errors import SmartechOutcomeUnknown
from airflow_provider_smartech.tasks.sender import Sender
from airflow_provider_smartech.uploads.upload import Answer, Handover, Progress, Record, State, TaskTry, Upload

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_smartech.api.parameters import BulkUploadParameters

log = logging.getLogger(__name__)

OnUnknownOutcome = Literal["resubmit", "fail"]

# Why an earlier upload is not reused: it is not known whether it was loaded, or whether it is from this task.
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Submission(Sender):
    """The uploads that one task instance sends, and must not send twice without a warning.

    ``max_rejected``: with more rejected rows, an upload counts as failed. ``by_file``: the task sends any number of
    files in any order, so an earlier upload tells something only about its own file, and one try takes it once.
    """

    task: TaskTry
    on_unknown_outcome: OnUnknownOutcome
    max_rejected: float | None = None
    by_file: bool = False

    def check_earlier(self, first: int = 0) -> None:
        """Check whether other data than before may be sent, such as a query's current rows.

        :param first: the number of the first part that is not sent again, and so not checked by that.
        :raises SmartechOutcomeUnknown: an earlier upload may still be loaded, and ``on_unknown_outcome`` is ``fail``.
        """
        for part in count(first):
            before = self.store.earlier(self.task.for_part(part))
            if not before:
                return
            doubtful = (one for one in self._unsettled(before) if self._is_unknown(one) or self._is_open(one))
            if earlier := next(doubtful, None):
                self._decide_unknown(earlier)

    def _unsettled(self, before: list[Upload]) -> list[Upload]:
        """Return the earlier uploads that Smartech may have accepted and that are not settled.

        If the task was cleared after it had handed over, everything that it had sent until then is settled.
        """
        cleared = [
            (upload, handover.task)
            for upload in before
            for handover in upload.handovers
            if handover.reason == "handed over" and not self.task.retries(handover.task)
        ]
        return [
            upload
            for upload in before
            if self._progress(upload).state is not State.NOT_ACCEPTED
            and not any(self._settles(handed, task, upload) for handed, task in cleared)
        ]

    def _settles(self, handed: Upload, task: TaskTry, upload: Upload) -> bool:
        """Whether a try that handed over an upload was done with another one as well."""
        sent = upload.record.task
        if sent is None:
            return False
        if not self.by_file or handed.key == upload.key:
            return task.is_not_before(sent)
        return _subject(handed.record) == _subject(upload.record) and task.follows(sent)

    def send(
        self,
        file: BulkUploadParameters,
        part: int = 0,
        signed: Callable[[], BulkUploadParameters] | None = None,
        rows: int | None = None,
        of_rows: int | None = None,
    ) -> Upload:
        """Return the upload: an earlier try's if that is running or complete, else a new one.

        ``part`` distinguishes the uploads of one task. ``file`` identifies the upload in later tries. ``signed``, if
        given, returns the parameters that are really sent; it is called only if they are needed. ``rows``, the number
        of rows if known, and ``of_rows``, that of the query of which only what changed is sent, are recorded.

        :raises SmartechOutcomeUnknown: the outcome of an earlier try's upload is not known, and ``on_unknown_outcome``
            is ``fail``; or this try got no clear answer.
        :raises SmartechError: as ``SmartechHook.bulk_upload`` raises.
        """
        earlier = self.earlier_upload(file, part)
        if earlier:
            return self._take(earlier)
        return self.submit(file, signed() if signed else file, self.task.for_part(part), rows, of_rows)

    def earlier_upload(self, file: BulkUploadParameters, part: int = 0) -> Upload | None:
        """Return the earlier try's upload that need not be sent again, None if there is none.

        :raises SmartechOutcomeUnknown: its outcome is not known, and ``on_unknown_outcome`` is ``fail``.
        """
        before = self._before(file, part)
        earlier = self._unsettled(before)
        reasons = [self._why_not(upload, file) for upload in earlier]
        if None in reasons:
            return earlier[reasons.index(None)]
        if UNKNOWN in reasons:
            self._decide_unknown(earlier[reasons.index(UNKNOWN)])
        elif earlier:
            self._say_again(earlier[0], str(reasons[0]))
        elif handed := next((upload for upload in before if upload.handovers), None):
            self._say_again(handed, "was handed over before the task was cleared")
        return None

    def would_take(self, file: BulkUploadParameters, part: int) -> bool:
        """Whether an earlier try's upload need not be sent again, without a word about it in the log."""
        return any(self._why_not(upload, file) is None for upload in self._unsettled(self._before(file, part)))

    def _before(self, file: BulkUploadParameters, part: int) -> list[Upload]:
        """Return the uploads of earlier tries that may tell something about a file, the latest first."""
        before = self.store.earlier(self.task.for_part(part))
        if not self.by_file:
            return before
        left = [one for one in before if all(handover.task != self.task for handover in one.handovers)]
        subject, fails = (file.fingerprint(), self.hook.smartech_conn_id), self.on_unknown_outcome == "fail"
        return [one for one in left if _subject(one.record) == subject or (fails and self._is_unknown(one))]

    def _say_again(self, earlier: Upload, why: str) -> None:
        """Log why a file is uploaded although the task has sent an earlier upload."""
        was_cleared = earlier.record.task is not None and not self.task.retries(earlier.record.task)
        if was_cleared and self._progress(earlier).state is State.COMPLETED:
            # Airflow does not distinguish a run that is cleared from one that was deleted and created again.
            log.info("Upload %s completed before the task or its run was cleared; uploading again.", earlier.requestid)
        else:
            log.warning("Upload %s of an earlier try %s; uploading again.", earlier.requestid, why)

    def hand_over(self, upload: Upload, reason: Literal["handed over", "not completed"]) -> None:
        """Record that this task is finished with the upload."""
        self.store.handed_over(upload.key, Handover(reason=reason, task=self.task))

    def _progress(self, upload: Upload) -> Progress:
        return upload.progress(self.settings.statuses, self.max_rejected)

    def _why_not(self, earlier: Upload, file: BulkUploadParameters) -> str | None:
        """Return why this try cannot reuse an earlier upload, None if it can."""
        record, account, progress = earlier.record, self.hook.account, self._progress(earlier)
        if progress.surely_failed:
            # A retry would send the same rows and end like the earlier try.
            same_rows = progress.by_rows and record.task is not None and self.task.retries(record.task)
            return None if same_rows else "failed"
        if record.fingerprint != file.fingerprint() or record.idc != account.idc:
            doubtful = self._is_unknown(earlier) and self.on_unknown_outcome == "fail"
            return UNKNOWN if doubtful else "was for another file, list or data centre"
        # A renewed API key looks like another account, and a run with the same name looks like this one.
        same_account = record.account == account.identity
        same_run = record.task is not None and self.task.follows(record.task)
        is_ours = same_account and same_run and (record.tracked or not self.waits)
        return UNKNOWN if not is_ours or self._is_unknown(earlier) else None

    def _is_open(self, earlier: Upload) -> bool:
        """Whether it has not ended yet."""
        return not self._progress(earlier).state.ended

    def _is_unknown(self, earlier: Upload) -> bool:
        """Whether it is not known if it was loaded: no clear answer came, or the wait for it was given up."""
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
            f"{earlier.record.at:%Y-%m-%d %H:%M:%S} UTC, and it is not known whether Smartech loaded it"
        )
        if self.on_unknown_outcome == "fail":
            raise SmartechOutcomeUnknown(
                f"{what}; nothing is sent again because on_unknown_outcome is 'fail'. Check Smartech's panel. If the "
                "contacts were not loaded, clear the task with on_unknown_outcome='resubmit'"
            )
        log.warning("%s. Submitting it again: contacts are upserted, so a second load changes nothing.", what)

    def _take(self, earlier: Upload) -> Upload:
        requestid = earlier.answer and earlier.answer.requestid
        answer = Answer(outcome="accepted", requestid=requestid or self._lost_requestid(earlier))
        # Written again: the earlier try may have died before the upload could be found by its requestid.
        self.store.answered(earlier.key, answer)
        log.info("Reusing upload %s of an earlier try; nothing is sent again.", answer.requestid)
        return earlier.model_copy(update={"answer": answer})

    def _lost_requestid(self, earlier: Upload) -> str:
        """Return the requestid that the ping-backs name, else the key."""
        named = earlier.named_requestids()
        return named.pop() if len(named) == 1 else earlier.key


def _subject(record: Record) -> tuple[str, str]:
    """Return what distinguishes an upload from others of the same task: the file, the list and the connection."""
    return record.fingerprint, record.smartech_conn_id


def task_try(context: Context) -> TaskTry:
    """Return the identity of the current try."""
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
