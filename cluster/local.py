"""The services of docker-compose.yaml on loopback: their commands and environments, with other hosts, ports and paths.

What a container has and a process does not have is replaced here: a host name becomes 127.0.0.1, a port becomes a free
port, a path in the container becomes a path on this machine, and Airflow gets its host name from the environment. Only
PostgreSQL's image starts its server without a command; the PostgreSQL server of the tests is used instead.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from cluster.compose import Service, in_order, read_services, read_variables
from cluster.tcp_proxy import TcpProxy
from tests.support.airflow_api import AirflowApi, DemoError
from tests.support.postgres import PostgresServer
from tests.support.processes import end, family, free_ports, kill

ROOT = Path(__file__).resolve().parent.parent
# The path of the source tree in the image.
SOURCES = "/opt/smartech"
START_SECONDS = 240.0

HERE = {
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "cluster.hostname.hostname",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
    "PYTHONPATH": str(ROOT),
}

IMPATIENT = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    # The nightly DAG must run when it is triggered, not for last night.
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
    "AIRFLOW__SMARTECH__POLL_INTERVAL": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
"""Settings with which Airflow notices a dead component within seconds, instead of minutes."""


class Cluster(AirflowApi):
    """The deployment of docker-compose.yaml; a context manager that starts and stops all services.

    Services that end by themselves are restarted, as Docker does.

    :param folder: an empty folder for what the services write.
    :param dags: the DAG files, instead of the examples.
    :param settings: additional environment variables for all of Airflow's services.
    :param variables: variables in addition to those of ``.env.example``.
    :param profile: a profile of the file to start as well.
    :param proxies: the proxies in front of services, by the services' names.
    """

    def __init__(
        self,
        folder: Path,
        dags: Path = ROOT / "example_dags",
        settings: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        profile: str | None = None,
        proxies: Mapping[str, TcpProxy] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder
        # Airflow's log servers listen on the whole network, and the example's secret is public.
        own = {"JWT_SECRET": secrets.token_urlsafe(64)}
        self.variables = {**read_variables(ROOT / ".env.example"), **own, **(variables or {})}
        self.services = read_services(ROOT / "docker-compose.yaml", self.variables, profile)
        self._sources = {"./example_dags": dags}
        self._settings = settings or {}
        self._say = say
        self._postgres: PostgresServer | None = None
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._wanted: set[str] = set()
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._keeper = threading.Thread(target=self._keep_up, name="keeper")
        places = [(service.name, port) for service in self.services.values() for port in service.ports]
        self._listening = dict(zip(places, free_ports(len(places)), strict=True))
        self._reached = dict(self._listening)
        for name, proxy in (proxies or {}).items():
            [port] = self.services[name].ports
            proxy.lead_to(self._listening[name, port])
            self._reached[name, port] = proxy.port
        super().__init__(self.address("api-server"), folder / "volumes" / "airflow-home", folder)

    def __enter__(self) -> Cluster:
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        with ExitStack() as stack:
            # Stops every service even if others fail to stop; the last one first.
            stack.callback(self.close)
            if self._postgres:
                stack.callback(self._postgres.__exit__)
            for name in self._processes:
                stack.callback(self.stop, name)
            if self._keeper.ident:
                stack.callback(self._keeper.join)

    def address(self, name: str) -> str:
        """Return the URL of a service with one port."""
        return f"http://127.0.0.1:{self.port(name)}"

    def port(self, name: str) -> int:
        """Return the port on this machine of a service with one port."""
        [port] = self.services[name].ports
        return self._reached[name, port]

    def start(self, name: str) -> None:
        """Start a service."""
        with self._lock:
            service = self.services[name]
            if not service.command:
                self._start_postgres(service)
                return
            with (self.folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [self._local(service, word) for word in service.command],
                    env=self._environment(service),
                    cwd=self._cwd(service),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            if service.restarts:
                self._wanted.add(name)

    def stop(self, name: str) -> None:
        """Stop a service with all of its processes; it stays down until it is started."""
        self._end(name, end)

    def kill(self, name: str) -> None:
        """Kill a service, like a power cut; it stays down until it is started."""
        self._end(name, kill)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Kill a service, and start it again afterwards."""
        self.kill(name)
        try:
            yield
        finally:
            self.start(name)

    def restart_postgres(self, seconds: float) -> None:
        """Stop PostgreSQL, ending all sessions, and start it again after a while."""
        assert self._postgres
        self._postgres.stop()
        time.sleep(seconds)
        self._postgres.start()

    def run_in_warehouse(self, statement: str) -> None:
        """Run a statement in the database of the connection ``warehouse``."""
        assert self._postgres
        self._postgres.execute(statement, database="warehouse")

    def is_up(self, name: str) -> bool:
        """Whether a service's own health check succeeds."""
        service = self.services[name]
        if not service.command:
            return self._postgres is not None and self._postgres.answers()
        if not service.check:
            return True
        command = [self._local(service, word) for word in service.check]
        done = subprocess.run(command, env=self._environment(service), cwd=self._cwd(service), capture_output=True)
        return done.returncode == 0

    def wait_until_up(self, *names: str) -> None:
        """Wait until services are healthy.

        :raises DemoError: one is not healthy in time.
        """
        for name in names:
            self.wait(lambda name=name: self.is_up(name), f"{name} is healthy", START_SECONDS)  # type: ignore[misc]

    def _start_all(self) -> None:
        self._keeper.start()
        for service in in_order(self.services):
            self._say(f"starting {service.name}")
            self.start(service.name)
            if not service.restarts:
                self._finish(service)
            elif any(service.name in other.after for other in self.services.values()):
                self.wait_until_up(service.name)
        self.wait(self.receiver_answers, "the API server answers", START_SECONDS)
        self.log_in()
        self.wait(self.is_healthy, "Airflow is healthy", START_SECONDS)

    def _finish(self, service: Service) -> None:
        if self._processes[service.name].wait(START_SECONDS):
            raise DemoError(f"{service.name} failed; see {self.folder / service.name}.log")

    def _start_postgres(self, service: Service) -> None:
        names = service.environment
        port = self._listening[service.name, service.ports[0]]
        self._postgres = PostgresServer(names["POSTGRES_USER"], names["POSTGRES_DB"], port).__enter__()

    def _end(self, name: str, how: Callable[[list[psutil.Process]], None]) -> None:
        with self._lock:
            self._wanted.discard(name)
            process = self._processes[name]
            # Repeated until none is left: a starting process may start more before it gets the signal.
            while alive := family(process.pid):
                how(alive)
            process.wait()

    def _keep_up(self) -> None:
        while not self._over.wait(1):
            with self._lock:
                for name in [name for name in self._wanted if self._processes[name].poll() is not None]:
                    self._say(f"{name} ended by itself; restarting it")
                    self.start(name)

    def _environment(self, service: Service) -> dict[str, str]:
        given = {name: self._local(service, value) for name, value in service.environment.items()}
        if "AIRFLOW_HOME" in given:
            given |= {**HERE, **self._settings}
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "HOSTNAME": service.name,
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1,localhost",
            **given,
        }

    def _cwd(self, service: Service) -> Path:
        return Path(self._local(service, service.folder)) if service.folder else self.folder

    def _local(self, service: Service, text: str) -> str:
        """Return a service's text with the hosts, ports and paths of this machine."""
        for inside, source in {**service.volumes, SOURCES: "."}.items():
            text = re.sub(rf"(?<![\w/-]){re.escape(inside)}(?![\w-])", str(self._source(source)), text)
        for (name, port), free in self._reached.items():
            text = re.sub(rf"(?<![\w-]){name}:{port}\b", f"127.0.0.1:{free}", text)
        for port in service.ports:
            text = re.sub(rf"\b{port}\b", str(self._listening[service.name, port]), text)
        for (_, port), free in self._reached.items():
            text = re.sub(rf"\blocalhost:{port}\b", f"127.0.0.1:{free}", text)
        return re.sub(r"\b0\.0\.0\.0\b", "127.0.0.1", text)

    def _source(self, source: str) -> Path:
        if source in self._sources:
            return self._sources[source]
        if source.startswith("."):
            return (ROOT / source).resolve()
        volume = self.folder / "volumes" / source
        volume.mkdir(parents=True, exist_ok=True)
        return volume
