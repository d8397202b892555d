"""The connection to Smartech, and the one call that this provider makes."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
import ssl
import time
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import BaseHook
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError, SSLError

from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechError,
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
    SmartechThrottled,
)
from airflow_provider_smartech.parameters import BulkUploadParameters
from airflow_provider_smartech.redaction import hide_api_keys, mask, scrub, scrub_json

# Smartech's page "Add Bulk Contact"; the EU address is from a later page of the same API.
IDC_URLS = {
    "us": "https://api.netcoresmartech.com/apiv2",
    "in": "https://apiin.netcoresmartech.com/apiv2",
    "eu": "https://jsonapi.eu-north-1.eu.netcoresmartech.com/apiv2",
}

PRIVATE = [
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]

for library in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(library).addFilter(hide_api_keys)

LARGEST_ANSWER = 64 * 1024
EXCERPT = 500


class SmartechHook(BaseHook):
    """Submits hosted CSV files of contacts to Netcore Smartech.

    The connection (type ``smartech``) holds the API key as its password. Its extra ``idc`` (``us``, the
    default, ``in`` or ``eu``) chooses Smartech's data centre; its host, a full base URL, overrides that.

    :param smartech_conn_id: the id of the Airflow connection.
    """

    conn_name_attr = "smartech_conn_id"
    default_conn_name = "smartech_default"
    conn_type = "smartech"
    hook_name = "Netcore Smartech"

    connect_timeout: float = 10.0
    """Seconds for reaching Smartech."""
    read_timeout: float = 60.0
    """Seconds for Smartech's whole answer."""
    attempts: int = 3
    """How often at most a request is tried while none could be sent."""
    retry_wait: float = 10.0
    """The longest pause, in seconds, between two such tries."""

    def __init__(self, smartech_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.smartech_conn_id = smartech_conn_id

    def bulk_upload(
        self,
        path: str,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | None = None,
    ) -> str:
        """Submit one hosted CSV and return the ``requestid`` under which Smartech loads it in the background.

        Rests on Smartech's page "Add Bulk Contact". A request that could not be sent is tried again; one that
        was sent never is.

        :param path: absolute http(s) URL of the CSV; Smartech fetches it later, so a signed link must stay valid
            for hours.
        :param listid: number of the list to add the contacts to.
        :param notifyemail: e-mail address that Smartech notifies at completion.
        :param callback: URL that Smartech calls by POST with the status of the upload.
        :raises SmartechInvalidParameter: a parameter is wrong; nothing was sent.
        :raises SmartechConfigurationError: the connection is wrong; nothing was sent.
        :raises SmartechRefused: Smartech said no.
        :raises SmartechThrottled: Smartech said "not now".
        :raises SmartechNotReached: no try reached Smartech.
        :raises SmartechOutcomeUnknown: the request was sent, but no clear answer came.
        """
        return self.submit(BulkUploadParameters.check(path, listid, notifyemail, callback))

    def submit(self, parameters: BulkUploadParameters) -> str:
        """Do what ``bulk_upload`` does, for parameters that are checked already."""
        url, api_key = self.endpoint
        mask(parameters.secrets())
        retrying = Retrying(
            retry=retry_if_exception_type(SmartechNotReached),
            stop=stop_after_attempt(self.attempts),
            wait=wait_random_exponential(max=self.retry_wait),
            reraise=True,
        )
        answer: _Answer = retrying(self._post, url, api_key, parameters)
        return answer.requestid()

    def check(self) -> None:
        """Raise ``SmartechConfigurationError`` if the connection cannot be used."""
        _ = self.endpoint

    @cached_property
    def endpoint(self) -> tuple[str, str]:
        """The URL of the call and the API key, from the connection.

        :raises SmartechConfigurationError: the connection is missing or wrong.
        """
        try:
            connection = self.get_connection(self.smartech_conn_id)
        except AirflowNotFoundException as error:
            raise SmartechConfigurationError(
                f"There is no connection {self.smartech_conn_id!r}. Make one of the type smartech, with the API key as "
                "its password."
            ) from error
        if not connection.password:
            raise SmartechConfigurationError(
                f"Connection {self.smartech_conn_id!r} has no API key. Put it into the password field; Smartech shows "
                "it in its panel under Admin, Sub Admin, Edit on your user name."
            )
        mask([connection.password])
        if connection.host:
            return _overriding_url(self.smartech_conn_id, connection.host), connection.password
        idc = str(connection.extra_dejson.get("idc") or "us").lower()
        if idc not in IDC_URLS:
            raise SmartechConfigurationError(
                f"Connection {self.smartech_conn_id!r} names the IDC {idc!r}; choose one of {', '.join(IDC_URLS)}."
            )
        return IDC_URLS[idc], connection.password

    def _post(self, url: str, api_key: str, parameters: BulkUploadParameters) -> _Answer:
        failure: SmartechError
        try:
            with requests.Session() as session:
                # A proxy would see the key of a plain request.
                session.trust_env = url.startswith("https://")
                with session.post(
                    url,
                    params={"type": "contact", "activity": "bulkupload", "apikey": api_key},
                    data=parameters.form(),
                    timeout=(self.connect_timeout, self.read_timeout),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    body = _read(response, self.read_timeout)
            return _Answer(response.status_code, body, [api_key, parameters.notifyemail or "", *parameters.secrets()])
        except requests.RequestException as error:
            failure = _failure(error, urlsplit(url).hostname or "")
        # Raised outside the handler: requests' exception holds the URL with the key, and must not be chained.
        raise failure


class _Answer:
    """What Smartech answered: ``requestid()`` returns its requestid or raises what the answer means."""

    def __init__(self, http_status: int, body: str, secrets: list[str]) -> None:
        self.http_status = http_status
        self.fields = _json_object(body)
        self.result = self.fields.get("result")
        # Scrubbed only after it is decoded: escapes hide a secret from the search for it.
        safe_fields = json.dumps(scrub_json(self.fields, secrets), ensure_ascii=False)
        shown = safe_fields if self.fields else scrub(_unescaped(body), secrets)
        self._seen: dict[str, Any] = {
            "http_status": http_status,
            "result": scrub(self.result, secrets)[:EXCERPT] if isinstance(self.result, str) else None,
            "body": shown[:EXCERPT],
        }

    def requestid(self) -> str:
        if self.http_status == 429:
            raise SmartechThrottled("Smartech takes no more requests at the moment; try later", **self._seen)
        if 400 <= self.http_status < 500 and self.http_status != 408:
            raise SmartechRefused(
                "Smartech refused the upload; check the API key, the IDC and the parameters", **self._seen
            )
        if not 200 <= self.http_status < 300 or not isinstance(self.result, str):
            raise SmartechOutcomeUnknown(
                "Smartech's answer cannot be understood; look in its panel whether the upload runs", **self._seen
            )
        if self.result.strip().lower() != "success":
            raise SmartechRefused("Smartech refused the upload", **self._seen)
        requestid = self.fields.get("requestid")
        if not isinstance(requestid, str) or not requestid.strip():
            raise SmartechOutcomeUnknown(
                "Smartech answered Success without a requestid; look in its panel whether the upload runs", **self._seen
            )
        return requestid.strip()


def _unescaped(text: str) -> str:
    """Undo JSON's escapes in a text that is not JSON as a whole."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), text)
    return text.replace("\\/", "/")


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


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


def _overriding_url(conn_id: str, host: str) -> str:
    try:
        parts = urlsplit(host)
        scheme, name, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, name = "", None
    if scheme not in ("http", "https") or not name or parts.query or parts.fragment or "@" in parts.netloc:
        raise SmartechConfigurationError(
            f"Connection {conn_id!r}: the host must be a full base URL such as {IDC_URLS['us']}, "
            "without login or query."
        )
    if scheme == "http" and not _is_private(name):
        raise SmartechConfigurationError(
            f"Connection {conn_id!r}: plain http:// to {name} would show the API key to everyone on the way; use "
            "https://. Plain http is taken only for a loopback or private address."
        )
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") or "/apiv2"))


def _is_private(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return bool(addresses) and all(any(address in network for network in PRIVATE) for address in addresses)
