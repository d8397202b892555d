"""The receiver of ping-backs, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import configured_upload_store, open_upload_store
from airflow_provider_smartech.receiver.app import LARGEST_PINGBACK_BYTES, STORE_THREADS, create_app
from airflow_provider_smartech.uploads.local_folder import LocalFolder
from airflow_provider_smartech.uploads.statuses import Verdict
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack, Record, key_of, new_probe_id, new_upload_id
from tests.support.payloads import bodies
from tests.support.records import record
from tests.support.servers import AppServer, ReceiverServer, eventually, eventually_on_loop


@pytest.fixture
def upload_id(store: UploadStore) -> str:
    """The id of an upload that is recorded."""
    upload_id = new_upload_id()
    store.create(
        Record(key=str(key_of(upload_id)), path="https://x.example.com/y.csv", smartech_conn_id="c", tracked=True)
    )
    return upload_id


@pytest.fixture
def url(receiver: ReceiverServer, upload_id: str) -> str:
    return f"{receiver.url}/pingback/{upload_id}"


def kept(store: UploadStore, upload_id: str) -> list[Any]:
    pingbacks = store.read(str(key_of(upload_id))).pingbacks
    return [pingback.payload for pingback in sorted(pingbacks, key=lambda pingback: pingback.at)]


def test_a_caller_who_goes_away_leaves_nothing_not_even_in_the_log(
    store: UploadStore, receiver: ReceiverServer, upload_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    host, _, port = receiver.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(f"POST /pingback/{upload_id} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
    # Answered after the other one was noticed: both are on one event loop.
    assert httpx.get(f"{receiver.url}/health").status_code == 200
    assert kept(store, upload_id) == []
    assert caplog.records == []


def test_json_form_and_text_are_kept_whatever_the_content_type_says(
    store: UploadStore, upload_id: str, url: str
) -> None:
    bodies = [b'{"status": "completed", "n": [1]}', b"status=completed&n=1&n=2&empty=", b"all is well", b""]
    for body in bodies:
        for content_type in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
            answer = httpx.post(url, content=body, headers={"Content-Type": content_type})
            assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    assert kept(store, upload_id) == [
        *[{"status": "completed", "n": [1]}] * 3,
        *[{"status": "completed", "n": ["1", "2"], "empty": ""}] * 3,
        *["all is well"] * 3,
        *[""] * 3,
    ]


def test_a_probe_is_answered_like_an_upload_and_an_unknown_one_is_not_found(
    store: UploadStore, receiver: ReceiverServer
) -> None:
    probe_id = new_probe_id()
    url, key = f"{receiver.url}/pingback/{probe_id}", str(key_of(probe_id))
    assert httpx.post(url, json={}).status_code == 404
    store.create_probe(key)
    said = {"status": "completed", "url": url, "secret": probe_id.removeprefix("probe-").partition("-")[2]}
    assert httpx.post(url, json=said).json() == {"status": "stored"}
    (pingback,) = store.pingbacks_of_probe(key)
    assert pingback.payload == {"status": "completed", "url": f"{receiver.url}/pingback/***", "secret": "***"}
    assert store.arrivals() == {}


def nested(depth: int) -> list[Any]:
    """Empty lists, one in the other."""
    return [nested(depth - 1)] if depth > 1 else []


@pytest.mark.parametrize(
    ("body", "content_type", "payload"),
    [
        (b'{"status": "failed", "status": "completed"}', "application/json", {"status": ["failed", "completed"]}),
        (b'\xef\xbb\xbf{"status": "completed"}', "application/json", {"status": "completed"}),
        (b"status=completed&note=a b", "application/x-www-form-urlencoded", {"status": "completed", "note": "a b"}),
        (b'{"status": "[[{\\"[", "n": ' + b"[" * 31 + b"]" * 31 + b"}", "", {"status": '[[{"[', "n": nested(31)}),
        (b"[" * 33 + b"]" * 33, "", "[" * 33 + "]" * 33),
        (b'{"total": 12345678901234567890123}', "", {"total": "12345678901234567890123"}),
        (b'{"a\\u0000b": "c\\u0000"}', "", {"a\\x00b": "c\\x00"}),
        (
            b'--x\r\nContent-Disposition: form-data; name="status"\r\n\r\ncompleted\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
            {"status": "completed"},
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="status"\r\n\r\ncompleted\r\n'
            b'--x\r\nContent-Disposition: form-data; name="status"; filename="s.txt"\r\n\r\nfailed\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
            {"status": ["completed", "failed"]},
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--\r\n',
            "multipart/form-data; boundary=x; charset=undefined",
            '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\\xff\r\n--x--\r\n',
        ),
        (b"https://b.example.com/f.csv?X-Amz-Signature=1", "", "https://b.example.com/f.csv"),
        (b"https://b.example.com/f.csv?s=1", "application/x-www-form-urlencoded", "https://b.example.com/f.csv"),
        (b"--x\r\nnot multipart", "multipart/form-data; boundary=y", "--x\r\nnot multipart"),
        (b"--x\r\nno boundary", "multipart/form-data", "--x\r\nno boundary"),
    ],
)
def test_odd_ways_to_say_it_are_read(
    store: UploadStore, upload_id: str, url: str, body: bytes, content_type: str, payload: Any
) -> None:
    assert httpx.post(url, content=body, headers={"Content-Type": content_type}).status_code == 200
    assert kept(store, upload_id) == [payload]


def test_a_mistake_in_another_setting_costs_no_pingback(
    store: UploadStore, upload_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__POLL_INTERVAL", "soon")
    with ReceiverServer(configured_upload_store()) as server:
        assert httpx.post(f"{server.url}/pingback/{upload_id}", json={}).status_code == 200


def test_a_pingback_is_kept_and_answered_whatever_goes_wrong_with_knowing_what_it_says(
    store: UploadStore, upload_id: str
) -> None:
    def fails(pingback: PingBack) -> NoReturn:
        raise ZeroDivisionError

    with AppServer(create_app(store, fails)) as server:
        assert httpx.post(f"{server.url}/pingback/{upload_id}", json={"status": "failed"}).status_code == 200
    assert len(kept(store, upload_id)) == 1


def test_counting_a_pingback_does_not_delay_its_answer(store: UploadStore, upload_id: str) -> None:
    answered, counted = threading.Event(), threading.Event()

    def count(verdict: Verdict) -> None:
        if answered.wait(30):
            counted.set()

    with AppServer(create_app(store, lambda _: Verdict.FAILED, count)) as server:
        assert httpx.post(f"{server.url}/pingback/{upload_id}", json={"status": "failed"}).status_code == 200
        answered.set()
        assert counted.wait(30)


def test_an_id_that_is_unknown_or_has_not_the_form_of_one_is_404(receiver: ReceiverServer, store: UploadStore) -> None:
    for wrong in (
        new_upload_id(),
        "x",
        "..%2F..%2Fetc",
        "%00",
        "20260101T000000-" + "a" * 42,
        "20260101T000000-" + "%C3%A4" * 43,
    ):
        assert httpx.post(f"{receiver.url}/pingback/{wrong}", json={}).status_code == 404
    assert list(Path(store.shown_url.removeprefix("file://")).iterdir()) == []


def test_an_id_of_the_wrong_form_does_not_touch_the_store() -> None:
    with ReceiverServer(open_upload_store("nonsense://nowhere")) as server:
        assert httpx.post(f"{server.url}/pingback/x", json={}).status_code == 404
        assert httpx.post(f"{server.url}/pingback/{new_upload_id()}", json={}).status_code == 503


def test_a_body_is_taken_up_to_the_limit_and_413_above(store: UploadStore, upload_id: str, url: str) -> None:
    assert httpx.post(url, content=b"x" * LARGEST_PINGBACK_BYTES).status_code == 200
    assert httpx.post(url, content=b"x" * (LARGEST_PINGBACK_BYTES + 1)).status_code == 413
    chunks = (b"x" * 1024 for _ in range(65))
    assert httpx.post(url, content=chunks).status_code == 413
    assert len(kept(store, upload_id)) == 1


def test_503_with_retry_after_when_the_store_cannot_be_written(
    store: UploadStore, upload_id: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = httpx.post(url, json={"status": "completed"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert upload_id not in answer.text
    monkeypatch.undo()
    assert kept(store, upload_id) == []


def test_repeated_pingbacks_are_all_kept(store: UploadStore, upload_id: str, url: str) -> None:
    for _ in range(3):
        assert httpx.post(url, json={"status": "completed"}).status_code == 200
    assert kept(store, upload_id) == [{"status": "completed"}] * 3


def test_only_post_is_taken(url: str) -> None:
    assert httpx.get(url).status_code == 405


def test_what_is_kept_has_neither_the_upload_id_nor_queries(store: UploadStore, upload_id: str, url: str) -> None:
    signed = "https://b.example.com/c.csv?X-Amz-Signature=deadbeef"
    for body in (json.dumps({"callback": url, "path": signed, upload_id: 1}), urlencode({"cb": url, "path": signed})):
        httpx.post(url, content=body)
    httpx.post(url, content=f"called {url} for {signed}")
    written = json.dumps(kept(store, upload_id))
    assert upload_id not in written
    assert "deadbeef" not in written
    assert written.count("https://b.example.com/c.csv") == 3


def test_health_is_json_that_says_whose_it_is(receiver: ReceiverServer) -> None:
    answer = httpx.get(f"{receiver.url}/health")
    assert answer.status_code == 200
    assert answer.json()["service"] == "airflow-provider-smartech"
    assert answer.json()["status"] == "ok"


def test_health_is_503_when_the_store_cannot_be_reached() -> None:
    with ReceiverServer(open_upload_store("nonsense://nowhere")) as server:
        answer = httpx.get(f"{server.url}/health")
    assert answer.status_code == 503
    assert answer.json() == {**answer.json(), "service": "airflow-provider-smartech"}
    assert answer.json()["status"] != "ok"


def test_nothing_is_logged_with_the_upload_id(url: str, upload_id: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        httpx.post(url.replace("127.0.0.1", "localhost"), content=b"\xff")
    logged = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert upload_id not in "".join(record.getMessage() for record in logged)


def test_the_words_of_the_query_are_kept_beside_the_body_and_without_secrets(
    store: UploadStore, upload_id: str, url: str
) -> None:
    signed = "https://b.example.com/c.csv?X-Amz-Signature=deadbeef"
    query = urlencode({"status": "completed", "part": ["1", "2"], "cb": url, "path": signed}, doseq=True)
    for body in (b"", b'{"note": 1}'):
        assert httpx.post(f"{url}?{query}", content=body).status_code == 200
    pingbacks = sorted(store.read(str(key_of(upload_id))).pingbacks, key=lambda pingback: pingback.at)
    said = {"status": "completed", "part": ["1", "2"], "path": "https://b.example.com/c.csv"}
    assert [{**pingback.query, "cb": None} for pingback in pingbacks] == [{**said, "cb": None}] * 2
    assert [pingback.payload for pingback in pingbacks] == ["", {"note": 1}]
    written = "".join(pingback.model_dump_json() for pingback in pingbacks)
    assert upload_id not in written
    assert "deadbeef" not in written


def test_junk_takes_few_threads_of_the_store_and_is_refused_when_too_much_of_it_waits(
    store: UploadStore, upload_id: str, receiver: ReceiverServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_smartech.receiver.app.MOST_WAITING", 20)
    read, lock, goes_on = LocalFolder.read, threading.Lock(), threading.Event()
    busy, most = 0, 0

    def slow(self: LocalFolder, name: str) -> bytes | None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        goes_on.wait(20)
        with lock:
            busy -= 1
        return read(self, name)

    monkeypatch.setattr(LocalFolder, "read", slow)

    async def junk() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=None)) as client:

            def call() -> asyncio.Task[httpx.Response]:
                return asyncio.create_task(client.post(f"{receiver.url}/pingback/{new_upload_id()}", content=b"{}"))

            held = [call() for _ in range(STORE_THREADS + 20)]
            await eventually_on_loop(lambda: busy == STORE_THREADS)
            while not any(one.done() for one in held):
                # As soon as all of them have arrived, the next one is too much.
                held.append(call())
                await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED, timeout=0.2)
            assert (await client.get(f"{receiver.url}/health")).status_code == 200, "other pages have threads"
            goes_on.set()
            return await asyncio.gather(*held)

    answers = asyncio.run(junk())
    assert {answer.status_code for answer in answers} == {404, 503}
    assert {answer.headers.get("Retry-After") for answer in answers if answer.status_code == 503} == {"60"}
    assert sum(answer.status_code == 404 for answer in answers) == STORE_THREADS + 20
    assert most == STORE_THREADS
    assert httpx.post(url, json={"status": "completed"}).status_code == 200


def test_after_one_check_junk_costs_one_call_of_the_storage(
    receiver: ReceiverServer, store: UploadStore, upload_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    for name in ("check", "read"):
        method = getattr(LocalFolder, name)

        def noted(self: LocalFolder, *file: str, name: str = name, method: Any = method) -> Any:
            called.append(name)
            return method(self, *file)

        monkeypatch.setattr(LocalFolder, name, noted)
    costs = []
    for _ in range(4):
        called.clear()
        assert httpx.post(f"{receiver.url}/pingback/{new_upload_id()}", json={}).status_code == 404
        costs.append(len(called))
    assert costs == [2, 1, 1, 1]


@given(body=bodies)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@pytest.mark.once
def test_whatever_is_sent_is_kept_and_is_success_only_with_a_known_word(
    store: UploadStore, upload_id: str, url: str, settings: Settings, body: bytes
) -> None:
    before = len(kept(store, upload_id))
    assert httpx.post(url, content=body).status_code == 200
    payloads = kept(store, upload_id)
    assert len(payloads) == before + 1
    if settings.statuses.verdict(payloads[-1]) is Verdict.COMPLETED:
        assert any(word.encode() in body.lower() for word in settings.statuses.words)


def test_it_runs_alone_with_the_configured_store(store: UploadStore, upload_id: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "airflow_provider_smartech.receiver", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:

        def answers() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/health").is_success
            except httpx.TransportError:
                return False

        eventually(answers, 60)
        assert httpx.post(f"http://127.0.0.1:{port}/pingback/{upload_id}", json={"status": "failed"}).is_success
        assert httpx.post(f"http://127.0.0.1:{port}/pingback/{new_upload_id()}").status_code == 404
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=20)
    assert kept(store, upload_id) == [{"status": "failed"}]
    assert upload_id.encode() not in output
    lines = [json.loads(line) for line in output.splitlines() if line.startswith(b"{")]
    [kept_one, refused] = [line for line in lines if "event" in line]
    assert (kept_one["event"], kept_one["verdict"], kept_one["bytes"]) == (
        "pingback_kept",
        "failed",
        len('{"status":"failed"}'),
    )
    assert (refused["event"], refused["status"], refused["calls"]) == ("calls_refused", 404, 1)


def test_alone_it_does_not_start_without_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", "s3://no_such_connection@bucket/smartech")
    command = [sys.executable, "-m", "airflow_provider_smartech.receiver", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Cannot read or write the upload store at s3://no_such_connection@bucket/smartech" in done.stderr
    assert "Traceback" not in done.stderr


def test_kept_pingbacks_are_logged_and_refused_calls_are_counted(
    url: str, receiver: ReceiverServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_smartech.receiver.app.LOG_INTERVAL_SECONDS", 1.0)
    caplog.set_level(logging.INFO, "airflow_provider_smartech")

    def logged() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.name.startswith("airflow_provider_smartech")]

    assert httpx.post(url, json={"status": "completed"}).status_code == 200
    httpx.post(f"{receiver.url}/pingback/{new_upload_id()}", json={})
    eventually(lambda: len(logged()) == 2)
    for _ in range(5):
        httpx.post(f"{receiver.url}/pingback/{new_upload_id()}", json={})
    httpx.get(url)
    eventually(lambda: len(logged()) == 4)
    assert logged() == [
        "A ping-back was kept.",
        "Refused calls: 1 with HTTP 404.",
        "Refused calls: 5 with HTTP 404.",
        "Refused calls: 1 with HTTP 405.",
    ]


def test_what_comes_for_an_unknown_upload_is_not_even_read(
    receiver: ReceiverServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever calls must not make the server parse for him."""
    reads: list[bytes] = []
    monkeypatch.setattr("airflow_provider_smartech.receiver.app.read_payload", lambda body, **_: reads.append(body))
    answer = httpx.post(f"{receiver.url}/pingback/{new_upload_id()}", content=b"{}")
    assert (answer.status_code, reads) == (404, [])


