"""The deployment of docker-compose.yaml, as docs/how-to/docker.md tells a user to make it."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from cluster.compose import Service, read_services, read_variables
from containers.client import Docker, DockerError
from containers.progress import say, step
from tests.support.airflow_api import AirflowApi
from tests.support.processes import free_ports

PASSWORDS = "/opt/airflow/home/simple_auth_manager_passwords.json.generated"
UP_SECONDS = 400.0
# On an idle machine it takes less than a minute; pip takes a quarter of an hour, if it has to try many old versions.
BUILD_SECONDS = 400.0


class Deployment(AirflowApi):
    """The services as containers; a context manager that builds the image, starts them all, and removes them again.

    :param root: the source tree.
    :param folder: the folder to copy it to; its ``.env`` and ports are the deployment's own.
    :param dags: a folder with more DAGs than the examples.
    :param settings: additional environment variables for all of Airflow's services.
    """

    def __init__(self, docker: Docker, root: Path, folder: Path, dags: Path, settings: Mapping[str, str]) -> None:
        self._docker = docker
        self.folder = folder
        ignored = (root / ".dockerignore").read_text("utf-8").replace("**/", "").split()
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns(*ignored))
        shutil.copytree(dags, folder / "example_dags", dirs_exist_ok=True)
        port, sandbox_port = free_ports(2)
        self.sandbox = f"http://127.0.0.1:{sandbox_port}"
        shutil.copy(folder / ".env.example", folder / ".env")
        self._project = f"smartech-test-{uuid.uuid4().hex[:8]}"
        self.set("COMPOSE_PROJECT_NAME", self._project)
        self.set("AIRFLOW_PORT", str(port))
        self.set("AIRFLOW_URL", f"http://localhost:{port}")
        self.set("SANDBOX_PORT", str(sandbox_port))
        self.services = self._services()
        self._write_override(settings)
        super().__init__(f"http://127.0.0.1:{port}", folder, folder)

    def __enter__(self) -> Deployment:
        try:
            with step("building the image"):
                self._docker.compose("build", folder=self.folder, seconds=BUILD_SECONDS)
            self.up()
        except BaseException:
            self.show_logs()
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        with step("removing the deployment"):
            self.compose("--profile", "receiver", "down", "--volumes", "--remove-orphans", "--timeout", "20")

    def set(self, name: str, value: str) -> None:
        """Add a variable to ``.env``."""
        with (self.folder / ".env").open("a", encoding="utf-8") as file:
            file.write(f"\n{name}={value}\n")

    def compose(self, *words: str) -> str:
        """Run a command of Compose and return its output."""
        return self._docker.compose(*words, folder=self.folder)

    def up(self, profile: str | None = None, needed: Sequence[str] = ()) -> None:
        """Start what does not run, wait until all of it is healthy, or only what is needed, and log in."""
        self.services = self._services(profile)
        with step("starting the services"):
            self.compose(*(("--profile", profile) if profile else ()), "up", "--build", "--detach")
        with step("waiting until they are healthy"):
            self._wait_for(needed) if needed else self.wait_until_up()
        self.log_in()

    def down(self) -> None:
        """Remove the containers, but not the volumes."""
        with step("stopping the services"):
            # Celery's workers wait for more than a minute before they end, although they are idle.
            self.compose("down", "--timeout", "20")

    def wait_until_up(self) -> None:
        """Wait until every service is healthy, and Airflow says that it is.

        :raises DemoError: one is not healthy in time.
        """
        self._wait_for(self.lasting())
        self.wait(self.is_healthy, "Airflow is healthy", UP_SECONDS)

    def _wait_for(self, names: Sequence[str]) -> None:
        for name in names:
            self.wait(lambda name=name: self.health(name) == "healthy", f"{name} is healthy", UP_SECONDS)  # type: ignore[misc]

    def lasting(self) -> list[str]:
        """Return the names of the services that do not end: those that are checked."""
        return [service.name for service in self.services.values() if service.check]

    def health(self, name: str) -> str:
        """Return what a service's health check says, or that its container does not run."""
        state = self.container(name)["State"]
        return str(state["Health"]["Status"] if state["Running"] else state["Status"])

    def container(self, name: str) -> dict[str, Any]:
        """Return what Docker knows of a service's container."""
        labels = {"project": self._project, "service": name}
        filters = [f"--filter=label=com.docker.compose.{label}={value}" for label, value in labels.items()]
        [found] = json.loads(self._docker.run("inspect", self._docker.run("ps", "--all", "--quiet", *filters).strip()))
        return dict(found)

    def kill(self, container: str) -> None:
        """Kill a container, which stays down until it is started."""
        self._docker.run("kill", container)

    def end(self, name: str) -> None:
        """Let a service's main process end, so that its container ends by itself."""
        stop = self.container(name)["Config"].get("StopSignal", "SIGTERM")
        self.compose("exec", "--detach", name, "bash", "-c", f"kill -{stop} 1")

    def login(self) -> tuple[str, str]:
        """Return the user and the password for the UI."""
        passwords = json.loads(self.compose("exec", "-T", "api-server", "cat", PASSWORDS))
        user, password = next(iter(passwords.items()))
        return user, password

    def logs(self, *names: str, lines: int = 1000) -> str:
        """Return the end of what services wrote."""
        return self.compose("logs", "--no-color", "--tail", str(lines), *names)

    def show_logs(self) -> None:
        """Print the end of what all services wrote, for those who look for the reason of a failure."""
        with suppress(DockerError):
            say(f"the end of the services' logs:\n{self.logs(lines=40)}")

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run by its schedule and when it is triggered."""
        self._client.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}).raise_for_status()

    def _services(self, profile: str | None = None) -> dict[str, Service]:
        variables = read_variables(self.folder / ".env")
        return read_services(self.folder / "docker-compose.yaml", variables, profile)

    def _write_override(self, settings: Mapping[str, str]) -> None:
        """Write the file that Compose reads as well."""
        services = self._services("receiver").values()
        override = {
            service.name: {
                **({"environment": dict(settings)} if "AIRFLOW_HOME" in service.environment else {}),
                # A check that takes longer must not fail on a machine that has much else to do.
                **({"healthcheck": {"timeout": "3m"}} if service.check else {}),
            }
            for service in services
        }
        (self.folder / "docker-compose.override.yaml").write_text(yaml.safe_dump({"services": override}), "utf-8")
