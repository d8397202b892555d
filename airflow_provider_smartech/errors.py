"""All errors of this provider, as one tree.

::

    SmartechError
    ├── SmartechTerminalError            a retry cannot help: Airflow fails the task without its retries
    │   ├── SmartechInvalidParameter     a parameter of the call is wrong; nothing was sent
    │   ├── SmartechConfigurationError   the connection or [smartech] is wrong; nothing was sent
    │   ├── ContactsRefused              the file or the query's rows cannot be loaded; nothing was sent
    │   │   ├── ContactsWithoutKey       rows without a primary key
    │   │   ├── ContactsKeyRepeated      rows with the same primary key, where that matters
    │   │   ├── ContactsFilesRefused     several files; all are named
    │   │   └── ContactsEmpty            no rows
    │   ├── SmartechRefused           *  Smartech refused the upload; nothing was loaded
    │   ├── UploadUnknown                the upload store has no record of the upload
    │   ├── UploadAmbiguous              several uploads have that requestid
    │   ├── UploadNotTracked             the upload was sent without this provider's callback
    │   ├── UploadStatusUnrecognised  +  the ping-back has a status that is not recognised
    │   ├── UploadRowsRejected        +  no row was accepted, or too many were rejected
    │   ├── UploadTimeout                no ping-back in time
    │   └── ChainBroken                  the doctor found a broken link
    └── SmartechRetryableError           Airflow's task retries may try again
        ├── SmartechNotReached        *  could not connect; the request was not sent
        ├── SmartechThrottled         *  HTTP 429; nothing was loaded
        ├── SmartechOutcomeUnknown    *  sent, but no clear answer: the upload may be running
        ├── ContactsQueryFailed          the database aborted the query
        ├── ContactsStorageError         an S3 request for the file failed
        ├── TaskKilled                   the task was killed while it streamed a query
        ├── UploadStoreError             the upload store cannot be read or written
        │   └── UploadRecordUnreadable   one upload's files are damaged
        ├── UploadFailed              +  the ping-back says that the upload failed
        └── WaitBroken                   the trigger returned no usable event

    * also a SmartechRequestError, with Smartech's answer
    + also an UploadNotCompleted, with the ping-backs

No message, attribute or chained exception holds the API key, a callback URL or the query of a signed URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_smartech.airflow_compat import AirflowException, AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "ChainBroken",
    "ContactsEmpty",
    "ContactsFilesRefused",
    "ContactsKeyRepeated",
    "ContactsQueryFailed",
    "ContactsRefused",
    "ContactsStorageError",
    "ContactsWithoutKey",
    "SmartechConfigurationError",
    "SmartechError",
    "SmartechInvalidParameter",
    "SmartechNotReached",
    "SmartechOutcomeUnknown",
    "SmartechRefused",
    "SmartechRequestError",
    "SmartechRetryableError",
    "SmartechTerminalError",
    "SmartechThrottled",
    "TaskKilled",
    "UploadAmbiguous",
    "UploadFailed",
    "UploadNotCompleted",
    "UploadNotTracked",
    "UploadRecordUnreadable",
    "UploadRowsRejected",
    "UploadStatusUnrecognised",
    "UploadStoreError",
    "UploadTimeout",
    "UploadUnknown",
    "WaitBroken",
]


class SmartechError(AirflowException):
    """The root of this provider's errors."""


class SmartechTerminalError(SmartechError, AirflowFailException):
    """A retry without a change cannot help, so Airflow fails the task without its retries."""


class SmartechRetryableError(SmartechError):
    """A later try may succeed, so Airflow's task retries apply."""


class SmartechInvalidParameter(SmartechTerminalError, ValueError):
    """A parameter is wrong; nothing was sent.

    ``parameter`` is its name in Smartech's API.

    What to do: Correct the parameter that the message names, in the DAG or in the connection.
    """

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter


class SmartechConfigurationError(SmartechTerminalError):
    """The connection or the ``[smartech]`` section of Airflow's configuration is wrong; nothing was sent.

    What to do: Correct the connection or the setting that the message names; run the doctor.
    """


