"""The connection to Smartech, and the one call that this provider makes."""

from __future__ import annotations

import json
import logging
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import BaseHook
from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError, SSLError

from airflow_provider_smartech import connection_form, lineage
from airflow_provider_smartech.account import Account
from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechError,
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
    SmartechThrottled,
)
from airflow_provider_smartech.parameters import BulkUploadParameters
from airflow_provider_smartech.redaction import SecretUrl, hide_api_keys, mask, scrub, scrub_json

for library in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(library).addFilter(hide_api_keys)

# Of a sibling call, "Invalid API key" is documented; what else is said of keys and access can only be recognised.
REFUSED_KEY = re.compile(
    r"\b(invalid|wrong|incorrect|unknown|missing|expired|inactive|no) (api[ _-]?)?key\b"
    r"|\bapi[ _-]?key (is )?(invalid|wrong|incorrect|unknown|missing|expired|inactive|required|not)\b",
    re.IGNORECASE,
)
DOUBTFUL = re.compile(r"api[ _-]?key|unauthori[sz]ed|authent|forbidden|denied|permission|token", re.IGNORECASE)

LARGEST_ANSWER = 64 * 1024
EXCERPT = 500


class SmartechHook(BaseHook):
    """Submits hosted CSV files of contacts to Netcore Smartech.

    The connection (type ``smartech``) holds the API key as its password. Its extra ``idc`` (``us``, the
    default, ``in`` or ``eu``) chooses Smartech's data centre; its host, a full base URL, overrides that. Its extras
    ``listid`` and ``notifyemail`` are for uploads that name none.

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

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields to Airflow 3.1; newer ones read the provider info."""
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form does with the standard fields, to Airflow 3.1; newer ones read the provider info."""
        return connection_form.field_behaviour()

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
        :param listid: number of the list to add the contacts to; the connection's own by default.
        :param notifyemail: e-mail address that Smartech notifies at completion; the connection's own by default.
        :param callback: URL that Smartech calls by POST with the status of the upload.
        :raises SmartechInvalidParameter: a parameter is wrong; nothing was sent.
        :raises SmartechConfigurationError: the connection is wrong; nothing was sent.
        :raises SmartechRefused: Smartech said no.
        :raises SmartechThrottled: Smartech said "not now".
        :raises SmartechNotReached: no try reached Smartech.
        :raises SmartechOutcomeUnknown: the request was sent, but no clear answer came.
        """
        parameters = self.parameters(path, listid, notifyemail, callback)
        # Before it is sent: afterwards nothing may keep the requestid from the caller.
        lineage.collect(self, str(parameters.path), self.account.idc, parameters.listid)
        return self.submit(parameters)

    def parameters(
        self,
        path: str | SecretUrl,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | SecretStr | None = None,
    ) -> BulkUploadParameters:
        """Return an upload's parameters, checked, with the connection's list and e-mail address where none is given.

        :raises SmartechInvalidParameter: a parameter is wrong.
        :raises SmartechConfigurationError: the connection is wrong.
        """
        given = BulkUploadParameters.check(path, listid, notifyemail, callback)
        return replace(
            given,
            listid=self.account.listid if given.listid is None else given.listid,
            notifyemail=given.notifyemail or self.account.notifyemail,
        )

    def submit(self, parameters: BulkUploadParameters) -> str:
        """Do what ``bulk_upload`` does, for parameters that are checked and complete."""
        mask(parameters.secrets())
        secrets = [parameters.notifyemail or "", *parameters.secrets()]
        retrying = Retrying(
            retry=retry_if_exception_type(SmartechNotReached),
            stop=stop_after_attempt(self.attempts),
            wait=wait_random_exponential(max=self.retry_wait),
            reraise=True,
        )
        answer: _Answer = retrying(self._post, parameters.form(), secrets)
        return answer.requestid()

    def check(self) -> None:
        """Raise ``SmartechConfigurationError`` if the connection cannot be used."""
        _ = self.account

    def test_connection(self) -> tuple[bool, str]:
        """See whether Smartech is reached and refuses the API key: what Airflow's test button shows.

        There is no call for that, so it asks for an upload without a file: that can load nothing. Only a refused key
        can be told for sure; that another answer means a good key is likely, but nowhere documented.
        """
        try:
            host = urlsplit(self.account.url).hostname or ""
            return self._post({}, []).says_of_the_key(host)
        except SmartechOutcomeUnknown:
            return False, f"{host} was asked, but no answer came; whether the API key is right is not known."
        except SmartechError as error:
            return False, str(error)

    @cached_property
    def account(self) -> Account:
        """What the connection says.

        :raises SmartechConfigurationError: the connection is missing or wrong.
        """
        try:
            connection = self.get_connection(self.smartech_conn_id)
        except AirflowNotFoundException as error:
            raise SmartechConfigurationError(
                f"There is no connection {self.smartech_conn_id!r}. Make one of the type smartech, with the API key as "
                "its password."
            ) from error
        mask([connection.password or ""])
        return Account.of(connection)

    def _post(self, form: Mapping[str, str], secrets: Sequence[str]) -> _Answer:
        url, api_key = self.account.url, self.account.api_key
        failure: SmartechError
        try:
            with requests.Session() as session:
                # A proxy would see the key of a plain request.
                session.trust_env = url.startswith("https://")
                with session.post(
                    url,
                    params={"type": "contact", "activity": "bulkupload", "apikey": api_key},
                    data=form,
                    # requests sets it only where there is a body.
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                    timeout=(self.connect_timeout, self.read_timeout),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    body = _read(response, self.read_timeout)
            return _Answer(response.status_code, body, [api_key, *secrets])
        except requests.RequestException as error:
            failure = _failure(error, urlsplit(url).hostname or "")
        # Raised outside the handler: requests' exception holds the URL with the key, and must not be chained.
        raise failure


class _Answer:
    """What Smartech answered: ``requestid()`` returns its requestid or raises what the answer means.

    ``says_of_the_key()`` reads it as the answer to a request without a file.
    """

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

    def says_of_the_key(self, host: str) -> tuple[bool, str]:
        seen = f"HTTP {self.http_status}" + (f", result {self._seen['result']!r}" if self._seen["result"] else "")
        of_the_api, said = isinstance(self.result, str), str(self.result)
        if of_the_api and (self.http_status in (401, 403) or REFUSED_KEY.search(said)):
            return False, f"{host} was reached and refused the API key ({seen})."
        if not of_the_api or self.http_status not in (200, 400, 422) or DOUBTFUL.search(said):
            return False, (
                f"{host} was reached, but its answer does not tell whether the API key is right ({seen}). Check the "
                "IDC and the base URL."
            )
        return True, f"{host} was reached and did not refuse the API key ({seen}). The request named no file."


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
