"""The example DAGs can be copied: Airflow imports them as they are."""

from __future__ import annotations

import subprocess
import sys


def test_the_example_dags_can_be_imported() -> None:
    dags = "from example_dags.smartech_hosted_csv import upload, wait; print(upload.dag.dag_id, wait.upstream_task_ids)"
    assert output(dags) == "smartech_hosted_csv {'upload'}"
    dag = "from example_dags.smartech_warehouse_sync import sync; print(sync.dag.dag_id, sync.dag.catchup, sync.sql)"
    assert output(dag) == "smartech_warehouse_sync False smartech_warehouse_sync.sql"


def output(code: str) -> str:
    """Run code in a new interpreter and return the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]