@pytest.mark.parametrize(("seconds", "reads"), [(600.0, 1), (0.0, 3)])
def test_the_record_of_an_upload_is_read_for_the_first_call_and_again_when_that_is_long_ago(
    store: UploadStore, upload_id: str, monkeypatch: pytest.MonkeyPatch, seconds: float, reads: int
) -> None:
    monkeypatch.setattr("airflow_provider_smartech.receiver.app.KNOWN_SECONDS", seconds)
    asked: list[str] = []
    has = store.has

    def counted(key: str) -> bool:
        asked.append(key)
        return has(key)

    monkeypatch.setattr(store, "has", counted)
    with ReceiverServer(store) as server:
        for _ in range(3):
            assert httpx.post(f"{server.url}/pingback/{upload_id}", json={}).status_code == 200
    assert asked == [key_of(upload_id)] * reads
    assert len(kept(store, upload_id)) == 3


def test_what_is_unknown_or_a_probe_is_looked_up_at_each_call(store: UploadStore, receiver: ReceiverServer) -> None:
    probe_id, upload_id = new_probe_id(), new_upload_id()
    store.create_probe(str(key_of(probe_id)))
    assert httpx.post(f"{receiver.url}/pingback/{probe_id}", json={}).status_code == 200
    store.remove_probe(str(key_of(probe_id)))
    assert httpx.post(f"{receiver.url}/pingback/{probe_id}", json={}).status_code == 404
    assert httpx.post(f"{receiver.url}/pingback/{upload_id}", json={}).status_code == 404
    store.create(record(key=str(key_of(upload_id))))
    assert httpx.post(f"{receiver.url}/pingback/{upload_id}", json={}).status_code == 200
