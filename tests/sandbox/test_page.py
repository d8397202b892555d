"""What the sandbox shows of uploads and contacts."""

from __future__ import annotations

import requests

from airflow_provider_smartech.sandbox import SandboxServer
from tests.support.sandbox_calls import loaded


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
