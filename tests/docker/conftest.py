"""One deployment for all of these tests: docker-compose.yaml with Docker."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from cluster.local import ROOT
from containers.base_images import base_images
from containers.daemon import running_docker
from containers.deployment import Deployment
from containers.progress import say

DAGS = ROOT / "tests" / "cluster" / "dags"
# That a worker is gone is noticed within half a minute; a running task reports more often, even on a busy machine.
SETTINGS = {
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
}


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
