"""The sandbox is as strict as the vendor's page, and really loads contacts."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Record, key_of, new_upload_id
from tests.conftest import API_KEY
from tests.support.contacts import write_contacts
from tests.support.file_server import FileServer
from tests.support.processes import free_ports
from tests.support.servers import ReceiverServer, answering, eventually

QUERY = {"type": "contact", "activity": "bulkupload", "apikey": API_KEY}


@pytest.fixture
def server(sandbox: SandboxServer) -> SandboxServer:
    return sandbox


def post(server: SandboxServer, query: dict[str, Any] | None = None, **body: Any) -> requests.Response:
    return requests.post(server.api_url, params=QUERY | (query or {}), data=body, timeout=10)


def loaded(server: SandboxServer, **body: Any) -> dict[str, Any]:
    """Submit, wait until it is loaded, and return the upload."""
    answer = post(server, **body)
    assert answer.status_code == 200
    assert answer.json().keys() == {"requestid", "result"}
    eventually(lambda: server.state.uploads()[0]["state"] != "queued")
    return server.state.uploads()[0]


def host(folder: Path, content: bytes) -> None:
    (folder / "x.csv").write_bytes(content)


def test_a_request_as_the_page_describes_it_is_accepted(server: SandboxServer, csv_url: str) -> None:
    upload = loaded(server, path=csv_url, listid=7, notifyemail="ops@example.com")
    assert (upload["state"], upload["total"], upload["accepted"], upload["listid"]) == ("completed", 3, 3, 7)
    assert server.state.count() == server.state.count(7) == 3


def test_a_request_as_the_page_s_sample_has_it_is_accepted(server: SandboxServer, csv_url: str) -> None:
    answer = post(server, {"path": csv_url, "listid": "7"}, notifyemail="ops@example.com")
    assert answer.json()["result"] == "Success"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({"type": "contacts"}, {}),
        ({"activity": "add"}, {}),
        ({}, {"path": None}),
        ({}, {"path": "contacts.csv"}),
        ({}, {"listid": "many"}),
        ({}, {"listid": "0"}),
        ({}, {"listid": "9" * 30}),
        ({}, {"callback": "nowhere"}),
        ({"listid": "1"}, {"listid": "2"}),
        ({}, {"listid": ["1", "2"]}),
        ({}, {"path": "http://127.0.0.1/x.csv?sandbox_fault=typo"}),
    ],
)
def test_a_request_that_the_page_does_not_describe_is_refused(
    server: SandboxServer, csv_url: str, query: dict[str, str], body: dict[str, Any]
) -> None:
    answer = post(server, query, **{"path": csv_url, **body})
    assert answer.status_code == 400
    assert answer.json()["result"] != "Success"
    assert server.state.uploads() == []


def test_a_wrong_key_is_refused_in_the_documented_words(server: SandboxServer, csv_url: str) -> None:
    answer = post(server, {"apikey": "wrong"}, path=csv_url)
    assert (answer.status_code, answer.json()) == (200, {"result": "Invalid API key"})


def test_a_body_that_is_not_a_form_is_refused(server: SandboxServer, csv_url: str) -> None:
    assert requests.post(server.api_url, params=QUERY, json={"path": csv_url}, timeout=10).status_code == 400


def test_contacts_are_upserted_by_their_primary_key(server: SandboxServer, tmp_path: Path) -> None:
    with FileServer(tmp_path) as files:
        host(tmp_path, b"EMAIL,NAME,CITY\r\na@example.com,Ana,Pune\r\n")
        loaded(server, path=f"{files.url}/x.csv")
        host(tmp_path, 'EMAIL,NAME\na@example.com,"Änä, the\nsecond"\nb@example.com,Bo\n'.encode())
        post(server, path=f"{files.url}/x.csv")
        eventually(lambda: server.state.count() == 2)
    assert server.state.contacts() == [
        {"EMAIL": "a@example.com", "NAME": "Änä, the\nsecond", "CITY": "Pune"},
        {"EMAIL": "b@example.com", "NAME": "Bo"},
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "header"),
        (b"NAME\nAna\n", "no column EMAIL"),
        (b"EMAIL,EMAIL\na,b\n", "header"),
        (b"EMAIL,\na,b\n", "header"),
        (b"EMAIL,NAME\na@example.com,\xff\n", "UTF-8"),
        (b'EMAIL\n"a@example.com\n', "CSV"),
        (None, "HTTP 404"),
    ],
)
def test_a_file_that_cannot_be_loaded_fails_with_a_reason(
    server: SandboxServer, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    with FileServer(tmp_path) as files:
        if content is not None:
            host(tmp_path, content)
        upload = loaded(server, path=f"{files.url}/x.csv")
    assert upload["state"] == "failed"
    assert reason in upload["reason"]


def test_a_file_whose_host_hangs_up_fails_with_a_reason(server: SandboxServer) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nEMAIL\na@example.com\n") as (url, _):
        upload = loaded(server, path=f"{url}/x.csv")
    assert (upload["state"], "not fetched" in upload["reason"]) == ("failed", True)


def test_rows_that_do_not_fit_are_rejected_and_counted(server: SandboxServer, tmp_path: Path) -> None:
    with FileServer(tmp_path) as files:
        host(tmp_path, b"EMAIL,NAME\na@example.com,A\n,B\nc@example.com\nd@example.com,D,x\n")
        upload = loaded(server, path=f"{files.url}/x.csv")
    assert (upload["total"], upload["accepted"], upload["rejected"]) == (4, 1, 3)


def test_rows_are_rejected_on_demand(server: SandboxServer, tmp_path: Path) -> None:
    write_contacts(tmp_path / "x.csv", 100)
    with FileServer(tmp_path) as files:
        upload = loaded(server, path=f"{files.url}/x.csv?sandbox_fault={Fault.ROWS_REJECTED}")
    assert (upload["state"], upload["accepted"], upload["rejected"]) == ("completed", 90, 10)


def test_a_fault_may_be_asked_for_by_the_request(server: SandboxServer, csv_url: str) -> None:
    assert post(server, path=f"{csv_url}?sandbox_fault=error_500").status_code == 500
    assert post(server, path=csv_url).status_code == 200


def test_a_fault_may_be_asked_for_the_next_request_alone(server: SandboxServer, csv_url: str) -> None:
    server.fail_next(Fault.ERROR_500)
    assert [post(server, path=csv_url).status_code for _ in range(2)] == [500, 200]


def test_the_page_and_the_json_route_show_uploads_and_contacts(server: SandboxServer, csv_url: str) -> None:
    upload = loaded(server, path=f"{csv_url}?token=s1gnature", callback=f"{server.url}/c/t0ken")
    page = requests.get(server.url, timeout=10).text
    for shown in (upload["requestid"], "a@example.com", "Müller, Ana", "said &quot;hi&quot;"):
        assert shown in page
    assert "s1gnature" not in page
    assert "t0ken" not in page
    assert requests.get(f"{server.url}/sandbox/uploads", timeout=10).json() == server.state.uploads()
    assert requests.get(f"{server.url}/sandbox/contacts", timeout=10).json()["count"] == 3
    assert requests.get(f"{server.url}/elsewhere", timeout=10).status_code == 404


def test_it_runs_alone_and_stops_on_a_signal() -> None:
    command = [sys.executable, "-m", "airflow_provider_smartech.sandbox", "--port", "0", "--faults", "html"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        url = line.rpartition("API ")[2].strip()
        answer = requests.post(
            url, params=QUERY | {"apikey": "sandbox-api-key"}, data={"path": "http://127.0.0.1/x.csv"}, timeout=10
        )
        assert answer.headers["Content-Type"] == "text/html"
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.communicate()


def test_a_port_that_is_taken_and_an_unknown_fault_are_one_line_errors(server: SandboxServer) -> None:
    for arguments in (["--port", str(server.port)], ["--faults", "typo"]):
        command = [sys.executable, "-m", "airflow_provider_smartech.sandbox", *arguments]
        failed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert failed.returncode == 2
        assert "Traceback" not in failed.stderr


def test_the_sandbox_needs_no_airflow() -> None:
    code = "import airflow_provider_smartech.sandbox, sys; assert 'airflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_stopping_does_not_wait_for_held_pingbacks(csv_url: str) -> None:
    began = time.monotonic()
    with SandboxServer(faults={Fault.PINGBACK_LATE}, late_seconds=60) as server:
        post(server, {"apikey": server.api_key}, path=csv_url, callback=f"{server.url}/x")
    assert time.monotonic() - began < 10


def test_a_pingback_that_nobody_takes_is_sent_again_until_it_is_taken_or_enough(csv_url: str) -> None:
    gone = f"http://127.0.0.1:{free_ports(1)[0]}/"
    with (
        answering(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as (busy, _),
        answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as (unknown, _),
        SandboxServer(repeats=2, repeat_seconds=0.01) as server,
    ):
        called = {
            callback: pingbacks(server, path=path, callback=callback)
            for callback, path in ((gone, csv_url), (busy, csv_url), (unknown, csv_url))
        }
        once = pingbacks(server, path=f"{csv_url}?sandbox_fault={Fault.PINGBACK_ONCE}", callback=busy)
    assert called == {gone: ["ConnectionError"] * 3, busy: ["HTTP 503"] * 3, unknown: ["HTTP 404"]}
    assert once == ["HTTP 503"]


def pingbacks(server: SandboxServer, **body: Any) -> list[str]:
    """Submit, and return what became of its ping-backs when the sandbox has done with it."""
    requestid = post(server, {"apikey": server.api_key}, **body).json()["requestid"]
    (job,) = [job for job in server._jobs if job.name == f"load-{requestid}"]
    job.join(30)
    return next(list(upload["pingbacks"]) for upload in server.state.uploads() if upload["requestid"] == requestid)


def test_what_is_late_is_held_and_released_over_http(csv_url: str) -> None:
    with SandboxServer(late_seconds=60) as server:
        for word in ("hold", "release"):
            assert requests.post(f"{server.url}/sandbox/{word}", timeout=10).status_code == 200
        began = time.monotonic()
        answer = post(server, {"apikey": server.api_key}, path=f"{csv_url}?sandbox_fault={Fault.ANSWER_LATE}", listid=5)
        assert answer.json()["result"] == "Success"
        assert time.monotonic() - began < 10
        eventually(lambda: server.state.uploads()[0]["state"] == "completed")
        assert requests.get(f"{server.url}/sandbox/contacts", timeout=10).json()["lists"] == {"5": 3}
        assert requests.post(f"{server.url}/sandbox/typo", timeout=10).status_code == 404


def test_a_late_answer_comes_after_the_upload_was_accepted(csv_url: str) -> None:
    with SandboxServer(late_seconds=60) as server:
        with pytest.raises(requests.ReadTimeout):
            requests.post(
                server.api_url,
                params={**QUERY, "apikey": server.api_key},
                data={"path": f"{csv_url}?sandbox_fault={Fault.ANSWER_LATE}"},
                timeout=0.5,
            )
        eventually(lambda: server.state.uploads()[0]["state"] == "completed")


def test_its_key_may_come_from_the_environment() -> None:
    command = [sys.executable, "-m", "airflow_provider_smartech.sandbox", "--port", "0"]
    environment = {**os.environ, "SANDBOX_API_KEY": "key-of-the-environment"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert "API key key-of-the-environment" in process.stdout.readline()
        process.terminate()


@pytest.fixture
def called(store: UploadStore, receiver: ReceiverServer) -> tuple[str, Callable[[], list[Any]]]:
    """A ping-back URL of a real receiver, and what it was called with: each body, or the query where that is empty."""
    upload_id = new_upload_id()
    key = str(key_of(upload_id))
    store.create(Record(key=key, path="https://x.example.com/y.csv", smartech_conn_id="c", tracked=True))

    def kept() -> list[Any]:
        return [one.shown for one in sorted(store.read(key).pingbacks, key=lambda one: one.at)]

    return f"{receiver.url}/pingback/{upload_id}", kept


@pytest.mark.parametrize(
    ("fault", "status", "answer"),
    [
        (Fault.ANSWER_UNKNOWN_WORD, 200, {"result": "Request accepted", "requestid": "{id}"}),
        (Fault.ANSWER_CONFLICT, 409, {"result": "already in progress"}),
    ],
)
def test_an_answer_may_be_odd_although_the_file_is_loaded(
    server: SandboxServer, csv_url: str, fault: Fault, status: int, answer: dict[str, str]
) -> None:
    server.fail_next(fault)
    given = post(server, path=csv_url, listid=7)
    (upload,) = server.state.uploads()
    assert given.status_code == status
    assert given.json() == {name: value.format(id=upload["requestid"]) for name, value in answer.items()}
    eventually(lambda: server.state.count(7) == 3)


def test_a_requestid_may_be_a_number_and_is_kept_as_its_digits(
    server: SandboxServer, csv_url: str, called: tuple[str, Callable[[], list[Any]]]
) -> None:
    callback, kept = called
    server.fail_next(Fault.NUMERIC_REQUESTID)
    requestid = post(server, path=csv_url, callback=callback).json()["requestid"]
    assert type(requestid) is int
    assert server.state.uploads()[0]["requestid"] == str(requestid)
    eventually(lambda: [said["requestid"] for said in kept()] == [requestid])


COMPLETED = {"requestid": "{id}", "status": "completed", "total": 3, "accepted": 3, "rejected": 0}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.PINGBACK_ECHO, [{"result": "Success", "requestid": "{id}"}]),
        (Fault.PINGBACK_EMPTY, ["", COMPLETED]),
        (Fault.PINGBACK_FOREIGN, [COMPLETED | {"requestid": "f" * 32}]),
        (Fault.PINGBACK_ERROR, [COMPLETED | {"error": "the file was not read to its end"}]),
        (Fault.PINGBACK_UNSUCCESSFUL, [COMPLETED | {"success": False}]),
        (Fault.PINGBACK_CONTRADICTED, [COMPLETED, COMPLETED | {"status": "failed"}]),
        (Fault.PINGBACK_IN_QUERY, [{name: str(value) for name, value in COMPLETED.items()}]),
        (Fault.STATUS_OBJECT, [COMPLETED | {"status": {"state": "completed", "failed": 2}}]),
        (Fault.ALL_ROWS_REJECTED, [COMPLETED | {"accepted": 0, "rejected": 3}]),
        (Fault.NO_COUNTS, [{"requestid": "{id}", "status": "completed"}]),
        (Fault.ROWS_LOST, [COMPLETED | {"total": 2, "accepted": 2}]),
    ],
)
def test_a_pingback_may_be_odd(
    server: SandboxServer,
    csv_url: str,
    called: tuple[str, Callable[[], list[Any]]],
    fault: Fault,
    said: list[Any],
) -> None:
    callback, kept = called
    server.fail_next(fault)
    requestid = post(server, path=csv_url, callback=callback, listid=7).json()["requestid"]
    eventually(lambda: len(kept()) == len(said))
    assert json.dumps(kept()) == json.dumps(said).replace("{id}", requestid)
    (upload,) = server.state.uploads()
    assert upload["state"] == "completed"
    assert upload["accepted"] == server.state.count(7) == {Fault.ALL_ROWS_REJECTED: 0, Fault.ROWS_LOST: 2}.get(fault, 3)


def test_every_fault_is_described_and_named_by_the_help() -> None:
    source = ast.parse(inspect.getsource(Fault)).body[0]
    assert isinstance(source, ast.ClassDef)
    kinds = [type(line) for line in source.body[1:]]
    assert kinds == [ast.Assign, ast.Expr] * len(Fault), "each name is followed by a sentence"
    command = [sys.executable, "-m", "airflow_provider_smartech.sandbox", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [fault for fault in Fault if fault not in shown] == []
