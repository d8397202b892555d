"""The one call to Smartech, over real HTTP."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from airflow_provider_smartech.errors import (
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
    SmartechRequestError,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.conftest import API_KEY, SetConnection
from tests.support.servers import answering, http


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
