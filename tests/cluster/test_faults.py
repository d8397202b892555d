"""What the services of docker-compose.yaml do, and what comes of uploads when one of them dies.

Each time: no upload is lost without a red task, none is silently sent twice, and nothing is green by mistake.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest

from airflow_provider_smartech.sandbox import Fault
from tests.cluster.conftest import World

pytestmark = pytest.mark.airflow

MANY = 14
SENT_AGAIN = "Submitting it again"
OUTAGE_SECONDS = 20.0


def test_the_example_dags_run_on_the_services_of_the_compose_file(world: World) -> None:
    cluster = world.cluster
    conf = {"path": f"{cluster.address('s3')}/my-company-staging/contacts.csv", "listid": 41}
    hosted = cluster.trigger("smartech_hosted_csv", conf)
    warehouse = cluster.trigger("smartech_warehouse_sync")
    assert cluster.finish("smartech_hosted_csv", hosted) == "success", world.end_of_log("smartech_hosted_csv", hosted)
    assert cluster.finish("smartech_warehouse_sync", warehouse) == "success"
    lists = httpx.get(f"{cluster.address('sandbox')}/sandbox/contacts", trust_env=False).json()["lists"]
    summary = cluster.xcom("smartech_warehouse_sync", warehouse, "sync")
    assert lists["41"] == 12_000
    assert lists["34"] == summary["rows"] > 100_000


def test_every_service_is_healthy_by_its_own_check(world: World) -> None:
    with ThreadPoolExecutor(2) as threads:
        names = list(world.cluster.services)
        assert dict(zip(names, threads.map(world.cluster.is_up, names), strict=True)) == dict.fromkeys(names, True)


@pytest.fixture(scope="module")
def killed(world: World) -> Iterator[dict[str, tuple[str, str]]]:
    """By the point at which the worker was killed: the DAG run and the CSV. All three tasks die with one worker."""
    cluster = world.cluster
    csv = {
        "before the request": world.csv("before-the-request"),
        "before the answer": world.csv("before-the-answer", Fault.ANSWER_LATE),
        "before XCom": world.csv("before-xcom"),
    }
    world.tell_sandbox("hold")
    cluster.kill("worker-2")
    try:
        with world.side_door.closed():
            side_door = {"path": csv["before the request"], "smartech_conn_id": "smartech_side_door"}
            ids = {
                "before the answer": cluster.trigger("upload", {"path": csv["before the answer"]}),
                "before XCom": cluster.trigger("stops_before_xcom", {"path": csv["before XCom"]}),
            }
            cluster.wait(lambda: bool(world.sent(csv["before the answer"])), "the sandbox has the upload")
            cluster.wait(lambda: (world.hosted / ids["before XCom"]).exists(), "the task has the answer")
            ids["before the request"] = cluster.trigger("upload", side_door)
            cluster.wait(lambda: bool(world.kept("upload", ids["before the request"])), "the record is written")
            cluster.kill("worker-1")
            assert not world.sent(csv["before the request"])
    finally:
        cluster.start("worker-2")
    yield {point: (ids[point], csv[point]) for point in csv}
    cluster.start("worker-1")


def test_an_upload_whose_worker_is_killed_before_the_request_is_sent_and_not_silently(
    world: World, killed: dict[str, tuple[str, str]]
) -> None:
    run_id, csv = killed["before the request"]
    assert world.cluster.finish("upload", run_id) == "success", world.end_of_log("upload", run_id)
    assert len(world.sent(csv)) == 1
    # Nobody can know of the first one that it was not sent.
    assert world.states("upload", run_id) == ["submitting", "completed"]
    assert SENT_AGAIN in world.log("upload", run_id)


def test_an_upload_whose_worker_is_killed_before_the_answer_is_known_by_its_pingback(
    world: World, killed: dict[str, tuple[str, str]]
) -> None:
    run_id, csv = killed["before the answer"]
    assert world.cluster.finish("upload", run_id) == "success", world.end_of_log("upload", run_id)
    assert len(world.sent(csv)) == 1
    assert world.states("upload", run_id) == ["completed"]


def test_an_upload_whose_worker_is_killed_before_xcom_is_taken_up(
    world: World, killed: dict[str, tuple[str, str]]
) -> None:
    run_id, csv = killed["before XCom"]
    assert world.cluster.finish("stops_before_xcom", run_id) == "success", world.end_of_log("stops_before_xcom", run_id)
    (upload,) = world.sent(csv)
    assert world.states("stops_before_xcom", run_id) == ["completed"]
    assert world.cluster.xcom("stops_before_xcom", run_id, "upload") == upload["requestid"]


def test_many_tasks_wait_on_when_a_triggerer_is_killed(world: World) -> None:
    cluster = world.cluster
    cluster.wait_until_up("triggerer-1", "triggerer-2")
    world.tell_sandbox("hold")
    csvs = [world.csv(f"many-{number}", Fault.PINGBACK_LATE) for number in range(MANY)]
    run_id = cluster.trigger("many", {"paths": csvs})

    def in_state(state: str) -> int:
        return sum(task["state"] == state for task in cluster.tasks("many", run_id))

    cluster.wait(lambda: in_state("deferred") == MANY, f"{MANY} tasks are deferred", 300)
    on_first = [task for task in cluster.tasks("many", run_id) if waits_on(task) == "triggerer-1"]
    assert on_first
    with cluster.without("triggerer-1"):
        world.tell_sandbox("release")
        assert cluster.finish("many", run_id, 300) == "success", world.end_of_log("many", run_id)
        assert in_state("success") == MANY + 1
        assert [len(world.sent(csv)) for csv in csvs] == [1] * MANY


def waits_on(task: dict[str, Any]) -> str | None:
    """The host of the triggerer that a task waits on."""
    job = task["triggerer_job"]
    return str(job["hostname"]) if job else None


def test_pingbacks_for_an_api_server_that_is_down_are_taken_later_and_only_those_are_lost_that_are_not_repeated(
    world: World,
) -> None:
    cluster = world.cluster
    world.tell_sandbox("hold")
    repeated = world.csv("repeated", Fault.PINGBACK_LATE)
    lost = world.csv("lost", Fault.PINGBACK_LATE, Fault.PINGBACK_ONCE)
    repeated_run = cluster.trigger("upload", {"path": repeated})
    lost_run = cluster.trigger("impatient", {"path": lost})
    for dag_id, run_id in (("upload", repeated_run), ("impatient", lost_run)):
        cluster.wait(lambda ids=(dag_id, run_id): world.task(*ids)["state"] == "deferred", f"{dag_id} waits")  # type: ignore[misc]
    with cluster.without("api-server"):
        world.tell_sandbox("release")
        called = partial(all_called, world, repeated, lost)
        cluster.wait(called, "both were called back")
    cluster.wait_until_up("api-server")
    assert cluster.finish("upload", repeated_run) == "success", world.end_of_log("upload", repeated_run)
    assert world.sent(repeated)[0]["pingbacks"][-1] == "HTTP 200"
    assert cluster.finish("impatient", lost_run) == "failed"
    assert world.states("impatient", lost_run) == ["accepted"]
    assert world.sent(lost)[0]["pingbacks"] == ["ConnectionError"]
    assert "UploadTimeout" in world.log("impatient", lost_run)


def all_called(world: World, *csvs: str) -> bool:
    return all(world.sent(csv)[0]["pingbacks"] for csv in csvs)


def test_while_s3_refuses_nothing_is_sent_and_nothing_is_lost(world: World) -> None:
    cluster = world.cluster
    world.tell_sandbox("hold")
    waiting, late = world.csv("waiting", Fault.PINGBACK_LATE), world.csv("late")
    waiting_run = cluster.trigger("upload", {"path": waiting})
    cluster.wait(lambda: world.task("upload", waiting_run)["state"] == "deferred", "one upload is waited for")
    with world.s3.closed():
        opens = time.monotonic() + OUTAGE_SECONDS
        world.tell_sandbox("release")
        late_run = cluster.trigger("upload", {"path": late})
        cluster.wait(lambda: "HTTP 503" in world.sent(waiting)[0]["pingbacks"], "its ping-back is refused")
        cluster.wait(lambda: "UploadStoreError" in world.log("upload", late_run), "the other one is not recorded")
        cluster.wait(lambda: time.monotonic() > opens, "the time is over")
        assert world.sent(late) == []
        assert world.task("upload", waiting_run)["state"] == "deferred"
    for run_id, csv in ((waiting_run, waiting), (late_run, late)):
        assert cluster.finish("upload", run_id) == "success", world.end_of_log("upload", run_id)
        assert len(world.sent(csv)) == 1
        assert world.states("upload", run_id) == ["completed"]


def test_a_restart_of_postgresql_loses_nothing(world: World) -> None:
    cluster = world.cluster
    world.tell_sandbox("hold")
    csv = world.csv("postgres", Fault.PINGBACK_LATE)
    run_id = cluster.trigger("upload", {"path": csv})
    cluster.wait(lambda: world.task("upload", run_id)["state"] == "deferred", "the upload is waited for")
    cluster.restart_postgres(5)
    world.tell_sandbox("release")
    assert cluster.finish("upload", run_id) == "success", world.end_of_log("upload", run_id)
    assert len(world.sent(csv)) == 1
    assert world.states("upload", run_id) == ["completed"]


def test_odd_pingbacks_are_neither_missed_nor_counted_twice_nor_green_after_the_timeout(world: World) -> None:
    cluster = world.cluster
    world.tell_sandbox("hold")
    csv = {
        "before the answer": world.csv("first", Fault.PINGBACK_FIRST),
        "twice": world.csv("twice", Fault.PINGBACK_TWICE),
        "too late": world.csv("too-late", Fault.PINGBACK_LATE),
    }
    late_run = cluster.trigger("impatient", {"path": csv["too late"]})
    runs = {name: cluster.trigger("upload", {"path": csv[name]}) for name in ("before the answer", "twice")}
    for name, run_id in runs.items():
        assert cluster.finish("upload", run_id) == "success", world.end_of_log("upload", run_id)
        assert len(world.sent(csv[name])) == 1
        assert world.states("upload", run_id) == ["completed"]
    (twice,) = world.kept("upload", runs["twice"])
    assert len(twice.pingbacks) == 2
    assert cluster.finish("impatient", late_run) == "failed"
    world.tell_sandbox("release")
    cluster.wait(lambda: world.states("impatient", late_run) == ["completed"], "the ping-back is kept")
    assert cluster.run_state("impatient", late_run) == "failed"
