"""The doctor in a task."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
from airflow.sdk.execution_time.context import set_current_context

from airflow_provider_smartech.doctor import examine
from airflow_provider_smartech.errors import ChainBroken, SmartechTerminalError
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from tests.support.submissions import only_upload
from tests.support.tasks import FakeTaskInstance, context

pytestmark = pytest.mark.usefixtures("receiver")


def test_each_link_is_a_line_of_the_log(
    sandbox: SandboxServer, bucket: str, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    examine(s3_bucket=bucket, s3_prefix="contacts", upload=csv_url, listid=33, timeout=timedelta(seconds=20))
    lines = [record.message for record in caplog.records if record.name.endswith("examination")]
    assert len(lines) == 17
    assert all(line.startswith("✓ ") for line in lines)


def test_in_a_task_the_upload_is_recorded_with_it(sandbox: SandboxServer, store: UploadStore, csv_url: str) -> None:
    with set_current_context(context(FakeTaskInstance(dag_id="smartech_doctor"))):
        examine(upload=csv_url, listid=33, timeout=20)
    task = only_upload(store).record.task
    assert task
    assert task.dag_id == "smartech_doctor"


def test_empty_parameters_of_a_dag_mean_none(sandbox: SandboxServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    examine(s3_bucket="", upload="", listid=None, timeout=10)
    assert "✓ bucket" not in caplog.text
    assert sandbox.state.uploads() == []


def test_a_broken_link_is_an_error_in_the_log_and_fails_the_task_without_retries(
    sandbox: SandboxServer, caplog: pytest.LogCaptureFixture, option: Callable[[str, str], None]
) -> None:
    option("upload_store", "s3://nobody@bucket/x")
    with pytest.raises(ChainBroken, match="Broken: upload store") as caught:
        examine()
    assert caught.value.links == ["upload store"]
    assert isinstance(caught.value, SmartechTerminalError)
    assert [record.message[:14] for record in caplog.records if record.levelno == logging.ERROR] == ["✗ upload store"]
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any(line.startswith("- ping-back") for line in warned)


@pytest.mark.once
def test_a_dag_file_that_imports_it_imports_nothing_heavy() -> None:
    heavy = ("requests", "boto3", "fastapi", "pydantic", "airflow_provider_smartech.uploads")
    code = f"import sys, airflow_provider_smartech.doctor; print([one for one in {heavy} if one in sys.modules])"
    base = f"import sys, airflow_provider_smartech.errors; print([one for one in {heavy} if one in sys.modules])"
    shown = [
        subprocess.run([sys.executable, "-c", one], capture_output=True, text=True, check=True).stdout
        for one in (code, base)
    ]
    assert shown[0] == shown[1]
