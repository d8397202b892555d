"""``make soak``: several hundred uploads and nights of syncs while components fail at random; then all is compared."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.sandbox import Fault
from airflow_provider_smartech.uploads.upload import TaskTry
from cluster.local import IMPATIENT, ROOT, Cluster
from cluster.nights import DAG_ID as NIGHTS
from cluster.nights import Nights
from cluster.reconciliation import Reconciliation, SyncReconciliation, summary, summary_of_nights
from cluster.tcp_proxy import TcpProxy
from tests.support.airflow_api import FINISHED, DemoError
from tests.support.file_server import FileServer

DAG_ID = "soak"
STORE = "s3://cluster_s3@smartech-uploads/store"
# Half of the uploads have no fault of the sandbox.
FAULTS = [*Fault, *[None] * len(Fault)]
REPEATS = 20
VARIABLES = {"SANDBOX_LATE_SECONDS": "5", "SANDBOX_REPEATS": str(REPEATS), "SANDBOX_REPEAT_SECONDS": "2"}
SECONDS_PER_UPLOAD = 20.0
KILLED = ("worker-1", "worker-2", "triggerer-1", "triggerer-2", "api-server", "scheduler")

Say = Callable[[str], None]


class Soak:
    """Uploads on a cluster, each from its own task, with one contact and perhaps a fault; and nights of syncs.

    :param hosted: a folder whose files are served at ``url``.
    :param s3: the proxy in front of the cluster's S3.
    """

    def __init__(self, cluster: Cluster, s3: TcpProxy, hosted: Path, url: str, seed: int, say: Say) -> None:
        self.cluster = cluster
        self.s3 = s3
        self._hosted = hosted
        self._url = url
        self._random = random.Random(seed)
        self._say = say
        self._words = Settings.load().statuses
        self._faults: dict[str, Fault | None] = {}
        self._nights = Nights(cluster, STORE, seed)

    def run(self, uploads: int) -> tuple[list[Reconciliation], list[SyncReconciliation]]:
        """Upload and sync, break components at the same time, and return what each side knows at the end.

        :raises DemoError: it does not end in time.
        """
        csvs = [self._csv(number) for number in range(uploads)]
        run_id = self.cluster.trigger(DAG_ID, {"paths": csvs})
        ends = time.monotonic() + 240 + uploads * SECONDS_PER_UPLOAD
        while not self._is_over(run_id):
            if time.monotonic() > ends:
                raise DemoError(f"{DAG_ID} {run_id} does not end; see {self.cluster.log}")
            self._nights.go_on()
            self._pause(run_id, self._random.uniform(5, 15))
            if not self._is_over(run_id):
                self._break_something()
        self.cluster.wait(self._is_quiet, "the sandbox has sent all of its ping-backs", 120)
        return self._reconciled(run_id, csvs), self._nights.end()

    def _csv(self, number: int) -> str:
        name, fault = f"soak-{number}", self._random.choice(FAULTS)
        (self._hosted / f"{name}.csv").write_text(f"EMAIL\n{name}@example.com\n", "utf-8")
        path = f"{self._url}/{name}.csv"
        self._faults[path] = fault
        return f"{path}?sandbox_fault={fault}" if fault else path

    def _is_over(self, run_id: str) -> bool:
        return self.cluster.run_state(DAG_ID, run_id) in FINISHED

    def _pause(self, run_id: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.cluster.wait(lambda: time.monotonic() > until or self._is_over(run_id), "some time is over", seconds + 60)

    def _break_something(self) -> None:
        breaks: dict[str, Callable[[], None]] = {f"{name} is killed": partial(self._kill, name) for name in KILLED}
        breaks["S3 refuses for 5 s"] = self._shut_s3
        breaks["PostgreSQL is restarted"] = partial(self.cluster.restart_postgres, 2)
        what = self._random.choice(list(breaks))
        self._say(what)
        breaks[what]()

    def _kill(self, name: str) -> None:
        with self.cluster.without(name):
            pass

    def _shut_s3(self) -> None:
        with self.s3.closed():
            time.sleep(5)

    def _sandbox(self) -> list[dict[str, Any]]:
        found = httpx.get(f"{self.cluster.address('sandbox')}/sandbox/uploads", trust_env=False).json()
        return [upload for upload in found if upload["path"].startswith(f"{self._url}/soak-")]

    def _is_quiet(self) -> bool:
        """Whether every upload has ended, and the sandbox will send no more ping-backs."""
        return all(map(self._is_done, self._sandbox()))

    def _is_done(self, upload: dict[str, Any]) -> bool:
        fault, pingbacks = self._faults[upload["path"]], upload["pingbacks"]
        if fault is Fault.NO_PINGBACK:
            return bool(upload["state"] != "queued")
        over = fault is Fault.PINGBACK_ONCE or len(pingbacks) > REPEATS
        return bool(pingbacks) and (over or str(pingbacks[-1]).startswith("HTTP 2"))

    def _reconciled(self, run_id: str, csvs: list[str]) -> list[Reconciliation]:
        store, taken = open_upload_store(STORE), self._sandbox()
        tasks = {task["map_index"]: task for task in self.cluster.tasks(DAG_ID, run_id) if task["task_id"] == "upload"}
        logs = self.cluster.folder / "volumes" / "airflow-logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}"
        accounts = []
        for number, csv in enumerate(csvs):
            task = TaskTry(dag_id=DAG_ID, run_id=run_id, task_id="upload", map_index=number, try_number=1, max_tries=1)
            path = csv.partition("?")[0]
            files = sorted(logs.glob(f"task_id=upload/map_index={number}/*.log"))
            accounts.append(
                Reconciliation(
                    path=path,
                    fault=self._faults[path],
                    state=tasks[number]["state"] if number in tasks else None,
                    log="\n".join(file.read_text("utf-8", "replace") for file in files),
                    uploads=sorted(store.of_task(task), key=lambda upload: upload.record.at),
                    taken=[upload for upload in taken if upload["path"] == path],
                    words=self._words,
                )
            )
        return accounts


@contextmanager
def soaking(folder: Path, seed: int, say: Say) -> Iterator[Soak]:
    """A separate cluster for a soak test."""
    hosted = folder / "hosted"
    hosted.mkdir()
    with ExitStack() as stack:
        files, s3 = stack.enter_context(FileServer(hosted)), stack.enter_context(TcpProxy())
        cluster = Cluster(folder, ROOT / "cluster" / "dags", IMPATIENT, VARIABLES, proxies={"s3": s3}, say=say)
        stack.enter_context(cluster)
        use_s3_of(cluster)
        for dag_id in (DAG_ID, NIGHTS):
            cluster.wait(lambda dag_id=dag_id: cluster.has_dag(dag_id), f"{dag_id} is loaded")  # type: ignore[misc]
        yield Soak(cluster, s3, hosted, files.url, seed, say)


def use_s3_of(cluster: Cluster) -> None:
    """Let this process reach a cluster's S3, with the connection ``cluster_s3``."""
    extra = {"endpoint_url": cluster.address("s3"), "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "any", "password": "any-secret", "extra": extra}
    os.environ["AIRFLOW_CONN_CLUSTER_S3"] = json.dumps(connection)


def main() -> int:
    """Run the soak test, print the result, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--uploads", type=int, default=300)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    folder = Path(tempfile.mkdtemp(prefix="smartech-soak-"))
    say(f"{options.uploads} uploads, seed {options.seed}, in {folder}")
    with soaking(folder, options.seed, say) as soak:
        accounts, nights = soak.run(options.uploads)
    differences = [f"{account.path}: {text}" for account in accounts for text in account.differences()]
    differences += [f"{night.name}: {text}" for night in nights for text in night.differences()]
    say(summary(accounts))
    say(summary_of_nights(nights))
    for difference in differences:
        say(difference)
    say(f"{len(differences)} differences")
    if not differences:
        shutil.rmtree(folder)
    return 1 if differences else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    # So that the cluster is stopped.
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
