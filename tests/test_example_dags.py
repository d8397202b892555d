"""DAG files are parsed every few seconds, so what they import is light; and the public names are where they belong."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["fastapi", "uvicorn", "boto3", "botocore", "aiobotocore", "s3fs", "pandas", "pyarrow"]
HEAVY += ["airflow.providers.amazon.aws", "airflow.providers.common.sql.hooks"]


@pytest.mark.parametrize(
    "module", ["operators", "sensors", "transfers", "triggers", "hooks", "plugin", "get_provider_info"]
)
def test_a_module_imports_nothing_heavy(module: str) -> None:
    found = f"; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    assert output(f"import airflow_provider_smartech.{module}{found}") == "[]"


def test_the_example_dags_can_be_imported() -> None:
    dags = "from example_dags.smartech_hosted_csv import upload, wait; print(upload.dag.dag_id, wait.upstream_task_ids)"
    assert output(dags) == "smartech_hosted_csv {'upload'}"
    dag = "from example_dags.smartech_warehouse_sync import sync; print(sync.dag.dag_id, sync.dag.catchup, sync.sql)"
    assert output(dag) == "smartech_warehouse_sync False smartech_warehouse_sync.sql"


def output(code: str) -> str:
    """Run code in a new interpreter and return the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]
