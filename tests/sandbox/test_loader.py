"""The sandbox really loads contacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.support.contacts import write_contacts
from tests.support.file_server import FileServer
from tests.support.sandbox_calls import host, loaded, post
from tests.support.servers import answering, eventually


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