class ContactsRefused(SmartechTerminalError):
    """The contacts cannot be uploaded as they are; nothing was sent.

    ``source`` is where the contacts are: an ``s3://`` URL or a query; ``reason`` says why.

    What to do: Correct the file or the query as the message says, and clear the task.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"The contacts from {source} were not uploaded: {reason}")
        self.source = source
        self.reason = reason


class ContactsWithoutKey(ContactsRefused):
    """Rows have no primary key. ``missing`` of ``rows`` rows have a NULL or blank in the column ``primary_key``.

    What to do: Correct the query, or set ``on_missing_key="skip"``.
    """

    def __init__(self, source: str, primary_key: str, missing: int, rows: int) -> None:
        super().__init__(
            source,
            f"{missing:,} of {rows:,} rows have a NULL or blank {primary_key}. Fix the query, or set "
            "on_missing_key='skip' to leave them out.",
        )
        self.primary_key = primary_key
        self.missing = missing
        self.rows = rows


class ContactsKeyRepeated(ContactsRefused):
    """Rows have the same primary key: ``repeated`` of ``rows`` rows have one that a row before them had.

    ``primary_key`` is the column.

    What to do: Correct the query, or set ``on_duplicate_key="keep"``.
    """

    def __init__(self, source: str, primary_key: str, repeated: int, rows: int) -> None:
        super().__init__(
            source,
            f"{repeated:,} of {rows:,} rows repeat the {primary_key} of another row, so it is not known which of them "
            "Smartech keeps. Fix the query, or set on_duplicate_key='keep' to upload such rows each time.",
        )
        self.primary_key = primary_key
        self.repeated = repeated
        self.rows = rows


class ContactsFilesRefused(ContactsRefused):
    """Several files cannot be uploaded as they are. ``refused`` has one error for each.

    What to do: Write the files that the message names again, and clear the task.
    """

    def __init__(self, source: str, refused: Sequence[ContactsRefused], files: int) -> None:
        named = "\n".join(f"{one.source}: {one.reason}" for one in refused)
        super().__init__(source, f"{len(refused):,} of {files:,} files cannot be loaded:\n{named}")
        self.refused = list(refused)

    @classmethod
    def of(cls, source: str, refused: Sequence[ContactsRefused], files: int) -> ContactsRefused:
        """Return one error for all: that of the only file, if it is one."""
        return refused[0] if len(refused) == 1 else cls(source, refused, files)


class ContactsEmpty(ContactsRefused):
    """There are no rows to upload.

    What to do: Look why there are no rows; if that is expected, set ``on_empty``.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source, "there are no rows. Set on_empty='skip' if this is expected.")


class ContactsQueryFailed(SmartechRetryableError):
    """The database aborted the query. The error text may contain contact data, so it is not shown.

    ``error`` is the type of the driver's exception, ``sqlstate`` the database's code, if there is one.

    What to do: Run the query by hand to see the database's message.
    """

    def __init__(self, error: str, sqlstate: str | None) -> None:
        code = f", SQLSTATE {sqlstate}" if sqlstate else ""
        super().__init__(
            f"The database aborted the query ({error}{code}); nothing was sent. Its message is not shown, because it "
            "may contain contact data: run the query manually to see it."
        )
        self.error = error
        self.sqlstate = sqlstate


class ContactsStorageError(SmartechRetryableError):
    """An S3 request for the file failed.

    ``url`` is the file's ``s3://`` URL, ``code`` S3's error code, ``reason`` the code and S3's own words, if there are
    any.

    What to do: Check the AWS connection, its permissions and the bucket; run the doctor.
    """

    def __init__(self, url: str, code: str, said: str = "") -> None:
        reason = f"{code}: {said}" if said else code
        super().__init__(
            f"S3 request failed for {url} ({reason}); nothing was sent. Check the AWS connection, its permissions "
            "and the bucket."
        )
        self.url = url
        self.code = code
        self.reason = reason


class TaskKilled(SmartechRetryableError):
    """The task was killed while it streamed a query; nothing was sent.

    What to do: Nothing, if the task has retries; otherwise clear it.
    """


