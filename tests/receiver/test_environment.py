"""The receiver where Airflow is not installed, but only deploy/receiver/requirements.txt and this package."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.uploads.upload import key_of, new_upload_id
from tests.support.receiver_alone import RECEIVER_PYTHON, receiver_alone, receiver_command
from tests.support.records import record

# These run outside of Airflow, with packages of their own.
pytestmark = pytest.mark.once


def most_memory() -> float:
    """In bytes; Python 3.14 itself takes more than those before it."""
    python = subprocess.run([RECEIVER_PYTHON, "--version"], capture_output=True, text=True, check=True).stdout
    return 95e6 if "3.14" in python else 80e6


@pytest.fixture
def settings(moto: str, s3_folder: str) -> dict[str, str]:
    """The environment variables of a receiver whose store is in S3."""
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_DEFAULT_REGION": "us-east-1"}
    url = s3_folder.replace("s3_test@", "")
    return {**keys, "AWS_ENDPOINT_URL": moto, "AIRFLOW__SMARTECH__UPLOAD_STORE": url, "NO_PROXY": "127.0.0.1"}


def test_without_airflow_pingbacks_reach_the_store_of_the_tasks_in_little_memory(
    settings: dict[str, str], s3_folder: str, tmp_path: Path
) -> None:
    absent = subprocess.run([RECEIVER_PYTHON, "-c", "import airflow"], capture_output=True, text=True, check=False)
    assert "No module named 'airflow'" in absent.stderr
    upload_id, store = new_upload_id(), open_upload_store(s3_folder)
    store.create(record(key=str(key_of(upload_id))))
    with receiver_alone(settings, tmp_path / "log") as (url, process):
        for number in range(50):
            assert httpx.post(f"{url}/pingback/{upload_id}", json={"row": number}).is_success
        assert httpx.post(f"{url}/pingback/{new_upload_id()}", json={}).status_code == 404
        assert process.memory_info().rss < most_memory()
    assert len(store.read(str(key_of(upload_id))).pingbacks) == 50
    log = (tmp_path / "log").read_text("utf-8")
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    kept = [line["bytes"] for line in lines if line.get("event") == "pingback_kept"]
    assert (len(kept), min(kept)) == (50, len('{"row":0}'))
    assert [line["calls"] for line in lines if line.get("event") == "calls_refused"] == [1]
    assert not any("verdict" in line for line in lines), "what words mean is not known without Airflow"
    assert upload_id not in log


def test_without_airflow_a_folder_of_the_machine_is_a_store_as_well(tmp_path: Path) -> None:
    upload_id, store = new_upload_id(), open_upload_store(f"file://{tmp_path}/store")
    store.create(record(key=str(key_of(upload_id))))
    with receiver_alone({"AIRFLOW__SMARTECH__UPLOAD_STORE": f"file://{tmp_path}/store"}, tmp_path / "log") as (url, _):
        assert httpx.post(f"{url}/pingback/{upload_id}", json={"status": "done"}).is_success
    assert [one.payload for one in store.read(str(key_of(upload_id))).pingbacks] == [{"status": "done"}]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "Set AIRFLOW__SMARTECH__UPLOAD_STORE to the folder that the tasks use"),
        ("gs://my-bucket/smartech", "a URL that begins with gs:// needs Airflow"),
        (
            "s3://aws_default@my-bucket/smartech",
            "names the connection 'aws_default', but Airflow is not",
        ),
        ("s3://no-such-bucket/smartech", "NoSuchBucket"),
    ],
)
def test_without_airflow_a_store_that_cannot_be_used_is_an_error_at_the_start(
    settings: dict[str, str], url: str, said: str
) -> None:
    own = {**settings, "AIRFLOW__SMARTECH__UPLOAD_STORE": url}
    done = subprocess.run(receiver_command(0), env=own, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_named_airflow_is_not_taken_for_airflow(settings: dict[str, str], tmp_path: Path) -> None:
    """Airflow's home often has that name, and Python looks for packages in the current folder."""
    (tmp_path / "airflow").mkdir()
    own = {**settings, "AIRFLOW__SMARTECH__UPLOAD_STORE": "gs://my-bucket/smartech"}
    done = subprocess.run(
        receiver_command(0), env=own, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "a URL that begins with gs:// needs Airflow" in done.stderr
