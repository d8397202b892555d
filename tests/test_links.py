"""The links on a task: where they lead."""

from __future__ import annotations

import json
from collections import UserList
from typing import Any

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey

from airflow_provider_smartech.links import SmartechAwaitedUploadLink, SmartechPanelLink, SmartechUploadLink
from airflow_provider_smartech.operators import SmartechBulkUploadOperator
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from airflow_provider_smartech.uploads.upload import TaskTry

KEY: Any = TaskInstanceKey(dag_id="d/ä", task_id="group.t", run_id="manual__2026-01-01T00:00:00+00:00", map_index=7)
UPLOAD = SmartechBulkUploadOperator(task_id="t", path="https://x.example.com/y.csv")


def sensor(requestid: Any) -> SmartechBulkUploadSensor:
    return SmartechBulkUploadSensor(task_id="t", requestid=requestid)


@pytest.fixture
def base_url(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/team/")
    return "https://airflow.example.com/team"


def test_a_task_that_submits_leads_to_what_the_store_keeps_for_it(base_url: str) -> None:
    link = SmartechUploadLink().get_link(UPLOAD, ti_key=KEY)
    ids = {"dag_id": KEY.dag_id, "run_id": KEY.run_id, "task_id": KEY.task_id, "map_index": KEY.map_index}
    submitted = TaskTry(**ids, try_number=2, max_tries=5)
    assert link == f"{base_url}/smartech-uploads/task/{submitted.instance()}"


@pytest.mark.parametrize(
    "requestid",
    ["r 1&x=2", ["r 1&x=2", "r2"], UserList(["r 1&x=2"]), [{"requestids": ["r 1&x=2", "r2"], "rows": 1}]],
)
def test_a_task_that_waits_leads_to_the_upload_that_it_waits_for(base_url: str, requestid: Any) -> None:
    link = SmartechAwaitedUploadLink().get_link(sensor(requestid), ti_key=KEY)
    assert link == f"{base_url}/smartech-uploads/requestid?requestid=r%201%26x%3D2"


@pytest.mark.parametrize("requestid", ["", [], {}])
def test_a_task_that_waits_for_nothing_has_no_link(requestid: Any) -> None:
    assert SmartechAwaitedUploadLink().get_link(sensor(requestid), ti_key=KEY) == ""


def test_without_a_base_url_links_are_relative_to_airflow_s_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    assert SmartechUploadLink().get_link(UPLOAD, ti_key=KEY).startswith("smartech-uploads/task/")


@pytest.mark.parametrize(
    ("connection", "link"),
    [
        ({"password": "k", "extra": {"panel_url": "https://panel.example.com/"}}, "https://panel.example.com/"),
        ({"password": "k", "extra": {"panel_url": "javascript:alert(1)"}}, ""),
        ({"password": "k"}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_panel_s_address_is_the_connection_s_or_none(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any] | None, link: str
) -> None:
    if connection is not None:
        full = {"conn_type": "smartech", **connection}
        monkeypatch.setenv("AIRFLOW_CONN_SMARTECH_DEFAULT", json.dumps(full))
    assert SmartechPanelLink().get_link(UPLOAD, ti_key=KEY) == link
