"""One deployment for all of these tests: docker-compose.yaml with Docker."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from cluster.local import IMPATIENT, ROOT
from containers.base_images import base_images
from containers.daemon import running_docker
from containers.deployment import Deployment
from containers.progress import say

DAGS = ROOT / "tests" / "cluster" / "dags"
# As a user has it: DAGs are paused until they are unpaused, and run by their schedule.
USERS = ("AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION", "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE")
SETTINGS = {name: value for name, value in IMPATIENT.items() if name not in USERS}


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    # A run that is told to end must take the daemon and the containers with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = tmp_path_factory.mktemp("docker") / "airflow-provider-smartech"
    with running_docker() as docker, base_images(docker, ROOT):
        deployment = Deployment(docker, ROOT, folder, DAGS, SETTINGS)
        with deployment:
            say("everything is up")
            yield deployment
            if request.session.testsfailed:
                deployment.show_logs()
