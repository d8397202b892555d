"""The one call that this provider makes: Smartech's "Add Bulk Contact"."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError, SSLError

from airflow_provider_smartech.api.account import Account
from airflow_provider_smartech.api.response import Response
from airflow_provider_smartech.errors import SmartechError, SmartechNotReached, SmartechOutcomeUnknown

LARGEST_RESPONSE_BYTES = 64 * 1024


def ask(
    account: Account,
    form: Mapping[str, str],
    secrets: Sequence[str],
    where: str,
    connect_timeout: float,
    read_timeout: float,
) -> Response:
    """Send one request for an upload and return Smartech's answer.

    :param form: the body.
    :param secrets: secrets that the answer may repeat and that must not be shown.
    :param where: the connection, the host and the upload, for messages.
    :param connect_timeout: seconds to connect to Smartech.
    :param read_timeout: seconds to read Smartech's whole answer. The call never takes longer than both together.
    :raises SmartechNotReached: nothing was sent.
    :raises SmartechOutcomeUnknown: it was sent, or may have been, but no answer came.
    """
    answered: Future[Response] = Future()
    # In a thread, because requests has no limit for the headers: its timeout restarts with every byte of them. As a
    # daemon, because an abandoned thread must not keep the process alive.
    arguments = (answered, account, form, secrets, where, connect_timeout, read_timeout)
    Thread(target=_complete, args=arguments, daemon=True, name="smartech-request").start()
    wait([answered], connect_timeout + read_timeout)
    if not answered.done():
        # Even "nothing was sent" is not certain: the thread is still running.
        raise SmartechOutcomeUnknown(
            f"No answer came in time, and the upload may have been sent ({where}); check in Smartech's panel whether "
            "it is running"
        )
    return answered.result()


def _complete(answered: Future[Response], *request: Any) -> None:
    try:
        answered.set_result(_request(*request))
    except BaseException as error:  # noqa: BLE001 - the caller raises it
        answered.set_exception(error)


def _request(
    account: Account,
    form: Mapping[str, str],
    secrets: Sequence[str],
    where: str,
    connect_timeout: float,
    read_timeout: float,
) -> Response:
    failure: SmartechError
    try:
        with requests.Session() as session:
            # A proxy would see the API key of a plain http request.
            session.trust_env = account.url.startswith("https://")
            with session.post(
                account.url,
                params={"type": "contact", "activity": "bulkupload", "apikey": account.api_key},
                data=form,
                # requests sets it only if there is a body.
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                timeout=(connect_timeout, read_timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _read(response, read_timeout)
        return Response(response.status_code, body, [account.api_key, *secrets])
    except requests.RequestException as error:
        failure = _failure(error, where)
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
