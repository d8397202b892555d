"""The way of a ping-back, through real receivers, and through what stands before them in other deployments."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from airflow_provider_smartech import __version__
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.doctor import callback_links as module
from airflow_provider_smartech.doctor.callback_links import ADDRESS, CLOCK, PINGBACK, RECEIVER, callback_links
from airflow_provider_smartech.uploads import upload as uploads
from airflow_provider_smartech.uploads.store import UploadStore
from tests.doctor.conftest import Findings, by_link, results
from tests.support.processes import free_ports
from tests.support.servers import AppServer, ReceiverServer, answering, http

SANDBOX = "127.0.0.1"
FINE = {ADDRESS: "ok", PINGBACK: "ok", RECEIVER: "ok", CLOCK: "ok"}
HEALTH = {"service": "airflow-provider-smartech", "version": __version__, "status": "ok"}


def found(base: str, store: UploadStore, host: str | None = SANDBOX) -> Findings:
    return by_link(callback_links(base, store, host))


Answering = Callable[[Request], Response]


@contextmanager
def server(post: Answering, get: Answering | None = None) -> Iterator[str]:
    """A server that answers ping-backs, and everything that is got, in its own way."""
    app = FastAPI()
    app.add_route("/pingback/{upload_id}", post, methods=["POST"])
    app.add_route("/{path:path}", get or (lambda request: JSONResponse(HEALTH)), methods=["GET"])
    with AppServer(app) as one:
        yield one.url


def not_found(request: Request) -> Response:
    return JSONResponse({"detail": "Not Found"}, 404)


def test_a_pingback_of_ones_own_arrives_and_leaves_nothing(store: UploadStore, receiver: ReceiverServer) -> None:
    findings = found(receiver.url, store)
    assert results(findings) == FINE
    assert findings[PINGBACK].seconds
    assert store.probe_keys() == []
    assert (list(store.keys()), store.arrivals()) == ([], {})


def test_the_same_over_s3(s3_folder: str) -> None:
    store = open_upload_store(s3_folder)
    with ReceiverServer(open_upload_store(s3_folder)) as receiver:
        assert results(found(receiver.url, store)) == FINE
    assert store.probe_keys() == []


def test_a_receiver_with_another_store_is_named_as_such(receiver: ReceiverServer, tmp_path: Path) -> None:
    findings = found(receiver.url, open_upload_store(f"file://{tmp_path}/another"))
    assert results(findings) == {**FINE, PINGBACK: "broken"}
    assert "HTTP 404" in findings[PINGBACK].seen
    assert "they use two different upload stores" in findings[PINGBACK].advice


def test_a_receiver_that_cannot_reach_its_store_is_named_as_such(store: UploadStore) -> None:
    with ReceiverServer(open_upload_store("s3://nobody@bucket/x")) as receiver:
        findings = found(receiver.url, store)
    assert results(findings) == {**FINE, PINGBACK: "broken", RECEIVER: "broken"}
    assert "cannot reach its upload store" in findings[PINGBACK].advice
    assert "cannot reach its upload store" in findings[RECEIVER].seen


def test_a_receiver_of_another_version_is_a_warning_or_the_reason(store: UploadStore) -> None:
    old = {**HEALTH, "version": "0.0.1"}
    with server(not_found, lambda request: JSONResponse(old)) as url:
        findings = found(url, store)
    assert results(findings) == {**FINE, PINGBACK: "broken", RECEIVER: "broken"}
    assert "of another version" in findings[PINGBACK].advice
    assert "it is version '0.0.1'" in findings[RECEIVER].seen


def page(request: Request) -> Response:
    return HTMLResponse("<html><title>Airflow</title>")


def login(request: Request) -> Response:
    return RedirectResponse(f"https://login.example.com/sign-in?next={request.url}", 302)


def to_https(request: Request) -> Response:
    return RedirectResponse(str(request.url).replace("http:", "https:"), 308)


def of_status(status: int) -> Answering:
    return lambda request: HTMLResponse(f"<title>{request.url}</title>", status)


@pytest.mark.parametrize(
    ("post", "get", "seen", "advice"),
    [
        (of_status(405), page, "HTTP 405", "Is Airflow's plugin loaded there"),
        (page, page, "HTTP 200, an HTML page 'Airflow'", "This is not the receiver"),
        (not_found, page, "HTTP 404, JSON", "This is not the receiver"),
        (login, login, "a redirect to https://login.example.com/sign-in", "Smartech cannot log in"),
        (to_https, to_https, "a redirect to https://127.0.0.1", "callback_base_url to the https:// address"),
        (of_status(401), of_status(401), "HTTP 401", "Smartech cannot log in"),
        (of_status(403), None, "HTTP 403", "A login or a firewall"),
        (of_status(502), of_status(502), "HTTP 502", "The proxy does not reach the receiver"),
        (of_status(503), of_status(503), "HTTP 503", "The proxy does not reach the receiver"),
        (of_status(413), None, "HTTP 413", "allow bodies of 64 KiB"),
        (lambda request: JSONResponse({"status": "fine"}), None, "HTTP 200, JSON", "This is not the receiver"),
    ],
)
def test_what_stands_before_the_receiver_is_named_without_the_id(
    store: UploadStore, post: Answering, get: Answering | None, seen: str, advice: str
) -> None:
    with server(post, get) as url:
        findings = found(url, store)
    assert findings[PINGBACK].result == "broken"
    assert seen in findings[PINGBACK].seen
    assert advice in findings[PINGBACK].advice
    assert findings[RECEIVER].result == ("broken" if get else "ok")
    assert "probe-2" not in str(findings)
    assert store.probe_keys() == []


def test_a_pingback_that_arrives_where_health_is_closed_is_a_warning(store: UploadStore) -> None:
    with ReceiverServer(store) as receiver:
        (receiver_app,) = [receiver._server.config.app]
        app = FastAPI()
        app.add_route("/health", lambda request: HTMLResponse("closed", 403), methods=["GET"])
        app.mount("/", receiver_app)  # type: ignore[arg-type]
        with AppServer(app) as proxy:
            findings = found(proxy.url, store)
    assert results(findings) == {**FINE, RECEIVER: "warning"}


def test_a_stored_pingback_that_is_not_in_this_store_or_was_changed_is_seen(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ARRIVAL_SECONDS", 0.1)
    with server(lambda request: JSONResponse({"status": "stored"})) as url:
        findings = found(url, store)
    assert "but it is not in file://" in findings[PINGBACK].seen

    def changed(request: Request) -> Response:
        key = str(uploads.key_of(request.path_params["upload_id"]))
        store.add_pingback(key, uploads.PingBack(payload={"status": "completed"}))
        return JSONResponse({"status": "stored"})

    with server(changed) as url:
        assert found(url, store)[PINGBACK].result == "warning"


def test_nothing_that_answers_breaks_both_and_tells_no_time(store: UploadStore) -> None:
    findings = found(f"http://127.0.0.1:{free_ports(1)[0]}", store)
    assert results(findings) == {ADDRESS: "ok", PINGBACK: "broken", RECEIVER: "broken", CLOCK: "not tried"}
    assert "nothing listens on that port" in findings[PINGBACK].seen


@pytest.mark.parametrize(("minutes", "told"), [(5, "ahead of"), (-5, "behind")])
def test_a_clock_that_is_off_is_a_warning(store: UploadStore, minutes: int, told: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    with answering(http("404 Not Found", b"", f"Date: {date}".encode())) as (url, _):
        clock = found(url, store)[CLOCK]
    assert clock.result == "warning"
    assert told in clock.seen
    assert "0:0" in clock.seen


@pytest.mark.parametrize(
    ("base", "host", "result", "told"),
    [
        ("http://airflow.example.com/smartech", "api.netcoresmartech.com", "warning", "is plain http"),
        ("https://localhost:1/smartech", "api.netcoresmartech.com", "broken", "not reachable from the internet"),
        ("https://10.1.2.3/smartech", "api.netcoresmartech.com", "broken", "not reachable from the internet"),
        ("https://intranet.example.com/x", "api.netcoresmartech.com", "warning", "only private addresses here"),
        ("https://airflow.example.com/x", "api.netcoresmartech.com", "ok", "https://airflow.example.com/x"),
        ("https://airflow.example.com/x", None, "ok", "https://airflow.example.com/x"),
        ("http://localhost:1/smartech", "127.0.0.1", "ok", "http://localhost:1/smartech"),
    ],
)
def test_an_address_that_smartech_cannot_reach_or_others_can_read_is_named(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch, base: str, host: str | None, result: str, told: str
) -> None:
    addresses = {"intranet.example.com": "10.0.0.7", "airflow.example.com": "203.0.113.7"}

    def resolved(name: str, *rest: Any, **named: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[name], 0))]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolved)
        address = next(callback_links(base, store, host))
    assert (address.link, address.result) == (ADDRESS, result)
    assert told in address.seen


def test_no_login_of_the_address_is_shown(store: UploadStore, receiver: ReceiverServer) -> None:
    findings = found(receiver.url.replace("://", "://me:hush@"), store)
    assert results(findings) == FINE
    assert "hush" not in str(findings)


def test_where_the_store_cannot_be_written_nothing_is_sent() -> None:
    findings = found("http://127.0.0.1:1", open_upload_store("s3://nobody@bucket/x"))
    assert results(findings) == {ADDRESS: "ok", PINGBACK: "not tried", RECEIVER: "not tried", CLOCK: "not tried"}
