"""The one call to Smartech, over real HTTP."""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import requests

from airflow_provider_smartech.api.data_centres import DATA_CENTRES
from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechError,
    SmartechInvalidParameter,
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
    SmartechRequestError,
    SmartechThrottled,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.conftest import API_KEY
from tests.support.file_server import FileServer
from tests.support.servers import answering

SetConnection = Callable[..., None]


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> SetConnection:
    def set_connection(**fields: object) -> None:
        full = {"conn_type": "smartech", "password": API_KEY, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_SMARTECH_DEFAULT", json.dumps(full))

    return set_connection


def server_context(folder: Path, name: str) -> ssl.SSLContext:
    """Make a certificate that signs itself, and a server's context with it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made_by = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}"]
    alias = ["-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made_by, *alias, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def http(status: str, body: bytes, *headers: bytes) -> bytes:
    head = [b"HTTP/1.1 " + status.encode(), b"Connection: close", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def test_an_accepted_upload_gives_its_requestid(sandbox: SandboxServer, csv_url: str) -> None:
    requestid = SmartechHook().bulk_upload(csv_url, 33)
    assert [upload["requestid"] for upload in sandbox.state.uploads()] == [requestid]


def test_only_key_type_and_activity_are_in_the_url(sandbox: SandboxServer, csv_url: str) -> None:
    SmartechHook().bulk_upload(csv_url, 33, "ops@example.com", f"{sandbox.url}/nowhere")
    assert sandbox.state.uploads()[0]["in_query"] == "activity,apikey,type"
    assert sandbox.state.uploads()[0]["listid"] == 33


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        (Fault.INVALID_KEY, SmartechRefused, 200),
        (Fault.INVALID_KEY_401, SmartechRefused, 401),
        (Fault.NO_REQUESTID, SmartechOutcomeUnknown, 200),
        (Fault.ERROR_500, SmartechOutcomeUnknown, 500),
        (Fault.HTML, SmartechOutcomeUnknown, 200),
        (Fault.HANG, SmartechOutcomeUnknown, None),
        (Fault.CUT_BEFORE, SmartechOutcomeUnknown, None),
        (Fault.CUT_AFTER, SmartechOutcomeUnknown, None),
    ],
)
def test_each_fault_has_its_error_and_is_sent_once(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    error: type[SmartechRequestError],
    status: int | None,
) -> None:
    monkeypatch.setattr(SmartechHook, "read_timeout", 0.3)
    sandbox.faults = frozenset({fault})
    with pytest.raises(error) as caught:
        SmartechHook().bulk_upload(csv_url)
    assert type(caught.value) is error
    assert caught.value.http_status == status
    assert len(sandbox.state.uploads()) == (1 if fault in (Fault.NO_REQUESTID, Fault.CUT_AFTER) else 0)


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


def test_a_redirect_is_not_followed(connection: SetConnection, csv_url: str) -> None:
    with answering(http("200 OK", b'{"result": "Success", "requestid": "abc"}')) as (other, seen_there):
        moved = http("307 Moved", b"", b"Location: " + other.encode())
        with answering(moved) as (url, _):
            connection(host=url)
            with pytest.raises(SmartechOutcomeUnknown):
                SmartechHook().bulk_upload(csv_url)
    assert seen_there == []


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"x"),
    ],
    ids=["body", "headers", "status line"],
)
def test_an_answer_that_trickles_in_is_given_up_in_time(
    connection: SetConnection, csv_url: str, monkeypatch: pytest.MonkeyPatch, begin: bytes, part: bytes
) -> None:
    monkeypatch.setattr(SmartechHook, "connect_timeout", 0.2)
    monkeypatch.setattr(SmartechHook, "read_timeout", 0.2)
    with trickling(begin, part) as url:
        connection(host=url)
        began = time.monotonic()
        with pytest.raises(SmartechOutcomeUnknown, match=r"came in time|ReadTimeout"):
            SmartechHook().bulk_upload(csv_url)
        assert time.monotonic() - began < 2


@contextmanager
def trickling(begin: bytes, part: bytes) -> Iterator[str]:
    """A server that answers one request with something and then, for five seconds, with bits, and never ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def trickle() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(begin)
            for _ in range(100):
                try:
                    client.sendall(part)
                except OSError:
                    return
                if stop.wait(0.05):
                    return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        thread.join()
        listener.close()


def test_what_is_no_error_comes_out_of_a_request_as_it_is(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    def stop(*arguments: object, **named: object) -> None:
        raise Stopped

    monkeypatch.setattr(requests.Session, "send", stop)
    with pytest.raises(Stopped):
        SmartechHook().bulk_upload(csv_url)


def test_a_request_that_was_never_sent_is_tried_again_a_few_times(
    connection: SetConnection, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    connection(host=f"http://127.0.0.1:{port}")
    with caplog.at_level(logging.DEBUG, "urllib3"), pytest.raises(SmartechNotReached, match="nothing was sent"):
        SmartechHook().bulk_upload(csv_url)
    assert sum("Starting new HTTP connection" in record.message for record in caplog.records) == SmartechHook.attempts


def test_a_server_that_comes_up_meanwhile_gets_the_request_once(
    connection: SetConnection, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    connection(host=f"http://127.0.0.1:{port}")
    servers: list[SandboxServer] = []
    ask = SmartechHook._ask

    def ask_then_start(self: SmartechHook, *arguments: object) -> object:
        try:
            return ask(self, *arguments)  # type: ignore[arg-type]
        except SmartechNotReached:
            servers.append(SandboxServer(port=port, api_key=API_KEY).start())
            raise

    monkeypatch.setattr(SmartechHook, "_ask", ask_then_start)
    try:
        requestid = SmartechHook().bulk_upload(csv_url)
        assert [upload["requestid"] for upload in servers[0].state.uploads()] == [requestid]
    finally:
        for server in servers:
            server.stop()


def test_a_certificate_that_nobody_trusts_means_that_nothing_was_sent(
    connection: SetConnection, csv_url: str, tmp_path: Path
) -> None:
    context = server_context(tmp_path, "localhost")
    listener = socket.create_server(("127.0.0.1", 0))

    def shake_hands() -> None:
        for _ in range(SmartechHook.attempts):
            client, _ = listener.accept()
            with client:
                try:
                    context.wrap_socket(client, server_side=True).close()
                except (ssl.SSLError, OSError):
                    continue

    thread = threading.Thread(target=shake_hands)
    thread.start()
    connection(host=f"https://127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(SmartechNotReached, match="SSLError"):
        SmartechHook().bulk_upload(csv_url)
    thread.join()
    listener.close()


@pytest.mark.parametrize("extra", [{}, {"idc": ""}, {"idc": "us"}, {"idc": "IN"}, {"idc": "eu"}])
def test_the_idc_chooses_the_host(connection: SetConnection, extra: dict[str, str]) -> None:
    connection(extra=extra)
    assert SmartechHook().account.url == DATA_CENTRES[(extra.get("idc") or "us").lower()].url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("https://proxy.example.com/smartech/apiv2/", "https://proxy.example.com/smartech/apiv2"),
        ("https://proxy.example.com", "https://proxy.example.com/apiv2"),
        ("http://127.0.0.1:8095", "http://127.0.0.1:8095/apiv2"),
        ("http://localhost:8095/apiv2", "http://localhost:8095/apiv2"),
        ("http://[::1]:8095/apiv2", "http://[::1]:8095/apiv2"),
        ("http://10.1.2.3/apiv2", "http://10.1.2.3/apiv2"),
    ],
)
def test_a_host_in_the_connection_overrides_the_idc(connection: SetConnection, host: str, url: str) -> None:
    connection(host=host, extra={"idc": "in"})
    assert SmartechHook().account.url == url


@pytest.mark.parametrize(
    "fields",
    [
        {"password": None},
        {"extra": {"idc": "moon"}},
        {"extra": {"listid": "thirty-three"}},
        {"extra": [1, 2]},
        {"extra": {"notifyemail": "nobody"}},
        {"host": "api.example.com"},
        {"host": "ftp://api.example.com"},
        {"host": "https://user:pass@api.example.com/apiv2"},
        {"host": "https://api.example.com/apiv2?apikey=1"},
        {"host": "https://api.example.com:port/"},
        {"host": "https://api..example.com/"},
        {"host": "https://exa mple.com/"},
        {"host": f"http://{'x' * 64}.com/"},
        {"host": "http://8.8.8.8/apiv2"},
        *[{"host": f"http://{host}/apiv2"} for host in ("0.0.0.0", "198.18.0.1", "192.0.2.1", "240.0.0.1")],
        {"host": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/apiv2"},
        {"host": "http://[::ffff:8.8.8.8]/apiv2"},
        {"host": "http://[2001:4860:4860::8888]/apiv2"},
        {"host": "http://no-such-host.invalid/apiv2"},
    ],
)
def test_an_unusable_connection_is_refused_before_anything_is_sent(
    connection: SetConnection, csv_url: str, fields: dict[str, object]
) -> None:
    connection(**fields)
    with pytest.raises(SmartechConfigurationError, match="smartech_default"):
        SmartechHook().bulk_upload(csv_url)


@pytest.mark.parametrize("extra", [{}, {"listid": "", "notifyemail": " ", "panel_url": ""}])
def test_a_connection_without_defaults_adds_nothing(connection: SetConnection, extra: dict[str, str]) -> None:
    connection(extra=extra)
    parameters = SmartechHook().parameters("https://x.example.com/y.csv")
    assert (parameters.listid, parameters.notifyemail) == (None, None)
    assert SmartechHook().account.panel_url is None


@pytest.mark.parametrize("listid", [33, "33"])
def test_the_connection_s_list_and_e_mail_stand_in_where_an_upload_names_none(
    connection: SetConnection, listid: int | str
) -> None:
    connection(extra={"listid": listid, "notifyemail": "ops@example.com"})
    hook, path = SmartechHook(), "https://x.example.com/y.csv"
    assert hook.parameters(path).form() == {"path": path, "listid": "33", "notifyemail": "ops@example.com"}
    named = hook.parameters(path, 34, "me@example.com")
    assert (named.listid, named.notifyemail) == (34, "me@example.com")


def test_an_account_shows_neither_its_key_nor_its_e_mail_address(connection: SetConnection) -> None:
    connection(extra={"notifyemail": "ops@example.com"})
    shown = repr(SmartechHook().account)
    assert API_KEY not in shown
    assert "ops@example.com" not in shown


@pytest.mark.parametrize("url", ["javascript:alert(1)", "panel.example.com", "https://a:b@panel.example.com/", 7])
def test_a_panel_address_that_is_no_web_address_is_left_out_and_stops_no_upload(
    connection: SetConnection, caplog: pytest.LogCaptureFixture, url: object
) -> None:
    connection(extra={"panel_url": url})
    assert SmartechHook().account.panel_url is None
    assert "panel_url" in caplog.text


def test_the_test_of_a_connection_uploads_nothing_and_tells_a_key_that_is_refused(
    sandbox: SandboxServer, connection: SetConnection
) -> None:
    works, message = SmartechHook().test_connection()
    assert works
    assert message == (
        "127.0.0.1 was reached and did not refuse the API key (HTTP 400, result 'path is required'). "
        "The request named no file."
    )
    connection(host=sandbox.api_url, password="an0ther-key-than-the-right-one")
    works, message = SmartechHook().test_connection()
    assert not works
    assert message == "127.0.0.1 was reached and refused the API key (HTTP 200, result 'Invalid API key')."
    assert sandbox.state.uploads() == []


@pytest.mark.parametrize(
    ("answer", "works", "said"),
    [
        (http("401 Unauthorized", b'{"result": "who?"}'), False, "refused the API key (HTTP 401, result 'who?')"),
        (http("200 OK", b'{"result": "API-KEY is missing"}'), False, "refused the API key (HTTP 200"),
        (http("200 OK", b'{"result": "Success", "requestid": "r"}'), True, "did not refuse the API key (HTTP 200"),
        (
            http("401 Unauthorized", b"<html>proxy</html>"),
            False,
            "does not tell whether the API key is right (HTTP 401)",
        ),
        (http("200 OK", b'{"result": "path missing; apikey ok"}'), False, "does not tell whether"),
        (http("200 OK", b'{"result": "Unauthorized"}'), False, "does not tell whether"),
        (http("200 OK", b'{"result": "Error: missing key"}'), False, "does not tell whether"),
        (http("404 Not Found", b'{"result": "no such page"}'), False, "does not tell whether"),
        (http("429 Too Many Requests", b'{"result": "slowly"}'), False, "does not tell whether"),
        (http("500 Oh", b'{"result": "Success"}'), False, "does not tell whether"),
        (http("200 OK", b"<html>welcome</html>"), False, "does not tell whether the API key is right (HTTP 200)"),
        (b"", False, "was asked, but no answer came"),
    ],
)
def test_the_test_of_a_connection_says_what_it_saw(
    connection: SetConnection, answer: bytes, works: bool, said: str
) -> None:
    with answering(answer) as (url, seen):
        connection(host=url)
        status, message = SmartechHook().test_connection()
    assert (status, said in message) == (works, True), message
    assert len(seen) == 1
    assert API_KEY not in message


def test_the_test_of_a_connection_says_that_smartech_was_not_reached_or_what_is_wrong_with_it(
    connection: SetConnection,
) -> None:
    connection(host="http://127.0.0.1:1/apiv2")
    assert SmartechHook().test_connection() == (
        False,
        "No connection to 127.0.0.1 came about (ConnectionError); nothing was sent. Check host and network",
    )
    connection(password=None)
    assert SmartechHook().test_connection()[0] is False
    assert "no API key" in SmartechHook().test_connection()[1]


def test_airflow_s_command_tests_a_connection(sandbox: SandboxServer, connection: SetConnection) -> None:
    def said() -> str:
        command = [sys.executable, "-m", "airflow", "connections", "test", "smartech_default"]
        enabled = {**os.environ, "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
        done = subprocess.run(command, env=enabled, capture_output=True, text=True, check=False)
        assert API_KEY not in done.stdout + done.stderr
        return done.stdout

    assert "Connection success!" in said()
    connection(host=sandbox.api_url, password="an0ther-key-than-the-right-one")
    assert "refused the API key (HTTP 200, result 'Invalid API key')" in said()
    assert sandbox.state.uploads() == []


def test_a_wrong_parameter_is_refused_before_anything_is_sent(sandbox: SandboxServer) -> None:
    with pytest.raises(SmartechInvalidParameter):
        SmartechHook().bulk_upload("contacts.csv")
    assert sandbox.state.uploads() == []


@pytest.mark.parametrize("fault", [None, Fault.INVALID_KEY, Fault.HTML, Fault.CUT_BEFORE, Fault.HANG])
def test_no_error_and_no_log_record_holds_a_secret(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Fault | None,
) -> None:
    monkeypatch.setattr(SmartechHook, "read_timeout", 0.2)
    sandbox.faults = frozenset({fault} if fault else ())
    signed, callback = f"{csv_url}?X-Amz-Signature=s1gnature0123456789", f"{sandbox.url}/c/t0ken0123456789"
    email = "ops@example.com"
    written = ""
    with caplog.at_level(logging.DEBUG):
        try:
            SmartechHook().bulk_upload(signed, 33, email, callback)
        except SmartechError as error:
            written = "".join(traceback.format_exception(error)) + repr(vars(error))
            written += repr((error.__cause__, error.__context__))
    # The sandbox, in threads of its own, logs what it fetches.
    ours = (threading.current_thread().name, "smartech-request")
    assert any(one.threadName == "smartech-request" for one in caplog.records)
    written += "\n".join(one.getMessage() for one in caplog.records if one.threadName in ours)
    for secret in (API_KEY, "s1gnature0123456789", "t0ken0123456789", email):
        for form in (secret, quote(secret, safe=""), quote_plus(secret)):
            assert form not in written


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


def test_a_connection_that_is_cut_behind_a_proxy_is_an_unknown_outcome_and_sent_once(
    connection: SetConnection, csv_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = server_context(tmp_path, "smartech.test")
    listener = socket.create_server(("127.0.0.1", 0))
    requests_seen: list[bytes] = []

    def tunnel() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            with context.wrap_socket(client, server_side=True) as inside:
                requests_seen.append(inside.recv(65536))

    thread = threading.Thread(target=tunnel)
    thread.start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
    connection(host="https://smartech.test/apiv2")
    try:
        with pytest.raises(SmartechOutcomeUnknown):
            SmartechHook().bulk_upload(csv_url)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
    assert len(requests_seen) == 1
    assert requests_seen[0].startswith(b"POST /apiv2")


@pytest.mark.parametrize("proxy", ["refuses", "is away"])
def test_a_proxy_that_does_not_connect_means_that_nothing_was_sent(
    connection: SetConnection, csv_url: str, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    connection(host="https://smartech.test/apiv2")
    with answering(http("403 Forbidden", b"")) as (url, seen):
        monkeypatch.setenv("HTTPS_PROXY", url if proxy == "refuses" else "http://127.0.0.1:1")
        with pytest.raises(SmartechNotReached):
            SmartechHook().bulk_upload(csv_url)
    assert len(seen) == (SmartechHook.attempts if proxy == "refuses" else 0)


def test_a_plain_request_is_not_shown_to_a_proxy(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY")
    assert SmartechHook().bulk_upload(csv_url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_an_answer_with_odd_headers_makes_no_library_log_the_key(
    connection: SetConnection, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with answering(http("200 OK", b"{}", b"no colon in here", b"X: y")) as (url, _):
        connection(host=url)
        with caplog.at_level(logging.DEBUG), pytest.raises(SmartechOutcomeUnknown):
            SmartechHook().bulk_upload(csv_url)
    assert "Failed to parse headers" in caplog.text
    assert quote(API_KEY, safe="") not in caplog.text


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
