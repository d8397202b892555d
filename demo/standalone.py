"""A real ``airflow standalone`` on loopback and free ports, in a folder of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

START_SECONDS = 180.0
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class DemoError(Exception):
    """Something did not come up or did not end in time; the text says what, and where to look."""


class Airflow:
    """One Airflow with SQLite; ``start()`` it, talk to it, ``stop()`` it.

    :param home: an empty folder, used as AIRFLOW_HOME.
    :param dags: the folder with the DAG files.
    :param settings: more environment variables, such as connections.
    :param prefix: path below which the API server serves everything, such as ``/team/airflow``.
    """

    def __init__(self, home: Path, dags: Path, settings: Mapping[str, str], prefix: str = "") -> None:
        self.home = home
        self.log = home / "standalone.log"
        port, *others = free_ports(4)
        self.url = f"http://127.0.0.1:{port}{prefix}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(others[0]),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(others[1]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(others[2]),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SMARTECH__POLL_INTERVAL": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            **settings,
        }
        # Airflow takes half as long to start from compiled files.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def start(self, dag_ids: tuple[str, ...], say: Callable[[str], None] = lambda text: None) -> None:
        """Start it and wait until it is healthy, the receiver answers and these DAGs are there."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.run("standalone")
        self._until("Airflow is healthy", self._is_healthy, say)
        self._log_in()
        self._until("the ping-back receiver answers", self._receiver_answers, say)
        for dag_id in dag_ids:
            self._until(f"DAG {dag_id} is loaded", partial(self._has_dag, dag_id), say)

    def run(self, *command: str) -> None:
        """Start ``airflow <command>`` in the background; ``stop()`` ends it."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)

    def stop(self) -> None:
        """End every process that was started, by its own id."""
        # Again until none is left: what is starting may start more before it hears of its end.
        while family := [member for process in self._processes for member in _family(process.pid)]:
            self._end(family)
        for process in self._processes:
            process.wait()
        self._client.close()

    def restart_triggerer(self) -> None:
        """End the triggerer and start another one."""
        self._end(self.triggerer())
        self.run("triggerer")

    def triggerer(self) -> list[psutil.Process]:
        """Return the processes of the triggerer."""
        family = [member for process in self._processes for member in _family(process.pid)]
        return [member for member in family if _is_triggerer(member)]

    def login(self) -> tuple[str, str]:
        """Return the user and the password for the UI."""
        passwords = json.loads((self.home / "simple_auth_manager_passwords.json.generated").read_text())
        user, password = next(iter(passwords.items()))
        return user, password

    def get(self, path: str, api: str = "/api/v2") -> Any:
        """GET from the REST API, or from the one behind the UI."""
        return self._client.get(f"{api}{path}").raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        """POST to the REST API."""
        return self._client.post(f"/api/v2{path}", json=body).raise_for_status().json()

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run of a DAG and return its id."""
        return str(self.post(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}})["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a DAG run, mapped ones included."""
        return list(self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1000")["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return what a task pushed to XCom."""
        value = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}")["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in '{["' else value

    def finish(self, dag_id: str, run_id: str, seconds: float = 180.0) -> str:
        """Wait until a DAG run has ended and return its state."""
        self.wait(lambda: self.run_state(dag_id, run_id) in FINISHED, f"{dag_id} {run_id} ends", seconds)
        return self.run_state(dag_id, run_id)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
        """Wait until something is so.

        :raises DemoError: it is not so in time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise DemoError(f"not within {seconds:.0f} s: {what}; see {self.log}")
            time.sleep(0.25)

    def _until(self, what: str, condition: Callable[[], bool], say: Callable[[str], None]) -> None:
        began = time.monotonic()

        def checked() -> bool:
            if self._processes[0].poll() is not None:
                raise DemoError(f"Airflow ended by itself; see {self.log}")
            try:
                return condition()
            except httpx.HTTPError:
                return False

        say(f"waiting until {what} …")
        self.wait(checked, what, START_SECONDS)
        say(f"{what} ({time.monotonic() - began:.1f} s)")

    def _is_healthy(self) -> bool:
        parts = self._client.get("/api/v2/monitor/health").raise_for_status().json()
        return all(part and part.get("status") == "healthy" for part in parts.values())

    def _receiver_answers(self) -> bool:
        answer = self._client.get("/smartech/health")
        # Where nothing is mounted, Airflow answers with its own page.
        return "json" in answer.headers["content-type"] and answer.json()["service"] == "airflow-provider-smartech"

    def _has_dag(self, dag_id: str) -> bool:
        return self._client.get(f"/api/v2/dags/{dag_id}").status_code == httpx.codes.OK

    def _log_in(self) -> None:
        user, password = self.login()
        answer = self._client.post("/auth/token", json={"username": user, "password": password}).raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _end(self, processes: list[psutil.Process]) -> None:
        for process in processes:
            _signal(process.terminate)
        _, alive = psutil.wait_procs(processes, timeout=15)
        for process in alive:
            _signal(process.kill)
        psutil.wait_procs(alive, timeout=5)


def _family(pid: int) -> list[psutil.Process]:
    """Return a process, its descendants, and what is left of its session: children can outlive it."""
    family = {member.pid: member for member in _children(pid)}
    for process in psutil.process_iter():
        if process.pid not in family and _session(process.pid) == pid:
            family |= {member.pid: member for member in _children(process.pid)}
    return list(family.values())


def _children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return [member for member in family if member.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _is_triggerer(process: psutil.Process) -> bool:
    try:
        return "triggerer" in process.cmdline() or "triggerer" in process.name()
    except psutil.Error:
        return False


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return


def free_ports(count: int) -> list[int]:
    """Return ports of loopback on which nobody listens, all different."""
    """Return ports of loopback on which nobody listens, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(listener.getsockname()[1]) for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