class SmartechRequestError(SmartechError):
    """The request did not lead to an accepted upload.

    ``http_status`` is the HTTP status, ``result`` the answer's field ``result``, ``body`` the first 500 characters of
    the answer with secrets replaced; each is None if there was none.
    """

    def __init__(
        self, message: str, *, http_status: int | None = None, result: str | None = None, body: str | None = None
    ) -> None:
        seen = [
            f"HTTP {http_status}" if http_status is not None else "",
            f"result {result!r}" if result is not None else "",
            f"body {body!r}" if body and result is None else "",
        ]
        details = ", ".join(filter(None, seen))
        super().__init__(f"{message} ({details})" if details else message)
        self.http_status = http_status
        self.result = result
        self.body = body


class SmartechRefused(SmartechRequestError, SmartechTerminalError):
    """Smartech clearly refused the upload; nothing was loaded.

    What to do: Correct what Smartech's reason names: the key, the IDC or a parameter. Then clear the task.
    """


class SmartechThrottled(SmartechRequestError, SmartechRetryableError):
    """Smartech answered HTTP 429; nothing was loaded, and a later try may succeed.

    What to do: Nothing, if the task has retries; send fewer uploads at a time if it comes often.
    """


class SmartechNotReached(SmartechRequestError, SmartechRetryableError):
    """Could not connect to Smartech, so the request was not sent; sending it again is safe.

    What to do: Check proxy, DNS and the connection's host. Retries are safe.
    """


class SmartechOutcomeUnknown(SmartechRequestError, SmartechRetryableError):
    """The request was sent, but no clear answer came: Smartech may or may not load the file.

    What to do: Look in Smartech's panel. A retry acts as ``on_unknown_outcome`` says.
    """


class UploadStoreError(SmartechRetryableError):
    """The upload store cannot be read or written.

    What to do: Check the upload store's connection, permissions and bucket; run the doctor.
    """


class UploadRecordUnreadable(UploadStoreError):
    """The files of one upload are damaged or were not written by this provider. ``key`` names the upload.

    What to do: Look at the file that the message names: restore or remove it.
    """

    def __init__(self, key: str, file: str, reason: str) -> None:
        super().__init__(
            f"Upload {key}: {file} in the upload store cannot be read ({reason}). "
            "Check the file, then restore or remove it."
        )
        self.key = key


class UploadUnknown(SmartechTerminalError):
    """The upload store has no record of the upload. ``requestid`` names it.

    What to do: Set the same ``upload_store`` for all of Airflow's components; the upload may also have been purged.
    """

    def __init__(self, requestid: str, store: str) -> None:
        super().__init__(
            f"No upload with requestid {requestid!r} is recorded in the upload store at {store}. Was it submitted by "
            "SmartechBulkUploadOperator, and do the worker, the triggerer and the API server share one store? "
            "Set [smartech] upload_store to the same place for all of them."
        )
        self.requestid = requestid


class UploadAmbiguous(SmartechTerminalError):
    """Several uploads have this ``requestid``, for example in two accounts. ``keys`` are the uploads' keys.

    ``described`` has, for each key, what distinguishes the upload from the others.

    What to do: Set the sensor's ``smartech_conn_id``.
    """

    def __init__(self, requestid: str, described: dict[str, str]) -> None:
        listed = "; ".join(f"{key} ({what})" for key, what in described.items())
        super().__init__(
            f"Requestid {requestid!r} matches {len(described)} uploads: {listed}. Give the sensor smartech_conn_id, "
            "the connection of the right account, or one of these keys instead of the requestid."
        )
        self.requestid = requestid
        self.keys = list(described)


class UploadNotTracked(SmartechTerminalError):
    """The upload was sent without this provider's callback, so its end cannot be known. ``requestid`` names it.

    What to do: Leave the operator's ``callback`` unset, and set ``callback_base_url``.
    """

    def __init__(self, requestid: str) -> None:
        super().__init__(
            f"Upload {requestid} was sent without this provider's callback, so no ping-back can arrive here and "
            "the wait would never end. Leave the operator's `callback` unset and set [smartech] callback_base_url."
        )
        self.requestid = requestid


