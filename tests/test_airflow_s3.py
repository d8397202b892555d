"""The whole path on a real Airflow whose upload store is on S3, reached by a connection in Airflow's database."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.conftest import API_KEY
from tests.support.servers import eventually
from tests.support.standalone_airflow import Airflow

pytestmark = pytest.mark.airflow

DAGS = Path(__file__).parent / "dags"


@pytest.fixture
def airflow(tmp_path: Path, moto: str, bucket: str, sandbox: SandboxServer, csv_url: str) -> Iterator[Airflow]:
    settings = {
        "AIRFLOW__SMARTECH__UPLOAD_STORE": f"s3://upload_store@{bucket}/smartech",
        "AIRFLOW_CONN_SMARTECH_DEFAULT": os.environ["AIRFLOW_CONN_SMARTECH_DEFAULT"],
        "AIRFLOW_VAR_SIGNED_CSV": f"{csv_url}?a=1",
        "MANY": "2",
    }
    airflow = Airflow(tmp_path / "home", DAGS, settings)
    try:
        airflow.start(("two_steps",))
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
