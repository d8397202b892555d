"""One HTTP call as a server of Smartech's would make it."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_provider_smartech.doctor import calls
from airflow_provider_smartech.doctor.calls import NoAnswer, call
from tests.support.file_server import FileServer
from tests.support.processes import free_ports
from tests.support.servers import answering, http


def why_not(url: str) -> str:
    with pytest.raises(NoAnswer) as caught:
        call("POST", url, {})
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_nothing_that_listens_and_a_name_that_nobody_knows_are_told_apart() -> None:
    (port,) = free_ports(1)
    assert why_not(f"http://127.0.0.1:{port}/secret") == (
        "127.0.0.1 refused the connection: nothing listens on that port"
    )
    assert why_not("https://nowhere.invalid/secret") == "the name nowhere.invalid is not known here (DNS)"


def test_a_server_that_does_not_answer_and_one_that_hangs_up_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert why_not(f"http://127.0.0.1:{silent.getsockname()[1]}/secret").startswith(
            "no answer from 127.0.0.1 within"
        )
    with answering(b"") as (url, _):
        assert why_not(f"{url}/secret") == "no answer came from 127.0.0.1 (ConnectionError)"


@contextmanager
def tls_server(folder: Path) -> Iterator[str]:
    """A server with a certificate that nobody has signed."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client, pytest.raises(ssl.SSLError):
            context.wrap_socket(client, server_side=True)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join()
        listener.close()


def test_a_certificate_that_is_not_trusted_and_a_port_without_tls_are_told_apart(tmp_path: Path) -> None:
    with tls_server(tmp_path) as url:
        assert why_not(f"{url}/secret").startswith("the certificate of 127.0.0.1 is not trusted (self")
    with FileServer(tmp_path) as plain:
        assert why_not(f"{plain.url.replace('http', 'https')}/secret").startswith(
            "127.0.0.1 was reached, but it does not speak TLS"
        )


def test_a_redirect_is_not_followed_but_named_without_its_query() -> None:
    with answering(http("302 Found", b"", b"Location: /login?next=secret")) as (url, seen):
        answer = call("POST", f"{url}/x", {})
        assert (answer.redirects_to, len(seen)) == (f"{url}/login", 1)
        assert answer.shown == f"HTTP 302, a redirect to {url}/login"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"<!doctype html><title>\n Sign in &amp; more </title>", "HTTP 200, an HTML page 'Sign in & more'"),
        (b"<html>", "HTTP 200, an HTML page"),
        (b'{"a": 1}', "HTTP 200, JSON"),
        (b"\xff\xfe", "HTTP 200, neither JSON nor HTML"),
        (b"<?xml?><Error/>", "HTTP 200, neither JSON nor HTML"),
        (b"", "HTTP 200, neither JSON nor HTML"),
        (b"<title>" + b"x" * 60_000, "HTTP 200, an HTML page"),
    ],
)
def test_an_answer_is_told_in_a_few_words(body: bytes, shown: str) -> None:
    with answering(http("200 OK", body)) as (url, _):
        assert call("GET", url).shown == shown


@pytest.mark.parametrize("date", [b"", b"Date: soon", b"X: y"])
def test_a_clock_that_is_not_told_is_not_compared(date: bytes) -> None:
    with answering(http("200 OK", b"", date) if date else http("200 OK", b"")) as (url, _):
        assert call("GET", url).clock_difference is None


def test_a_clock_that_is_off_is_seen() -> None:
    with answering(http("200 OK", b"", b"Date: Thu, 01 Jan 2026 00:00:00 GMT")) as (url, _):
        answer = call("GET", url)
    difference = answer.clock_difference
    assert difference is not None
    assert abs(difference) > timedelta(days=1)


def test_no_login_of_a_netrc_file_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", "utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    with answering(http("200 OK", b"")) as (url, seen):
        call("POST", url, {"a": 1})
    assert seen[0].startswith(b"POST / ")
    assert b"Authorization" not in seen[0]
