"""The tutorial: its commands run as a newcomer types them, and show what it says."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from packaging.requirements import Requirement

from tests.support.airflow_api import FINISHED, AirflowApi
from tests.support.processes import free_ports
from tests.support.terminals import Terminal

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs" / "tutorial" / "first-sync.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

AIRFLOW, SANDBOX, S3 = "8080", "8095", "8096"
FOLDER, DAG_ID = "first-sync", "first_sync"
START_SECONDS = 180.0


class Block(NamedTuple):
    """A block of code; ``title`` names the terminal, if that is not the first one."""

    language: str
    title: str
    code: str


def blocks(text: str) -> Iterator[Block]:
    found = re.findall(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
    return (Block(*groups) for groups in found)


class Newcomer:
    """Follows the page block by block, in a folder of its own.

    :param folder: an empty folder.
    :param ports: what each port of the page is here.
    """

    def __init__(self, stack: ExitStack, folder: Path, ports: dict[str, str]) -> None:
        self._stack = stack
        self._folder = folder
        self._ports = ports
        self._started = 0
        self.home = folder / FOLDER
        self.terminals: dict[str, Terminal] = {}
        self.airflow = AirflowApi(f"http://127.0.0.1:{ports[AIRFLOW]}", self.home / "airflow", folder / "Terminal 4")
        stack.callback(self.airflow.close)

    def follow(self, text: str) -> None:
        """Do what the page says."""
        last = ""
        for block in blocks(self._here(text)):
            match block.language:
                case "bash":
                    last = block.title or "Terminal 1"
                    self._type(last, block.code)
                case "text":
                    self.terminals[last].see(block.code, START_SECONDS)
                case "python":
                    path = block.code.partition("\n")[0].removeprefix("# ")
                    (self.home / path).write_text(block.code, "utf-8")

    def _here(self, text: str) -> str:
        # It would be made with nothing in it; what is to be installed is in PATH.
        text = text.replace("python3 -m venv venv", "mkdir -p venv/bin\ntouch venv/bin/activate")
        # No night may begin by itself while the page is followed.
        text = text.replace('"0 2 * * *"', f'"0 {(datetime.now(UTC).hour + 12) % 24} * * *"')
        return re.sub("|".join(self._ports), lambda port: self._ports[port[0]], text)

    def _type(self, name: str, commands: str) -> None:
        if "pip install" in commands:
            return
        if name == "Terminal 1":
            self._terminal(name, self._folder).run(commands)
            self._wait_for_airflow(commands)
        elif name in self.terminals:
            self.terminals[name].interrupt()
            self.terminals[name].type(commands)
        else:
            self._terminal(name, self.home).type(commands)

    def _terminal(self, name: str, folder: Path) -> Terminal:
        if name not in self.terminals:
            self.terminals[name] = Terminal(folder, self._folder / name, self._environment())
            self._stack.callback(self.terminals[name].close)
        return self.terminals[name]

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        # Airflow takes half as long to start from compiled files.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        ports = [str(port) for port in free_ports(3)]
        return inherited | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NO_PROXY": "127.0.0.1",
            "AIRFLOW__API__PORT": self._ports[AIRFLOW],
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": ports[0],
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": ports[1],
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": ports[2],
            # Others may need the machine, too.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            # Less patient than the page.
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__SMARTECH__POLL_INTERVAL": "1",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }

    def _wait_for_airflow(self, commands: str) -> None:
        """Wait for what the page says is then in Airflow's UI."""
        if "passwords" in commands:
            self.airflow.wait(self.airflow.is_healthy, "Airflow is healthy")
            self.airflow.log_in()
            self.airflow.wait(lambda: self.airflow.has_dag(DAG_ID), "the DAG is loaded")
        elif re.search("dags (unpause|trigger)", commands):
            self._started += 1
            self.airflow.wait(self._all_have_ended, f"run {self._started} has ended")

    def _all_have_ended(self) -> bool:
        states = [run["state"] for run in self.runs()]
        return len(states) == self._started and FINISHED.issuperset(states)

    def runs(self) -> list[dict[str, Any]]:
        """The runs of the DAG, the first one first."""
        return list(self.airflow.get(f"/dags/{DAG_ID}/dagRuns?order_by=id")["dag_runs"])

    def sandbox(self, path: str) -> httpx.Response:
        """What the sandbox shows."""
        url = f"http://127.0.0.1:{self._ports[SANDBOX]}/{path}"
        return httpx.get(url, trust_env=False).raise_for_status()


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    ports = [str(port) for port in free_ports(3)]
    with ExitStack() as stack:
        yield Newcomer(stack, tmp_path, dict(zip((AIRFLOW, SANDBOX, S3), ports, strict=True)))


@pytest.mark.airflow
@pytest.mark.once
def test_who_types_the_commands_of_the_tutorial_sees_what_it_says(newcomer: Newcomer) -> None:
    third_night, fourth_night = "## 11.", "## 12."
    before, _, after = TUTORIAL.partition(third_night)
    failing, _, repaired = after.partition(fourth_night)

    newcomer.follow(before)
    assert [run["state"] for run in newcomer.runs()] == ["success", "success"]
    assert cities(newcomer) == {"Ann": "Mumbai", "Bob": "Pune", "Cat": "Chennai", "Dan": "Goa"}

    newcomer.follow(failing)
    assert [run["state"] for run in newcomer.runs()] == ["success", "success", "failed"]
    assert cities(newcomer)["Cat"] == "Chennai"
    (log,) = (newcomer.home / "airflow" / "logs").glob(f"*/run_id={newcomer.runs()[2]['dag_run_id']}/*/attempt=1.log")
    (said,) = re.findall(r"its log\s+says `(.+?)`", failing)
    assert said in log.read_text("utf-8")

    newcomer.follow(repaired)
    assert [run["state"] for run in newcomer.runs()] == ["success", "success", "failed", "success"]
    assert cities(newcomer)["Cat"] == "Surat"
    uploads = newcomer.sandbox("sandbox/uploads").json()
    assert [(upload["state"], upload["total"]) for upload in uploads] == [("completed", n) for n in (1, 1, 2, 3)]
    assert "Contacts: 4" in newcomer.sandbox("").text


def cities(newcomer: Newcomer) -> dict[str, str]:
    contacts = newcomer.sandbox("sandbox/contacts").json()["contacts"]
    return {contact["FIRST_NAME"]: contact["CITY"] for contact in contacts}


def test_what_the_tutorial_installs_is_what_this_project_needs_and_is_tested_with() -> None:
    (install,) = (block.code for block in blocks(TUTORIAL) if "pip install" in block.code)
    words = shlex.split(install.partition("pip install")[2].replace("\\\n", " "))
    constraints = words.pop()
    assert words.pop() == "--constraint"
    wanted = {requirement.name: requirement for requirement in map(Requirement, words)}
    assert wanted.keys() == {"apache-airflow", PROJECT["project"]["name"], "apache-airflow-providers-sqlite", "moto"}
    assert wanted[PROJECT["project"]["name"]].extras <= PROJECT["project"]["optional-dependencies"].keys()
    (airflow,) = (pinned.version for pinned in wanted["apache-airflow"].specifier)
    assert f"/apache/airflow/constraints-{airflow}/constraints-$PYTHON_VERSION.txt" in constraints
    assert f"AIRFLOW={airflow}" in (ROOT / ".ci" / "run").read_text("utf-8")
    needed = {requirement.name: requirement for requirement in map(Requirement, PROJECT["project"]["dependencies"])}
    assert needed["apache-airflow"].specifier.contains(airflow)
    assert all(version(name) for name in wanted)
