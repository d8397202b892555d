"""Sending one upload: recorded before it is sent, with this provider's callback, and its answer recorded after it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from airflow_provider_smartech import metrics
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechNotReached,
    SmartechRefused,
    SmartechRequestError,
    SmartechThrottled,
    UploadStoreError,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.redaction import mask
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, Record, TaskTry, Upload, half_of, key_of, new_upload_id

if TYPE_CHECKING:
    from airflow_provider_smartech.api.parameters import BulkUploadParameters

log = logging.getLogger(__name__)

STORE_ATTEMPTS = 3
STORE_WAIT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Sends uploads, without looking at earlier ones.

    ``waits``: the caller waits for the ping-back, so it needs this provider's callback.
    """

    hook: SmartechHook
    store: UploadStore
    settings: Settings
    waits: bool

    def check(self) -> None:
        """Check that an upload can be sent at all.

        :raises SmartechConfigurationError: the connection or ``[smartech]`` is wrong.
        """
        self.hook.check()
        if self.waits and not self.settings.callback_base_url:
            raise _no_callback()

    def submit(
        self,
        file: BulkUploadParameters,
        parameters: BulkUploadParameters,
        task: TaskTry | None = None,
        rows: int | None = None,
        of_rows: int | None = None,
    ) -> Upload:
        """Send a new upload.

        :param file: what the record shows and later tries recognise.
        :param parameters: what is really sent: the same, perhaps with a signed URL.
        :param task: the task that sends it, if it is one.
        :param rows: the number of rows, if known.
        :param of_rows: that of the query, if only what changed is sent.
        :raises SmartechError: as ``SmartechHook.bulk_upload`` raises.
        """
        upload_id = new_upload_id()
        mask(parameters.path.keys())
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
            of_rows=of_rows,
            fingerprint=file.fingerprint(),
            smartech_conn_id=self.hook.smartech_conn_id,
            tracked=tracked,
            task=task,
        )
        self.store.create(record)
        return Upload(record=record, answer=self._ask(record, parameters))

    def _ask(self, record: Record, parameters: BulkUploadParameters) -> Answer:
        try:
            requestid = self.hook.submit(parameters)
        except SmartechRequestError as error:
            surely_not = isinstance(error, SmartechRefused | SmartechThrottled | SmartechNotReached)
            outcome: Literal["not accepted", "unknown"] = "not accepted" if surely_not else "unknown"
            self.store.answered(record.key, Answer.failed(outcome, str(error), parameters.secrets()))
            raise
        # Logged before it is stored: if the store fails, the requestid is still in the log.
        log.info(
            "Smartech accepted the upload of %s as %s, to %s by connection %s at %s.",
            record.path,
            requestid,
            "no list" if record.listid is None else f"list {record.listid}",
            record.smartech_conn_id,
            self.hook.account.host,
        )
        answer = Answer(outcome="accepted", requestid=requestid)
        keep = retry(
            retry=retry_if_exception_type(UploadStoreError),
            stop=stop_after_attempt(STORE_ATTEMPTS),
            wait=wait_random_exponential(max=STORE_WAIT_SECONDS),
            reraise=True,
        )
        keep(self.store.answered)(record.key, answer)
        metrics.upload_sent(record)
        return answer

    def _with_callback(self, parameters: BulkUploadParameters, upload_id: str) -> tuple[bool, BulkUploadParameters]:
        base = self.settings.callback_base_url
        if parameters.callback is None and base:
            mask([half_of(upload_id)])
            return True, parameters.with_callback(f"{base}/pingback/{upload_id}")
        if self.waits:
            raise _no_callback()
        mask(parameters.callback_secrets())
        if parameters.callback is None:
            log.warning(
                "The upload is sent without a callback, so its completion cannot be detected: "
                "set [smartech] callback_base_url (or [api] base_url)."
            )
        return False, parameters


def _no_callback() -> SmartechConfigurationError:
    return SmartechConfigurationError(
        "Waiting for completion needs this provider's callback: leave `callback` unset and set "
        "[smartech] callback_base_url (or [api] base_url) to the URL at which Smartech's servers reach Airflow."
    )
