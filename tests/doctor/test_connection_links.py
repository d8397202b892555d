"""The connection to Smartech, and its API key."""

from __future__ import annotations

import json

import pytest

from airflow_provider_smartech.doctor.connection_links import CONNECTION, KEY, connection_links
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import SandboxServer
from tests.conftest import API_KEY, SetConnection
from tests.doctor.conftest import Findings, by_link, results
from tests.support.processes import free_ports
from tests.support.submissions import connect


def found(conn_id: str = "smartech_default") -> Findings:
    return by_link(connection_links(SmartechHook(conn_id)))


def test_a_key_that_is_not_refused_is_called_that_and_nothing_is_loaded(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, sandbox, extra=json.dumps({"idc": "in", "listid": 7, "account": "retail"}))
    findings = found()
    assert results(findings) == {CONNECTION: "ok", KEY: "ok"}
    assert findings[CONNECTION].seen == "smartech_default: IDC in, host 127.0.0.1, account retail, default list 7"
    assert "was reached and did not refuse the API key" in findings[KEY].seen
    assert sandbox.state.uploads() == []
    assert API_KEY not in str(findings)


def test_a_key_that_is_refused_is_broken_and_not_shown(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, sandbox, password="wr0ng")
    findings = found()
    assert results(findings) == {CONNECTION: "ok", KEY: "broken"}
    assert "refused the API key" in findings[KEY].seen
    assert "wr0ng" not in str(findings)


def test_a_smartech_that_is_not_reached_is_broken(connection: SetConnection) -> None:
    connection(host=f"http://127.0.0.1:{free_ports(1)[0]}")
    findings = found()
    assert findings[KEY].result == "broken"
    assert findings[KEY].seen.startswith("Could not connect to Smartech (ConnectionError; host 127.0.0.1)")


def test_without_a_usable_connection_the_key_is_not_tried(connection: SetConnection) -> None:
    assert results(found("nobody")) == {CONNECTION: "broken", KEY: "not tried"}
    connection(extra=json.dumps({"idc": "mars"}))
    findings = found()
    assert results(findings) == {CONNECTION: "broken", KEY: "not tried"}
    assert "unknown IDC 'mars'" in findings[CONNECTION].seen
