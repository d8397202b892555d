"""One cluster for all of these tests: the services of docker-compose.yaml, with proxies that can be shut."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.sandbox import Fault
from airflow_provider_smartech.uploads.upload import TaskTry, Upload
from cluster.compose import read_variables
from cluster.local import IMPATIENT, ROOT, Cluster
from cluster.soak import use_s3_of
from cluster.tcp_proxy import TcpProxy
from tests.support.file_server import FileServer

DAGS = [ROOT / "example_dags", ROOT / "cluster" / "dags", Path(__file__).parent / "dags"]
LOADED = ("upload", "stops_before_xcom", "impatient", "many", "soak", "soak_syncs", "smartech_warehouse_sync")
# Of what comes late, the sandbox is told when to send it.
VARIABLES = {"SANDBOX_LATE_SECONDS": "600", "SANDBOX_REPEATS": "60", "SANDBOX_REPEAT_SECONDS": "2"}


class World:
    """The cluster, and what the tests do with it."""

    def __init__(self, cluster: Cluster, s3: TcpProxy, side_door: TcpProxy, hosted: Path, url: str) -> None:
        self.cluster = cluster
        self.s3 = s3
        # By the connection smartech_side_door alone, the sandbox is reached through it.
        self.side_door = side_door
        # What is served at the URL; DAGs leave marks there as well.
        self.hosted = hosted
        self.url = url
        self.store = open_upload_store("s3://cluster_s3@smartech-uploads/store")

    def csv(self, name: str, *faults: Fault) -> str:
        """Host a CSV of one contact under a name of its own, and return its URL."""
        (self.hosted / f"{name}.csv").write_text(f"EMAIL\n{name}@example.com\n", "utf-8")
        query = f"?sandbox_fault={','.join(faults)}" if faults else ""
        return f"{self.url}/{name}.csv{query}"

    def sent(self, url: str) -> list[dict[str, Any]]:
        """What the sandbox knows of the uploads of a CSV, the newest first."""
        uploads = httpx.get(f"{self.cluster.address('sandbox')}/sandbox/uploads", trust_env=False).json()
        return [upload for upload in uploads if upload["path"] == url.partition("?")[0]]

    def kept(self, dag_id: str, run_id: str) -> list[Upload]:
        """What the store holds of the uploads of a DAG run, the oldest first."""
        task = TaskTry(dag_id=dag_id, run_id=run_id, task_id="upload", try_number=1, max_tries=1)
        return sorted(self.store.of_task(task), key=lambda upload: upload.key)

    def states(self, dag_id: str, run_id: str) -> list[str]:
        """What became of the uploads of a DAG run, the oldest first."""
        words = Settings.load().statuses
        return [upload.progress(words).state.value for upload in self.kept(dag_id, run_id)]

    def task(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The task instance of a DAG run."""
        (found,) = self.cluster.tasks(dag_id, run_id)
        return found

    def log(self, dag_id: str, run_id: str) -> str:
        """What the tries of a DAG run's tasks wrote."""
        folder = self.cluster.folder / "volumes" / "airflow-logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return "\n".join(path.read_text("utf-8", "replace") for path in sorted(folder.rglob("*.log")))

    def end_of_log(self, dag_id: str, run_id: str) -> str:
        """The last of it, for a message."""
        return self.log(dag_id, run_id)[-3000:]

    def tell_sandbox(self, word: str) -> None:
        """Let the sandbox hold back what comes late, or release it."""
        httpx.post(f"{self.cluster.address('sandbox')}/sandbox/{word}", trust_env=False).raise_for_status()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, dags, hosted = (tmp_path_factory.mktemp(name) for name in ("cluster", "dags", "hosted"))
    for source in DAGS:
        shutil.copytree(source, dags, dirs_exist_ok=True)
    with ExitStack() as stack:
        files = stack.enter_context(FileServer(hosted))
        s3, side_door = stack.enter_context(TcpProxy()), stack.enter_context(TcpProxy())
        api_key = read_variables(ROOT / ".env.example")["SANDBOX_API_KEY"]
        connection = {"conn_type": "smartech", "password": api_key, "host": f"http://127.0.0.1:{side_door.port}/apiv2"}
        settings = {"MARKS": str(hosted), "AIRFLOW_CONN_SMARTECH_SIDE_DOOR": json.dumps(connection)}
        cluster = Cluster(folder, dags, {**IMPATIENT, **settings}, VARIABLES, "receiver", {"s3": s3})
        side_door.lead_to(cluster.port("sandbox"))
        stack.enter_context(cluster)
        use_s3_of(cluster)
        for dag_id in LOADED:
            cluster.wait(lambda dag_id=dag_id: cluster.has_dag(dag_id), f"{dag_id} is loaded")  # type: ignore[misc]
        yield World(cluster, s3, side_door, hosted, files.url)
