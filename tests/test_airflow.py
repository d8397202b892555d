"""The whole path on a real Airflow: API server with the plugin, scheduler, worker processes and triggerer."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from airflow_provider_smartech.config.connection_form import FIELDS
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.uploads.upload import new_upload_id
from tests.conftest import API_KEY
from tests.support.contacts import write_contacts
from tests.support.file_server import FileServer
from tests.support.standalone_airflow import Airflow
from tests.support.statsd import StatsdServer

pytestmark = pytest.mark.airflow

# More of them wait in tests/cluster.
MANY = 8
# So many uploads at least are behind the tests that look through all that was written.
UPLOADS = 10
DAGS = Path(__file__).parent / "dags"
SIGNATURE = "5ignature0f+the/link=="
QUERY = f"X-Amz-Credential=AKIA-{'c' * 20}&X-Amz-Signature={quote(SIGNATURE, safe='')}"


class World:
    """The running parts, and what the tests do with them."""

    def __init__(self, airflow: Airflow, sandbox: SandboxServer, files: str, statsd: StatsdServer) -> None:
        self.airflow = airflow
        self.sandbox = sandbox
        self.files = files
        self.statsd = statsd
        self.callbacks: list[str] = []

    def ran(self, dag_id: str, state: str, **conf: Any) -> str:
        """Run a DAG to its end and return the id of the run."""
        run_id = self.airflow.trigger(dag_id, conf)
        assert self.airflow.finish(dag_id, run_id) == state, self.logs()
        return run_id

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        return {task["task_id"]: task["state"] for task in self.airflow.tasks(dag_id, run_id)}

    def logs(self, dag_id: str = "") -> str:
        """Everything that the task instances wrote, and what the components wrote."""
        files = [path for path in (self.airflow.home / "logs").rglob("*.log*") if dag_id in str(path)]
        return "\n".join(path.read_text("utf-8", "replace") for path in [*files, self.airflow.log])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("airflow")
    write_contacts(folder / "contacts.csv", 500)
    with (
        FileServer(folder) as files,
        SandboxServer(api_key=API_KEY, late_seconds=300) as sandbox,
        StatsdServer() as statsd,
    ):
        callbacks: list[str] = []
        accept = sandbox.accept

        def noting(request: Any, faults: Any) -> str:
            callbacks.append(request.callback)
            return accept(request, faults)

        sandbox.accept = noting  # type: ignore[method-assign]
        settings = {
            "AIRFLOW_CONN_SMARTECH_DEFAULT": json.dumps(
                {"conn_type": "smartech", "password": API_KEY, "host": sandbox.api_url}
            ),
            "AIRFLOW_VAR_SIGNED_CSV": f"{files.url}/contacts.csv?{QUERY}",
            # The loudest setting: what is not written now never is.
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "MANY": str(MANY),
            **statsd.settings,
        }
        airflow = Airflow(folder / "home", DAGS, settings)
        try:
            airflow.start(("two_steps", "late", "retries", "many", "updates", "on_update", "doctor"))
            world = World(airflow, sandbox, files.url, statsd)
            world.callbacks = callbacks
            yield world
        finally:
            sandbox.release()
            airflow.stop()


def test_a_hosted_csv_is_submitted_and_its_completion_waited_for(world: World) -> None:
    run_id = world.ran("two_steps", "success")
    requestid = world.airflow.xcom("two_steps", run_id, "upload")
    assert requestid == world.airflow.xcom("two_steps", run_id, "upload", "requestid")
    assert requestid == world.sandbox.state.uploads()[0]["requestid"]
    for task_id in ("wait", "again"):
        summary = world.airflow.xcom("two_steps", run_id, task_id)
        assert (summary["requestid"], summary["state"]) == (requestid, "completed")
        assert summary["counts"]["accepted"] == 500
    assert world.sandbox.state.count(33) == 500


def test_the_doctor_finds_on_a_worker_that_its_pingback_and_smartechs_arrive(world: World) -> None:
    world.ran("doctor", "success", upload=f"{world.files}/contacts.csv")
    log = world.logs("dag_id=doctor")
    links = (
        "[smartech] upload_store",
        "upload store",
        "API key",
        "ping-back",
        "receiver",
        "its ping-back",
        "its result",
    )
    assert [link for link in links if f"✓ {link} " not in log] == []
    assert "completed: 500 rows accepted, 0 rejected" in log


def test_a_deferred_sensor_gives_its_worker_slot_back_and_metrics_tell_of_it(world: World) -> None:
    world.sandbox.hold()
    run_id = world.airflow.trigger("two_steps", {"faults": "pingback_late"})
    world.airflow.wait(lambda: world.states("two_steps", run_id)["wait"] == "deferred", "the sensor is deferred")
    assert world.sandbox.state.uploads()[0]["state"] == "completed"
    waits = partial(world.statsd.values, "smartech.waits.under_way")
    world.airflow.wait(lambda: waits()[-1:] == [1], "the triggerer has told a StatsD server of the wait")
    world.statsd.lines.clear()
    world.sandbox.release()
    assert world.airflow.finish("two_steps", run_id) == "success"
    # From the API server, and from a task.
    assert world.statsd.values("smartech.pingbacks.completed") == [1]
    assert world.statsd.values("smartech.uploads.completed") == [1]
    world.airflow.wait(lambda: waits()[-1:] == [0], "the triggerer has told that there is none")


@pytest.mark.parametrize(
    ("faults", "states"),
    [
        ("status_failed", ("success", "failed", "upstream_failed")),
        ("status_unknown", ("success", "failed", "upstream_failed")),
        ("pingback_unreadable", ("success", "failed", "upstream_failed")),
        ("invalid_key", ("failed", "upstream_failed", "upstream_failed")),
    ],
)
def test_what_smartech_did_not_complete_is_red(world: World, faults: str, states: tuple[str, ...]) -> None:
    run_id = world.ran("two_steps", "failed", faults=faults)
    assert world.states("two_steps", run_id) == dict(zip(("upload", "wait", "again"), states, strict=True))


def test_the_pingback_s_payload_is_in_the_log_of_the_failed_task(world: World) -> None:
    world.ran("two_steps", "failed", faults="status_unknown")
    assert "hibernating" in world.logs("dag_id=two_steps")


def test_a_timeout_fails_or_skips_when_deferred_and_says_what_to_check(world: World) -> None:
    upload = world.airflow.trigger("two_steps", {"faults": "no_pingback"})
    world.airflow.wait(lambda: world.states("two_steps", upload)["upload"] == "success", "the upload is submitted")
    requestid = world.airflow.xcom("two_steps", upload, "upload")
    run_id = world.ran("late", "failed", requestid=requestid)
    assert world.states("late", run_id) == {"times_out": "failed", "is_skipped": "skipped"}
    log = world.logs("dag_id=late")
    assert re.search(rf"Upload {requestid}, submitted at 20.* UTC: no ping-back came", log)
    assert "Check that Smartech can reach" in log


def test_an_unknown_requestid_fails_at_once(world: World) -> None:
    run_id = world.ran("late", "failed", requestid="f" * 32)
    assert world.states("late", run_id) == {"times_out": "failed", "is_skipped": "skipped"}
    assert "do the worker, the triggerer and the API server share one store" in world.logs("dag_id=late")


@pytest.mark.parametrize(
    ("faults", "uploads"),
    [
        ([Fault.ERROR_500], 1),
        ([Fault.CUT_AFTER], 1),
        ([Fault.CUT_AFTER, Fault.NO_PINGBACK], 2),
        ([Fault.STATUS_FAILED], 2),
    ],
)
def test_a_retry_sends_an_upload_again_only_where_it_has_to(world: World, faults: list[Fault], uploads: int) -> None:
    before = len(world.sandbox.state.uploads())
    world.sandbox.fail_next(*faults)
    run_id = world.ran("retries", "success")
    task = world.airflow.tasks("retries", run_id)[0]
    assert (task["state"], task["try_number"]) == ("success", 2)
    assert len(world.sandbox.state.uploads()) - before == uploads
    assert world.airflow.xcom("retries", run_id, "upload") == world.sandbox.state.uploads()[0]["requestid"]


def test_clearing_a_finished_task_uploads_anew(world: World) -> None:
    run_id = world.ran("retries", "success")
    first = world.airflow.xcom("retries", run_id, "upload")
    cleared = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["upload"], "only_failed": False}
    world.airflow.post("/dags/retries/clearTaskInstances", {**cleared, "reset_dag_runs": True})
    world.airflow.wait(lambda: world.airflow.run_state("retries", run_id) != "success", "the task is cleared")
    assert world.airflow.finish("retries", run_id) == "success"
    second = world.airflow.xcom("retries", run_id, "upload")
    assert first != second
    assert {upload["requestid"] for upload in world.sandbox.state.uploads()[:2]} == {first, second}


@pytest.mark.once
def test_many_wait_at_once_and_survive_a_restart_of_the_triggerer(world: World) -> None:
    world.sandbox.hold()
    run_id = world.airflow.trigger("many")

    def in_state(state: str) -> int:
        return sum(task["state"] == state for task in world.airflow.tasks("many", run_id))

    world.airflow.wait(lambda: in_state("deferred") == MANY, f"{MANY} tasks are deferred", 420)
    old = {process.pid for process in world.airflow.triggerer()}
    world.airflow.restart_triggerer()
    world.airflow.wait(lambda: bool({p.pid for p in world.airflow.triggerer()} - old), "another triggerer runs")
    world.sandbox.release()
    assert world.airflow.finish("many", run_id, 420) == "success", world.logs("dag_id=many")
    assert in_state("success") == MANY


def test_a_dag_runs_when_a_list_was_updated_and_not_before(world: World) -> None:
    world.sandbox.hold()
    run_id = world.airflow.trigger("updates")
    world.airflow.wait(lambda: world.states("updates", run_id)["wait"] == "deferred", "the sensor is deferred")

    def runs() -> list[dict[str, Any]]:
        return list(world.airflow.get("/dags/on_update/dagRuns")["dag_runs"])

    # The upload was accepted and its task is green, but nothing is loaded yet.
    assert world.states("updates", run_id)["upload"] == "success"
    assert runs() == []
    world.sandbox.release()
    assert world.airflow.finish("updates", run_id) == "success"
    world.airflow.wait(lambda: bool(runs()), "the other DAG runs")
    (run,) = runs()
    assert world.airflow.finish("on_update", run["dag_run_id"]) == "success"
    requestid = world.airflow.xcom("updates", run_id, "upload")
    assert world.airflow.xcom("on_update", run["dag_run_id"], "tell") == [requestid]


def test_the_receiver_is_mounted_without_a_login_and_knows_only_its_own_ids(world: World) -> None:
    with httpx.Client(base_url=f"{world.airflow.url}/smartech", trust_env=False) as anybody:
        assert anybody.get("/health").json()["service"] == "airflow-provider-smartech"
        assert anybody.post(f"/pingback/{new_upload_id()}", json={"status": "completed"}).status_code == 404
        assert anybody.post("/pingback/x", json={"status": "completed"}).status_code == 404


def test_the_connection_form_has_the_api_key_and_the_idc_as_a_drop_down(world: World) -> None:
    forms = world.airflow.get("/connections/hook_meta", api="/ui")
    (form,) = (form for form in forms if form["connection_type"] == "smartech")
    assert form["standard_fields"]["password"]["title"] == "API key"
    assert form["standard_fields"]["host"]["placeholder"].startswith("empty, unless")
    assert [name for name in ("login", "port", "url_schema") if not form["standard_fields"][name]["hidden"]] == []
    fields = form["extra_fields"]
    assert {name: field["schema"]["title"] for name, field in fields.items()} == {
        name: field["label"] for name, field in FIELDS.items()
    }
    assert (fields["idc"]["value"], fields["idc"]["schema"]["enum"]) == ("us", ["us", "in", "eu"])
    assert "integer" in fields["listid"]["schema"]["type"]
    assert all(field["description"] for field in fields.values())


def test_airflow_has_no_import_errors(world: World) -> None:
    assert world.airflow.get("/importErrors")["total_entries"] == 0
    assert world.airflow.get("/plugins/importErrors")["total_entries"] == 0
    names = [plugin["name"] for plugin in world.airflow.get("/plugins?limit=100")["plugins"]]
    assert names.count("smartech") == 1


def test_nothing_that_was_written_holds_a_secret(world: World) -> None:
    """Runs last: it looks through all that the other tests made Airflow write."""
    upload_ids = {callback.rpartition("/")[2].encode() for callback in world.callbacks}
    assert len(upload_ids) > UPLOADS
    forms = {form for secret in (API_KEY, SIGNATURE) for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    forms |= {json.dumps(form)[1:-1] for form in forms} | {QUERY, QUERY.replace("&", "\\u0026"), "c" * 20}
    written = {
        str(path.relative_to(world.airflow.home)): _without_access_log(path.read_bytes())
        for path in world.airflow.home.rglob("*")
        if path.is_file() and path.suffix not in (".pid", ".generated")
    }
    for part in ("dag_id=two_steps", ".trigger.", "airflow.db", "smartech/uploads", "standalone.log"):
        assert any(part in name for name in written), part
    ids = re.compile(rb"20[0-9]{6}T[0-9]{6}-[A-Za-z0-9_-]{43}")
    found = {name for name, content in written.items() if upload_ids & set(ids.findall(content))}
    found |= {name for name, content in written.items() for form in forms if form.encode() in content}
    assert found == set()


def test_the_rendered_template_shows_the_path_without_its_query(world: World) -> None:
    with sqlite3.connect(world.airflow.home / "airflow.db") as database:
        rows = [row[0] for row in database.execute("SELECT rendered_fields FROM rendered_task_instance_fields")]
    database.close()
    paths = [json.loads(row)["path"] for row in rows if '"path"' in row]
    assert len(paths) > UPLOADS
    assert all(path.endswith("/contacts.csv") for path in paths)


def test_the_store_holds_every_pingback_that_was_answered_200(world: World) -> None:
    store = open_upload_store(f"file://{world.airflow.home}/smartech")
    folders = list((world.airflow.home / "smartech" / "uploads").glob("*/*"))
    kept = sum(len(store.read(folder.name).pingbacks) for folder in folders)
    taken = sum(upload["pingbacks"].count("HTTP 200") for upload in world.sandbox.state.uploads())
    assert kept == taken > UPLOADS


def _without_access_log(content: bytes) -> bytes:
    """Cut the web server's access log: its lines name the paths of the ping-backs."""
    lines = content.split(b"\n")
    return b"\n".join(line for line in lines if b"/smartech/pingback/" not in line or b"api-server" not in line)
