"""The sandbox is as strict as the vendor's page."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_provider_smartech.sandbox import SandboxServer
from tests.support.sandbox_calls import QUERY, loaded, post


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
