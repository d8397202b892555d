"""What an answer of Smartech means, and what is shown of it."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest

from airflow_provider_smartech.errors import (
    SmartechError,
    SmartechOutcomeUnknown,
    SmartechRefused,
    SmartechRequestError,
    SmartechThrottled,
)
from airflow_provider_smartech.hooks import SmartechHook
from tests.conftest import API_KEY, SetConnection
from tests.support.file_server import FileServer
from tests.support.servers import answering, http


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("200 OK", b'{"result": "SUCCESS", "requestid": "abc"}', None),
        ("201 Created", b'{"result": " success ", "requestid": "abc"}', None),
        ("200 OK", b'{"result": "Success", "requestid": "  "}', SmartechOutcomeUnknown),
        ("200 OK", b'{"result": "Success", "requestid": 0}', SmartechOutcomeUnknown),
        ("200 OK", b'{"result": "Success", "requestid": true}', SmartechOutcomeUnknown),
        ("200 OK", b'{"result": "Success", "requestid": 7.5}', SmartechOutcomeUnknown),
        ("200 OK", b'{"requestid": "abc"}', SmartechOutcomeUnknown),
        ("200 OK", b'{"result": true, "requestid": "abc"}', SmartechOutcomeUnknown),
        ("200 OK", b'["Success"]', SmartechOutcomeUnknown),
        ("200 OK", b"", SmartechOutcomeUnknown),
        ("200 OK", b"[" * 60000, SmartechOutcomeUnknown),
        ("200 OK", b"x" * 70000, SmartechOutcomeUnknown),
        ("200 OK", b'{"result": "Failure", "requestid": "abc"}', SmartechOutcomeUnknown),
        ("302 Found", b'{"result": "Success", "requestid": "abc"}', SmartechOutcomeUnknown),
        ("503 Unavailable", b'{"result": "Success", "requestid": "abc"}', SmartechOutcomeUnknown),
        ("408 Timeout", b"", SmartechOutcomeUnknown),
    ],
)
def test_success_needs_2xx_and_the_word_and_a_requestid(
    connection: SetConnection, csv_url: str, status: str, body: bytes, error: type[SmartechError] | None
) -> None:
    with answering(http(status, body)) as (url, seen):
        connection(host=url)
        if error is None:
            assert SmartechHook().bulk_upload(csv_url) == "abc"
        else:
            with pytest.raises(error):
                SmartechHook().bulk_upload(csv_url)
    assert len(seen) == 1


def test_a_requestid_may_be_a_number(connection: SetConnection, csv_url: str) -> None:
    with answering(http("200 OK", b'{"result": "Success", "requestid": 12345678901234567890}')) as (url, _):
        connection(host=url)
        assert SmartechHook().bulk_upload(csv_url) == "12345678901234567890"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        *[(f"{status} No", b"<html>", SmartechRefused) for status in (400, 401, 403, 404, 405, 406, 410, 411)],
        *[(f"{status} No", b"{}", SmartechRefused) for status in (413, 414, 415, 422, 431)],
        ("400 Bad Request", b'{"result": "path is required", "requestid": ""}', SmartechRefused),
        ("200 OK", b'{"result": "Invalid API key"}', SmartechRefused),
        ("409 Conflict", b'{"result": "api_key is expired"}', SmartechRefused),
        ("200 OK", b'{"result": "Unknown key"}', SmartechRefused),
        ("200 OK", b'{"result": "Accepted; rows with no key are left out"}', SmartechOutcomeUnknown),
        ("200 OK", b'{"result": "Request accepted", "requestid": "77"}', SmartechOutcomeUnknown),
        ("200 OK", b'{"result": "Failure"}', SmartechOutcomeUnknown),
        ("200 OK", b'{"result": "Invalid API key", "requestid": "77"}', SmartechOutcomeUnknown),
        ("500 Oh", b'{"result": "Invalid API key"}', SmartechOutcomeUnknown),
        ("400 Bad Request", b'{"result": "Success"}', SmartechOutcomeUnknown),
        ("422 No", b'{"result": "duplicate", "requestid": 77}', SmartechOutcomeUnknown),
        ("409 Conflict", b'{"result": "already in progress"}', SmartechOutcomeUnknown),
        *[(f"{status} Hm", b"{}", SmartechOutcomeUnknown) for status in (402, 408, 409, 423, 425, 499, 304, 503)],
        ("429 Slow Down", b"{}", SmartechThrottled),
    ],
)
def test_only_what_is_unmistakably_a_no_is_taken_for_a_refusal(
    connection: SetConnection, csv_url: str, status: str, body: bytes, error: type[SmartechError]
) -> None:
    with answering(http(status, body)) as (url, seen):
        connection(host=url)
        with pytest.raises(error) as caught:
            SmartechHook().bulk_upload(csv_url)
    assert type(caught.value) is error
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("400 Bad Request", "Smartech refused the upload ("),
        ("429 Slow Down", "Smartech accepts no more requests at the moment ("),
        ("200 OK", "Smartech's answer is not clear ("),
        ("500 Oh", "Smartech had a server error ("),
        ("503 Unavailable", "Smartech had a server error ("),
    ],
)
def test_the_error_names_the_connection_and_the_host(
    connection: SetConnection, csv_url: str, status: str, said: str
) -> None:
    with answering(http(status, b"{}")) as (url, _):
        connection(host=url)
        with pytest.raises(
            SmartechRequestError, match=f"^{re.escape(said)}connection 'smartech_default', host 127.0.0.1"
        ):
            SmartechHook().bulk_upload(csv_url)


@pytest.mark.parametrize(
    "template",
    [
        '{{"result": "callback not reachable: {callback}"}}',
        '{{"result": "cannot POST {callback_path}"}}',
        '{{"result": "no", "detail": ["{escaped}"]}}',
        '{{"result": "no", "detail": "{unicode}"}}',
        "<html>{callback} {escaped} {unicode} {callback_path}",
    ],
)
def test_an_answer_that_echoes_secrets_in_any_disguise_is_shown_without_them(
    connection: SetConnection, csv_url: str, template: str
) -> None:
    callback, signed = (
        "https://af.example.com/smartech/pingback/20260101T000000-upl0ad1d",
        f"{csv_url}?a=1&sig=s1gnature0123456",
    )
    body = template.format(
        callback=callback,
        callback_path="/smartech/pingback/20260101T000000-upl0ad1d",
        escaped=callback.replace("/", "\\/"),
        unicode=signed.replace("&", "\\u0026").replace("?", "\\u003f"),
    )
    with answering(http("400 Bad Request", body.encode())) as (url, _):
        connection(host=url)
        with pytest.raises(SmartechRefused) as caught:
            SmartechHook().bulk_upload(signed, callback=callback)
    assert caught.value.body
    shown = f"{caught.value} {caught.value.result} {caught.value.body}"
    assert "upl0ad1d" not in shown
    assert "s1gnature" not in shown


@pytest.mark.parametrize("path", ["/f.csv?s", "/f.csv?requestid=ab12", "/f.csv?Success"])
def test_what_is_hidden_does_not_change_what_the_answer_means(
    connection: SetConnection, files: FileServer, path: str
) -> None:
    body = b'{"requestid": "ab12", "result": "Success", "msg": "see \\"http://x/?y\\" ok"}'
    with answering(http("200 OK", body)) as (url, _):
        connection(host=url)
        assert SmartechHook().bulk_upload(files.url + path) == "ab12"


def test_an_answer_that_echoes_secrets_is_shown_without_them(connection: SetConnection, csv_url: str) -> None:
    signed = f"{csv_url}?X-Amz-Signature=s1gnature0123456789"
    echo = f"unknown key {API_KEY} or {quote(API_KEY, safe='')} for {signed} / {quote(signed, safe='')} ops@example.com"
    with answering(http("200 OK", json.dumps({"result": echo}).encode())) as (url, _):
        connection(host=url)
        with pytest.raises(SmartechRefused, match="unknown key") as caught:
            SmartechHook().bulk_upload(signed, notifyemail="ops@example.com")
    shown = f"{caught.value} {caught.value.result} {caught.value.body}"
    for secret in (API_KEY, quote(API_KEY, safe=""), "s1gnature", "ops@example.com"):
        assert secret not in shown
