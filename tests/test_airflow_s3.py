"""The whole path on a real Airflow whose upload store is on S3, reached by a connection in Airflow's database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.conftest import API_KEY
from tests.support.file_server import FileServer
from tests.support.servers import eventually
from tests.support.standalone_airflow import Airflow

pytestmark = [pytest.mark.airflow, pytest.mark.once]

DAGS = Path(__file__).parent / "dags"


BUCKET = "of-a-real-airflow"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(api_key=API_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def s3(moto: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test-secret"}
    client = boto3.client("s3", endpoint_url=moto, region_name="us-east-1", **keys)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, s3: Any, sandbox: SandboxServer, files: FileServer
) -> Iterator[Airflow]:
    connection = {"conn_type": "smartech", "password": API_KEY, "host": sandbox.api_url}
    settings = {
        "AIRFLOW__SMARTECH__UPLOAD_STORE": f"s3://upload_store@{BUCKET}/smartech",
        "AIRFLOW_CONN_SMARTECH_DEFAULT": json.dumps(connection),
        "AIRFLOW_VAR_SIGNED_CSV": f"{files.url}/contacts.csv?a=1",
        "MANY": "2",
    }
    airflow = Airflow(tmp_path_factory.mktemp("airflow") / "home", DAGS, settings)
    try:
        airflow.start(("two_steps", "unloaded"))
        yield airflow
    finally:
        sandbox.release()
        airflow.stop()


def test_worker_triggerer_and_receiver_share_a_store_on_s3(airflow: Airflow, moto: str, sandbox: SandboxServer) -> None:
    def health() -> httpx.Response:
        return httpx.get(f"{airflow.url}/smartech/health", trust_env=False)

    assert health().status_code == 503, "there is no such connection yet"
    extra = json.dumps({"endpoint_url": moto, "region_name": "us-east-1"})
    connection = {"connection_id": "upload_store", "conn_type": "aws", "login": "test", "password": "test-secret"}
    airflow.post("/connections", {**connection, "extra": extra})
    eventually(lambda: health().status_code == 200, 30)

    sandbox.late_seconds = 300
    sandbox.fail_next(Fault.PINGBACK_LATE)
    run_id = airflow.trigger("two_steps")

    def waits() -> bool:
        return any(
            (task["task_id"], task["state"]) == ("wait", "deferred") for task in airflow.tasks("two_steps", run_id)
        )

    airflow.wait(waits, "the sensor is deferred")
    sandbox.release()
    assert airflow.finish("two_steps", run_id) == "success"
    summary = airflow.xcom("two_steps", run_id, "wait")
    assert (summary["requestid"], summary["state"]) == (sandbox.state.uploads()[0]["requestid"], "completed")
    log = airflow.log.read_text("utf-8", "replace")
    assert API_KEY not in log
    assert "Still waiting" not in log, "the triggerer did not reach the store"


def test_mapped_tasks_upload_keys_prefixes_and_lists_some_at_a_time(
    airflow: Airflow, s3: Any, sandbox: SandboxServer
) -> None:
    for folder, files in {"a": 5, "b": 1, "c": 2}.items():
        for number in range(files):
            content = f"EMAIL\n{folder}{number}@example.com\n".encode()
            s3.put_object(Bucket=BUCKET, Key=f"unload/{folder}/{number}.csv", Body=content)
    before = len(sandbox.state.uploads())
    run_id = airflow.trigger("unloaded", {"bucket": BUCKET})
    assert airflow.finish("unloaded", run_id) == "success", airflow.log

    def requestids(task_id: str, map_index: int = -1) -> Any:
        value = airflow.xcom("unloaded", run_id, task_id, map_index=map_index)
        return len(value["requestids"]) if isinstance(value, dict) else isinstance(value, str)

    assert [requestids("keys", 0), requestids("keys", 1)] == [True, True]
    assert [requestids("prefixes", 0), requestids("prefixes", 1)] == [5, 1]
    assert [requestids("lists", 0), requestids("lists", 1)] == [2, 1]
    assert requestids("returned") == 2
    assert len(sandbox.state.uploads()) - before == 2 + 6 + 3 + 2
    assert {f"{folder}{number}@example.com" for folder, number in ("a4", "b0", "c1")} <= {
        contact["EMAIL"] for contact in sandbox.state.contacts()
    }
