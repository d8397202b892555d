"""docker-compose.yaml is what Docker would run: its reader agrees with docker-compose's own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_smartech.api.data_centres import DATA_CENTRES
from airflow_provider_smartech.hooks import SmartechHook
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
        # Compose 1 writes it as a text, Compose 2 as words.
        command = fields.get("command") or ""
        written = command.replace('"', "") if isinstance(command, str) else " ".join(command)
        assert " ".join(service.command) == written, name
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


def test_the_connections_to_the_real_smartech_and_s3_that_the_example_shows_can_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = dict(re.findall(r"^# (\w+)=(.*)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    service = read_services(FILE, {**VARIABLES, **shown})["worker-1"]
    for name in ("SMARTECH_DEFAULT", "AWS_DEFAULT"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", service.environment[f"AIRFLOW_CONN_{name}"])
    assert SmartechHook().account.url == DATA_CENTRES["in"].url
    assert S3Hook("aws_default").get_conn().meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"
    assert service.environment["AIRFLOW__SMARTECH__UPLOAD_STORE"] == "s3://aws_default@your-bucket/smartech"
    receiver = read_services(FILE, {**VARIABLES, **shown}, "receiver")["receiver"]
    assert receiver.environment["AIRFLOW__SMARTECH__UPLOAD_STORE"] == "s3://your-bucket/smartech"


def test_one_service_builds_the_image_for_all_and_the_receiver_its_own(as_docker_reads_it: dict[str, Any]) -> None:
    built = {name: fields["image"] for name, fields in as_docker_reads_it.items() if "build" in fields}
    assert built == {"prepare": "airflow-with-smartech:local", "receiver": "smartech-receiver:local"}
    others = {fields["image"] for name, fields in as_docker_reads_it.items() if name not in built}
    assert built["receiver"] not in others
    assert built["prepare"] in others


def test_services_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "docker-compose.yaml"
    file.write_text("services: {a: {depends_on: {b: {}}}, b: {depends_on: {a: {}}}, c: {}}", "utf-8")
    with pytest.raises(ComposeError, match="wait for each other: a, b"):
        list(in_order(read_services(file, {})))
