"""The one call that this provider makes: Smartech's "Add Bulk Contact"."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError, SSLError

from airflow_provider_smartech.api.account import Account
from airflow_provider_smartech.api.response import Response
from airflow_provider_smartech.errors import SmartechError, SmartechNotReached, SmartechOutcomeUnknown

LARGEST_RESPONSE_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request for an upload.

    ``form`` is the body, ``secrets`` are what the answer may repeat and must not be shown, ``where`` names connection,
    host and upload in messages. ``connect_timeout`` are seconds to connect to Smartech, ``read_timeout`` those to read
    its whole answer.
    """

    account: Account
    form: Mapping[str, str]
    secrets: Sequence[str]
    where: str
    connect_timeout: float
    read_timeout: float

    def answer(self) -> Response:
        """Send it, and return Smartech's answer. This never takes longer than both timeouts together.

        :raises SmartechNotReached: nothing was sent.
        :raises SmartechOutcomeUnknown: it was sent, or may have been, but no answer came.
        """
        answered: Future[Response] = Future()
        # In a thread, because requests has no limit for the headers: its timeout restarts with every byte of them. As a
        # daemon, because an abandoned thread must not keep the process alive.
        Thread(target=self._complete, args=(answered,), daemon=True, name="smartech-request").start()
        wait([answered], self.connect_timeout + self.read_timeout)
        if not answered.done():
            # Even "nothing was sent" is not certain: the thread is still running.
            raise SmartechOutcomeUnknown(
                f"No answer came in time, and the upload may have been sent ({self.where}); check in Smartech's panel "
                "whether it is running"
            )
        return answered.result()

    def _complete(self, answered: Future[Response]) -> None:
        try:
            answered.set_result(self._request())
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            answered.set_exception(error)

    def _request(self) -> Response:
        failure: SmartechError
        try:
            with requests.Session() as session:
                # A proxy would see the API key of a plain http request.
                session.trust_env = self.account.url.startswith("https://")
                with session.post(
                    self.account.url,
                    params={"type": "contact", "activity": "bulkupload", "apikey": self.account.api_key},
                    data=self.form,
                    # requests sets it only if there is a body.
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                    timeout=(self.connect_timeout, self.read_timeout),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    body = _read(response, self.read_timeout)
            return Response(response.status_code, body, [self.account.api_key, *self.secrets])
        except requests.RequestException as error:
            failure = _failure(error, self.where)
        # Raised outside the handler: requests' exception holds the URL with the key, and must not be chained.
        raise failure


def _read(response: requests.Response, seconds: float) -> str:
    """Read an answer of limited size in limited time."""
    deadline = time.monotonic() + seconds
    body = b""
    for chunk in response.iter_content(1024):
        body += chunk
        if len(body) > LARGEST_RESPONSE_BYTES or time.monotonic() > deadline:
            raise requests.ReadTimeout
    return body.decode(errors="replace")


def _failure(error: requests.RequestException, where: str) -> SmartechError:
    kind = type(error).__name__
    if _was_never_sent(error):
        return SmartechNotReached(
            f"Could not connect to Smartech ({kind}; {where}); nothing was sent. Check the host and the network"
        )
    return SmartechOutcomeUnknown(
        f"The upload was sent, but no answer came ({kind}; {where}); check in Smartech's panel whether it is running"
    )


def _was_never_sent(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, ProxyError):
        # A connection that is cut after the request looks the same, so only the cause is conclusive.
        reason = reason.original_error
        if isinstance(reason, OSError) and str(reason).startswith("Tunnel connection failed"):
            return True
    if isinstance(reason, SSLError):
        # Other TLS errors may occur while the answer is read.
        return any(isinstance(detail, ssl.SSLCertVerificationError) for detail in reason.args)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)
