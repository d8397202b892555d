"""The sandbox as a server: it runs alone, stops, and holds what is late."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import requests

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.support.sandbox_calls import QUERY, post
from tests.support.servers import eventually


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