class UploadNotCompleted(SmartechError):
    """The upload has ended without completing.

    ``requestid`` names the upload, ``file`` the file that was sent; ``payloads`` are the ping-backs that ended it, as
    received (JSON values).
    """

    what_happened: str
    what_to_do: str

    def __init__(self, requestid: str, file: str, payloads: list[Any]) -> None:
        shown = "; ".join(repr(payload) for payload in payloads)
        super().__init__(f"Upload {requestid} of {file} {self.what_happened}: {shown}. {self.what_to_do}")
        self.requestid = requestid
        self.file = file
        self.payloads = payloads


class UploadFailed(UploadNotCompleted, SmartechRetryableError):
    """Smartech's ping-back says that the upload failed.

    What to do: Correct what the ping-back names, and clear the task that submitted the file.
    """

    what_happened = "failed according to Smartech's ping-back"
    what_to_do = "Fix the problem that it names and clear the task that submitted the file."


class UploadStatusUnrecognised(UploadNotCompleted, SmartechTerminalError):
    """A ping-back has an unrecognised status or contradicts itself; it never counts as success.

    The message says how it was read, and which settings would make it known.

    What to do: Look in Smartech's panel; if the word or field is right, set it as the message shows.
    """

    what_happened = "ended with a status that is not recognised"
    what_to_do = "Check in Smartech's panel whether the contacts are loaded."

    def __init__(self, requestid: str, file: str, payloads: list[Any], readings: Sequence[str] = ()) -> None:
        if readings:
            self.what_to_do = "\n".join(readings)
        super().__init__(requestid, file, payloads)


class UploadRowsRejected(UploadNotCompleted, SmartechTerminalError):
    """The upload completed, but Smartech accepted none of its rows, or rejected more than ``max_rejected``.

    ``accepted`` and ``rejected`` are the numbers of rows, None if not known.

    What to do: Look in Smartech's panel why; correct the contacts, or raise ``max_rejected``. Then clear the task.
    """

    what_to_do = (
        "Find the reason in the Smartech panel, fix the contacts and clear the task that submitted them: it uploads "
        "them again. If this number of rejected rows is acceptable, raise max_rejected first."
    )

    def __init__(
        self, requestid: str, file: str, payloads: list[Any], numbers: str, accepted: int | None, rejected: int | None
    ) -> None:
        self.what_happened = f"completed with too few rows ({numbers})"
        super().__init__(requestid, file, payloads)
        self.accepted = accepted
        self.rejected = rejected


class UploadTimeout(SmartechTerminalError):
    """No ping-back ended the upload in time. A retry would send it again, so Airflow makes none.

    ``requestid`` names the upload, ``submitted_at`` is when it was recorded (UTC), ``timeout`` in seconds.

    What to do: Run the doctor, and look in Smartech's panel. Clear the task only if it shall be sent again.
    """

    def __init__(self, requestid: str, submitted_at: datetime, timeout: float, pingbacks: int) -> None:
        came = "no ping-back came" if not pingbacks else f"{pingbacks} ping-back(s) came, but none of them ends it"
        super().__init__(
            f"Upload {requestid}, submitted at {submitted_at:%Y-%m-%d %H:%M:%S} UTC: {came} within {timeout:.0f} "
            "seconds. Check that Smartech can reach [smartech] callback_base_url from the internet (its /health "
            "answers JSON) and that the receiver and this task use the same [smartech] upload_store. Check in the "
            "Smartech panel whether the upload is still running. There is no retry: clearing the task that submitted "
            "it sends it again, unless its ping-back has come by then."
        )
        self.requestid = requestid
        self.submitted_at = submitted_at
        self.timeout = timeout


class WaitBroken(SmartechRetryableError):
    """A deferred wait ended without a result; the upload itself may have succeeded.

    What to do: Nothing, if the task has retries: a retry waits for the same upload. Otherwise clear the task.
    """


class ChainBroken(SmartechTerminalError):
    """The doctor found that a link of the chain to Smartech and back is broken. ``links`` are their names.

    What to do: Do what the log says of each broken link.
    """

    def __init__(self, links: Sequence[str]) -> None:
        super().__init__(f"Broken: {', '.join(links)}. The lines of the log above say what to do.")
        self.links = list(links)
