"""What the sandbox does wrong on demand."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.support.sandbox_calls import post
from tests.support.servers import eventually


def test_a_fault_may_be_asked_for_by_the_request(server: SandboxServer, csv_url: str) -> None:
    assert post(server, path=f"{csv_url}?sandbox_fault=error_500").status_code == 500
    assert post(server, path=csv_url).status_code == 200


def test_a_fault_may_be_asked_for_the_next_request_alone(server: SandboxServer, csv_url: str) -> None:
    server.fail_next(Fault.ERROR_500)
    assert [post(server, path=csv_url).status_code for _ in range(2)] == [500, 200]


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


def test_every_fault_is_described_and_named_by_the_help() -> None:
    source = ast.parse(inspect.getsource(Fault)).body[0]
    assert isinstance(source, ast.ClassDef)
    kinds = [type(line) for line in source.body[1:]]
    assert kinds == [ast.Assign, ast.Expr] * len(Fault), "each name is followed by a sentence"
    command = [sys.executable, "-m", "airflow_provider_smartech.sandbox", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [fault for fault in Fault if fault not in shown] == []
