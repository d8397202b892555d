"""The Lambda function: what it does beside what all receivers do, which test_receivers has."""

from __future__ import annotations

import importlib
import logging
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.receiver import app, environment
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import key_of, new_upload_id
from cluster.tcp_proxy import TcpProxy
from tests.support.aws_template import Template
from tests.support.lambda_function import ZIP, LambdaFunction, event_of
from tests.support.records import record

# These run outside of Airflow, with packages of their own.
pytestmark = pytest.mark.once

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_DEFAULT_REGION": "us-east-1"}
MODULE = "airflow_provider_smartech.receiver.aws_lambda"
HANDLER = Template().properties("Function")["Handler"]
MOST_MEMORY = 110e6


def function(folder: Path, s3_folder: str, endpoint: str) -> LambdaFunction:
    url = s3_folder.replace("s3_test@", "")
    settings = {**KEYS, "AWS_ENDPOINT_URL": endpoint, "AIRFLOW__SMARTECH__UPLOAD_STORE": url}
    return LambdaFunction(folder, HANDLER, settings, timeout=60)


def test_pingbacks_reach_the_store_of_the_tasks_in_little_memory(tmp_path: Path, moto: str, s3_folder: str) -> None:
    upload_id, store = new_upload_id(), open_upload_store(s3_folder)
    store.create(record(key=str(key_of(upload_id))))
    with function(tmp_path, s3_folder, moto) as running, httpx.Client(timeout=60) as smartech:
        for number in range(50):
            assert smartech.post(f"{running.url}/pingback/{upload_id}", json={"row": number}).is_success
        assert running.process.memory_info().rss < MOST_MEMORY
        assert running.errors == []
    assert len(store.read(str(key_of(upload_id))).pingbacks) == 50
    log = running.log.read_text("utf-8")
    assert log.count('"A ping-back was kept."') == log.count('"pingback_kept"') == 50


def test_it_starts_while_the_store_is_away_and_takes_pingbacks_when_it_is_back(
    tmp_path: Path, moto: str, s3_folder: str
) -> None:
    upload_id, store = new_upload_id(), open_upload_store(s3_folder)
    store.create(record(key=str(key_of(upload_id))))
    network = TcpProxy()
    network.lead_to(int(moto.rpartition(":")[2]))
    network.shut()
    with function(tmp_path, s3_folder, f"http://127.0.0.1:{network.port}") as running:
        url = f"{running.url}/pingback/{upload_id}"
        answer = httpx.post(url, json={}, timeout=60)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
        with network:
            assert httpx.post(url, json={}, timeout=60).status_code == 200
    assert len(store.read(str(key_of(upload_id))).pingbacks) == 1


def test_a_mistake_in_its_settings_is_an_error_at_the_start_that_says_what_to_set(tmp_path: Path) -> None:
    with LambdaFunction(tmp_path, HANDLER, {}, timeout=60) as running:
        [error] = running.errors
    assert "Set AIRFLOW__SMARTECH__UPLOAD_STORE to the folder that the tasks use" in error["errorMessage"]
    assert "Set AIRFLOW__SMARTECH__UPLOAD_STORE" in running.log.read_text("utf-8")


def test_s3_is_waited_for_less_long_than_lambda_waits_for_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    config = environment._client(None).meta.config
    tries = config.retries["total_max_attempts"]
    longest = tries * (config.connect_timeout + config.read_timeout)
    assert longest * 2 < Template().properties("Function")["Timeout"]


@pytest.fixture
def module(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The handler's module in this process, as if Lambda had just started it."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    module = importlib.import_module(MODULE)
    yield module
    module._RUNNER.close()
    del sys.modules[MODULE]


def post(module: ModuleType, upload_id: str, body: bytes = b"{}") -> dict[str, Any]:
    answer: dict[str, Any] = module.handler(event_of("POST", f"/pingback/{upload_id}", {}, body), None)
    return answer


def test_refused_calls_are_counted_also_while_it_stands_still_and_a_later_call_logs_them_once(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "LOG_INTERVAL_SECONDS", 0.5)
    caplog.set_level(logging.INFO, "airflow_provider_smartech")

    def logged() -> list[str]:
        return [record.getMessage() for record in caplog.records if "Refused" in record.getMessage()]

    post(module, new_upload_id())
    assert logged() == ["Refused calls: 1 with HTTP 404."]
    for _ in range(2):
        post(module, new_upload_id())
    post(module, new_upload_id(), b"x" * (app.LARGEST_PINGBACK_BYTES + 1))
    assert len(logged()) == 1
    time.sleep(0.6)
    assert len(logged()) == 1, "nothing runs between two calls"
    for _ in range(2):
        module.handler(event_of("GET", "/health", {}, b""), None)
    assert logged()[1:] == ["Refused calls: 2 with HTTP 404.", "Refused calls: 1 with HTTP 413."]


def test_a_mistake_of_ours_is_a_500_and_logged_without_its_text(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    contact, upload_id = "ana@example.com", new_upload_id()

    def has(self: UploadStore, key: str) -> bool:
        raise ValueError(contact)

    monkeypatch.setattr(UploadStore, "has", has)
    answer = post(module, upload_id)
    assert answer["statusCode"] == 500
    assert "A call failed with ValueError, at" in caplog.text
    assert "test_aws_lambda.py" in caplog.text
    assert [said for said in (contact, upload_id) if said in caplog.text + answer["body"]] == []


def test_the_zip_has_only_what_the_function_needs_and_nothing_of_the_machine_that_made_it() -> None:
    with zipfile.ZipFile(ZIP) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {entry.date_time for entry in entries} == {(2020, 1, 1, 0, 0, 0)}
    parts = {part for name in names for part in Path(name).parts}
    assert parts & {"airflow", "uvicorn", "bin", "__pycache__", "RECORD", "direct_url.json"} == set()
    assert {name.split("/")[2] for name in names if name.startswith("botocore/data/") and name.count("/") > 2} == {"s3"}
    assert ZIP.stat().st_size < 10e6
