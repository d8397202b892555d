"""The one call that this provider makes: Smartech's "Add Bulk Contact"."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError, SSLError

from airflow_provider_smartech.account import Account
from airflow_provider_smartech.answers import Answer
from airflow_provider_smartech.errors import SmartechError, SmartechNotReached, SmartechOutcomeUnknown

LARGEST_ANSWER = 64 * 1024


def ask(
    account: Account, form: Mapping[str, str], secrets: Sequence[str], connect_timeout: float, read_timeout: float
) -> Answer:
    """Send one request for an upload and return Smartech's answer.

    :param form: the body.
    :param secrets: what the answer may repeat, and nobody may see.
    :param connect_timeout: seconds for reaching Smartech.
    :param read_timeout: seconds for Smartech's whole answer.
    :raises SmartechNotReached: nothing was sent.
    :raises SmartechOutcomeUnknown: it was sent, but no answer came.
    """
    failure: SmartechError
    try:
        with requests.Session() as session:
            # A proxy would see the key of a plain request.
            session.trust_env = account.url.startswith("https://")
            with session.post(
                account.url,
                params={"type": "contact", "activity": "bulkupload", "apikey": account.api_key},
                data=form,
                # requests sets it only where there is a body.
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                timeout=(connect_timeout, read_timeout),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = _read(response, read_timeout)
        return Answer(response.status_code, body, [account.api_key, *secrets])
    except requests.RequestException as error:
        failure = _failure(error, urlsplit(account.url).hostname or "")
    # Raised outside the handler: requests' exception holds the URL with the key, and must not be chained.
    raise failure


def _read(response: requests.Response, seconds: float) -> str:
    """Read a bounded answer in bounded time: requests' own time-out begins anew with every byte."""
    deadline = time.monotonic() + seconds
    body = b""
    for chunk in response.iter_content(1024):
        body += chunk
        if len(body) > LARGEST_ANSWER or time.monotonic() > deadline:
            raise requests.ReadTimeout
    return body.decode(errors="replace")


def _failure(error: requests.RequestException, host: str) -> SmartechError:
    kind = type(error).__name__
    if _was_never_sent(error):
        return SmartechNotReached(
            f"No connection to {host} came about ({kind}); nothing was sent. Check host and network"
        )
    return SmartechOutcomeUnknown(
        f"The upload was sent to {host}, but no answer came ({kind}); look in Smartech's panel whether it runs"
    )


def _was_never_sent(error: requests.RequestException) -> bool:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, ProxyError):
        # A connection that is cut after the request looks like this as well, so only the cause tells.
        reason = reason.original_error
        if isinstance(reason, OSError) and str(reason).startswith("Tunnel connection failed"):
            return True
    if isinstance(reason, SSLError):
        # Other TLS errors may come while the answer is read.
        return any(isinstance(detail, ssl.SSLCertVerificationError) for detail in reason.args)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)
