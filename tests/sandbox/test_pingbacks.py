"""The ping-backs that the sandbox sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.support.processes import free_ports
from tests.support.sandbox_calls import pingbacks, post
from tests.support.servers import answering, eventually


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
