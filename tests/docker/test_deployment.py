"""What docs/how-to/docker.md promises of docker-compose.yaml: the image, the services, and what outlasts them."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest

from airflow_provider_smartech.sandbox import Fault
from containers.deployment import Deployment

pytestmark = pytest.mark.airflow

HOSTED, WAREHOUSE = "smartech_hosted_csv", "smartech_warehouse_sync"
CSV = "http://s3:5000/my-company-staging/contacts.csv"


def sandbox(deployment: Deployment, page: str) -> Any:
    return httpx.get(f"{deployment.sandbox}/sandbox/{page}", trust_env=False).raise_for_status().json()


def tell_sandbox(deployment: Deployment, word: str) -> None:
    httpx.post(f"{deployment.sandbox}/sandbox/{word}", trust_env=False).raise_for_status()


def log_of(deployment: Deployment, dag_id: str, run_id: str, task_id: str, number: int = 1) -> str:
    """What the UI shows of a try of a task."""
    return str(deployment.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{number}")["content"])


def test_both_example_dags_are_green_in_the_ui(deployment: Deployment, warehouse_run: str, hosted_run: str) -> None:
    assert deployment.finish(WAREHOUSE, warehouse_run) == "success"
    assert deployment.finish(HOSTED, hosted_run) == "success"
    lists = sandbox(deployment, "contacts")["lists"]
    assert lists["41"] == 12_000
    assert lists["34"] == deployment.xcom(WAREHOUSE, warehouse_run, "sync")["rows"] > 100_000


@pytest.fixture(scope="module")
def warehouse_run(deployment: Deployment) -> str:
    """The run for last night, which Airflow starts at once when the DAG is unpaused."""
    deployment.wait(lambda: deployment.has_dag(WAREHOUSE), f"{WAREHOUSE} is loaded")
    deployment.unpause(WAREHOUSE)
    deployment.wait(lambda: bool(runs(deployment, WAREHOUSE)), "the run for last night is started")
    [run] = runs(deployment, WAREHOUSE)
    assert run["run_type"] == "scheduled"
    return str(run["dag_run_id"])


@pytest.fixture(scope="module")
def hosted_run(deployment: Deployment) -> str:
    deployment.wait(lambda: deployment.has_dag(HOSTED), f"{HOSTED} is loaded")
    deployment.unpause(HOSTED)
    return deployment.trigger(HOSTED, {"path": CSV, "listid": 41})


def runs(deployment: Deployment, dag_id: str) -> list[dict[str, Any]]:
    return list(deployment.get(f"/dags/{dag_id}/dagRuns")["dag_runs"])


def test_a_task_whose_workers_container_is_killed_goes_on_on_the_other_worker(deployment: Deployment) -> None:
    known = len(sandbox(deployment, "uploads"))
    tell_sandbox(deployment, "hold")
    deployment.wait(lambda: deployment.has_dag("upload"), "the DAG is loaded")
    deployment.unpause("upload")
    run_id = deployment.trigger("upload", {"path": f"{CSV}?sandbox_fault={Fault.ANSWER_LATE}"})
    deployment.wait(lambda: len(sandbox(deployment, "uploads")) > known, "the sandbox has the upload")
    [task] = deployment.tasks("upload", run_id)
    [worker] = [
        name for name in ("worker-1", "worker-2") if deployment.container(name)["Id"].startswith(task["hostname"])
    ]
    deployment.kill(task["hostname"])
    assert deployment.finish("upload", run_id) == "success", log_of(deployment, "upload", run_id, "upload")
    [again] = deployment.tasks("upload", run_id)
    assert again["try_number"] > task["try_number"]
    assert len(sandbox(deployment, "uploads")) == known + 1
    assert deployment.health(worker) == "exited"
    tell_sandbox(deployment, "release")
    deployment.up()


def test_every_service_whose_process_ends_is_started_again_and_gets_healthy(deployment: Deployment) -> None:
    before = {name: deployment.container(name) for name in deployment.lasting()}
    for name in before:
        deployment.end(name)
    for name, was in before.items():
        deployment.wait(partial(has_begun_again, deployment, name, was), f"{name} is back")
    # The stand-in for S3 has lost its buckets: this makes them again.
    deployment.up()


def has_begun_again(deployment: Deployment, name: str, was: dict[str, Any]) -> bool:
    """Whether the same container was started once more."""
    now = deployment.container(name)
    return bool(now["Id"] == was["Id"] and now["State"]["StartedAt"] > was["State"]["StartedAt"])


@pytest.fixture(scope="module")
def up_again(deployment: Deployment, warehouse_run: str, hosted_run: str) -> Deployment:
    """After ``down`` and ``up``, and now with the standalone receiver."""
    deployment.finish(WAREHOUSE, warehouse_run)
    deployment.finish(HOSTED, hosted_run)
    deployment.down()
    deployment.set("SMARTECH_CALLBACK_BASE_URL", "http://receiver:8090")
    # The others get healthy meanwhile, as after the first start.
    deployment.up("receiver", ["api-server", "receiver"])
    return deployment


def test_down_and_up_keep_the_runs_their_logs_and_the_contacts(
    up_again: Deployment, warehouse_run: str, hosted_run: str
) -> None:
    assert up_again.run_state(WAREHOUSE, warehouse_run) == "success"
    assert up_again.run_state(HOSTED, hosted_run) == "success"
    requestid = up_again.xcom(HOSTED, hosted_run, "upload")
    assert requestid in log_of(up_again, HOSTED, hosted_run, "upload")
    assert sandbox(up_again, "contacts")["lists"]["41"] == 12_000


def test_the_standalone_receiver_takes_the_pingbacks(up_again: Deployment) -> None:
    assert "A ping-back was kept" not in up_again.logs("receiver")
    run_id = up_again.trigger(HOSTED, {"path": CSV, "listid": 42})
    assert up_again.finish(HOSTED, run_id) == "success"
    assert "A ping-back was kept" in up_again.logs("receiver")
    assert sandbox(up_again, "contacts")["lists"]["42"] == 12_000
