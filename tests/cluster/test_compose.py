"""docker-compose.yaml is what Docker would run: its reader agrees with docker-compose's own."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.compose import ComposeError, in_order, read_services, read_variables
from cluster.local import ROOT

FILE = ROOT / "docker-compose.yaml"
VARIABLES = read_variables(ROOT / ".env.example")


@pytest.fixture(scope="module")
def as_docker_reads_it() -> dict[str, Any]:
    """The services by docker-compose itself, which checks the file by its schema."""
    command = ["docker-compose", "--file", str(FILE), "--env-file", str(ROOT / ".env.example"), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(yaml.safe_load(done.stdout)["services"])


def test_docker_compose_takes_the_file_and_reads_the_same(as_docker_reads_it: dict[str, Any]) -> None:
    ours = read_services(FILE, VARIABLES)
    assert set(ours) == {name for name, fields in as_docker_reads_it.items() if not fields.get("profiles")}
    for name, service in ours.items():
        fields = as_docker_reads_it[name]
        # It writes dollars doubled, as it reads them.
        environment = {key: str(value).replace("$$", "$") for key, value in fields.get("environment", {}).items()}
        assert dict(service.environment) == environment, name
        assert " ".join(service.command) == (fields.get("command") or "").replace('"', ""), name
        assert (
            [str(port) for port in service.ports] == [str(port) for port in fields["expose"]] if service.ports else True
        )
        assert set(service.after) == set(fields.get("depends_on", {})), name


def test_every_service_is_checked_pinned_and_named_once(as_docker_reads_it: dict[str, Any]) -> None:
    for name, fields in as_docker_reads_it.items():
        assert re.search(r":[\w.-]*\d[\w.-]*$|:local$", fields["image"]), fields["image"]
        assert name == "prepare" or fields["healthcheck"]["test"], name
    (base,) = re.findall(r"^FROM (.*)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert re.fullmatch(r"apache/airflow:\d+\.\d+\.\d+-python\d\.\d+", base)


def test_the_receiver_that_runs_alone_is_a_profile() -> None:
    assert "receiver" not in read_services(FILE, VARIABLES)
    assert "receiver" in read_services(FILE, VARIABLES, "receiver")


def test_no_secret_is_in_the_file_itself() -> None:
    text = FILE.read_text("utf-8")
    assert [name for name, value in VARIABLES.items() if value in text] == []


def test_a_secret_that_is_not_set_is_named() -> None:
    without = {name: value for name, value in VARIABLES.items() if name != "FERNET_KEY"}
    with pytest.raises(ComposeError, match=r"FERNET_KEY is not set: copy \.env\.example"):
        read_services(FILE, without)


def test_for_the_real_smartech_and_s3_the_stand_ins_are_emptied() -> None:
    service = read_services(FILE, {**VARIABLES, "SMARTECH_HOST": "", "S3_ENDPOINT_URL": ""})["worker-1"]
    assert json.loads(service.environment["AIRFLOW_CONN_SMARTECH_DEFAULT"])["host"] == ""
    assert json.loads(service.environment["AIRFLOW_CONN_AWS_DEFAULT"])["extra"]["endpoint_url"] == ""


def test_services_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "docker-compose.yaml"
    file.write_text("services: {a: {depends_on: {b: {}}}, b: {depends_on: {a: {}}}, c: {}}", "utf-8")
    with pytest.raises(ComposeError, match="wait for each other: a, b"):
        list(in_order(read_services(file, {})))
