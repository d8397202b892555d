"""The example DAGs can be copied: Airflow imports them as they are."""

from __future__ import annotations

import inspect
import subprocess
import sys

from airflow_provider_smartech.doctor import examine


def test_the_example_dags_can_be_imported() -> None:
    dags = "from example_dags.smartech_hosted_csv import upload, wait; print(upload.dag.dag_id, wait.upstream_task_ids)"
    assert output(dags) == "smartech_hosted_csv {'upload'}"
    dag = "from example_dags.smartech_warehouse_sync import sync; print(sync.dag.dag_id, sync.dag.catchup, sync.sql)"
    assert output(dag) == "smartech_warehouse_sync False smartech_warehouse_sync.sql"
    task = "from example_dags.smartech_warehouse_sync import sync; print(sync.only_changes, sync.full, sync.full_every)"
    assert output(task) == "True {{ dag_run.conf.get('full', false) }} 7 days, 0:00:00"
    dag = "from example_dags.smartech_doctor import dag; print(dag.dag_id, dag.task_ids)"
    assert output(dag) == "smartech_doctor ['doctor']"


def test_the_doctor_takes_what_the_example_dag_s_parameters_are_called() -> None:
    names = "from example_dags.smartech_doctor import dag; print(*dag.params)"
    assert set(output(names).split()) == set(inspect.signature(examine).parameters)


def output(code: str) -> str:
    """Run code in a new interpreter and return the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]
