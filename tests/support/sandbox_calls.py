"""Calling the sandbox as Smartech's page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from airflow_provider_smartech.sandbox import SandboxServer
from tests.conftest import API_KEY
from tests.support.servers import eventually

QUERY = {"type": "contact", "activity": "bulkupload", "apikey": API_KEY}


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


def pingbacks(server: SandboxServer, **body: Any) -> list[str]:
    """Submit, and return what became of its ping-backs when the sandbox has done with it."""
    requestid = post(server, {"apikey": server.api_key}, **body).json()["requestid"]
    (job,) = [job for job in server._jobs if job.name == f"load-{requestid}"]
    job.join(30)
    return next(list(upload["pingbacks"]) for upload in server.state.uploads() if upload["requestid"] == requestid)
