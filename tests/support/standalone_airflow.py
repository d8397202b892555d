"""A real ``airflow standalone`` on loopback and free ports, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import psutil

from tests.support.airflow_api import AirflowApi, DemoError
from tests.support.processes import end, family, free_ports

START_SECONDS = 180.0


class Airflow(AirflowApi):
    """One Airflow with SQLite; ``start()`` it, talk to it, ``stop()`` it.

    :param home: an empty folder, used as AIRFLOW_HOME.
    :param dags: the folder with the DAG files.
    :param settings: more environment variables, such as connections.
    :param prefix: path below which the API server serves everything, such as ``/team/airflow``.
    """

    def __init__(self, home: Path, dags: Path, settings: Mapping[str, str], prefix: str = "") -> None:
        port, *others = free_ports(4)
        super().__init__(f"http://127.0.0.1:{port}{prefix}", home, home / "standalone.log")
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
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(others[2]),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__SMARTECH__POLL_INTERVAL": "1",
            # Others may need the machine, too.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            **settings,
        }
        # Airflow takes half as long to start from compiled files.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, dag_ids: tuple[str, ...], say: Callable[[str], None] = lambda text: None) -> None:
        """Start it and wait until it is healthy, the receiver answers and these DAGs are there."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.run("standalone")
        self._until("Airflow is healthy", self.is_healthy, say)
        self.log_in()
        self._until("the ping-back receiver answers", self.receiver_answers, say)
        for dag_id in dag_ids:
            self._until(f"DAG {dag_id} is loaded", partial(self.has_dag, dag_id), say)

    def start_api_server(self) -> None:
        """Start only the API server, and wait until the receiver answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.run("db", "migrate")
        self._processes.pop().wait()
        self.run("api-server")
        self._until("the ping-back receiver answers", self.receiver_answers, lambda text: None)

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
        while alive := self._family():
            end(alive)
        for process in self._processes:
            process.wait()
        self.close()

    def restart_triggerer(self) -> None:
        """End the triggerer and start another one."""
        end(self.triggerer())
        self.run("triggerer")

    def triggerer(self) -> list[psutil.Process]:
        """Return the processes of the triggerer."""
        return [member for member in self._family() if _is_triggerer(member)]

    def _family(self) -> list[psutil.Process]:
        return [member for process in self._processes for member in family(process.pid)]

    def _until(self, what: str, condition: Callable[[], bool], say: Callable[[str], None]) -> None:
        began = time.monotonic()

        def checked() -> bool:
            if self._processes[0].poll() is not None:
                raise DemoError(f"Airflow ended by itself; see {self.log}")
            return condition()

        say(f"waiting until {what} …")
        self.wait(checked, what, START_SECONDS)
        say(f"{what} ({time.monotonic() - began:.1f} s)")


def _is_triggerer(process: psutil.Process) -> bool:
    try:
        return "triggerer" in process.cmdline() or "triggerer" in process.name()
    except psutil.Error:
        return False
