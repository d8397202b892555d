"""The example DAGs can be copied: Airflow imports them as they are."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.utils.file import list_py_file_paths

from airflow_provider_smartech.doctor import examine


def test_the_example_dags_can_be_imported() -> None:
    dags = "from example_dags.smartech_hosted_csv import upload, wait; print(upload.dag.dag_id, wait.upstream_task_ids)"
    assert output(dags) == "smartech_hosted_csv {'upload'}"
    dag = "from example_dags.smartech_warehouse_sync import sync; print(sync.dag.dag_id, sync.dag.catchup, sync.sql)"
    assert output(dag) == "smartech_warehouse_sync False smartech_warehouse_sync.sql"
    task = "from example_dags.smartech_warehouse_sync import sync; print(sync.only_changes, sync.full, sync.full_every)"
    assert output(task) == "True {{ dag_run.conf.get('full', false) }} 7 days, 0:00:00"
    doctor = "from example_dags.smartech_doctor import dag; from example_dags.smartech_alerts import upload; "
    said = output(doctor + "print(dag.dag_id, dag.task_ids, upload.dag.deadline, upload.on_failure_callback)")
    assert re.fullmatch(r"smartech_doctor \['doctor'\] \[<.*DeadlineAlert .*>\] \[<.*SmtpNotifier .*>\]", said)


UNLOADING = {
    "smartech_redshift_unload": ({"unload", "upload"}, "s3_manifest"),
    "smartech_athena_select": ({"select", "upload"}, "s3_key"),
    "smartech_snowflake_unload": ({"unload", "upload"}, "s3_prefix"),
    "smartech_spark_unload": ({"unload", "upload"}, "s3_wildcard"),
}


def test_the_dags_of_warehouses_that_unload_can_be_imported_and_wait_for_what_they_upload() -> None:
    code = f"""
import json, runpy
found = {{}}
for name in {list(UNLOADING)}:
    module = runpy.run_path(f"example_dags/unload/{{name}}.py")
    upload = module["upload"]
    kinds = [kind for kind in ("s3_key", "s3_prefix", "s3_wildcard", "s3_manifest") if getattr(upload, kind)]
    waits = upload.wait_for_completion and upload.deferrable and upload.upstream_task_ids < upload.dag.task_dict.keys()
    found[upload.dag.dag_id] = sorted(upload.dag.task_ids), kinds, waits
print(json.dumps(found))
"""
    expected = {name: [sorted(tasks), [kind], True] for name, (tasks, kind) in UNLOADING.items()}
    assert json.loads(output(code)) == expected


# Airflow's own.
@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_the_deployments_do_not_read_the_dags_of_services_that_they_do_not_have() -> None:
    found = list_py_file_paths(EXAMPLES)
    assert {Path(path).name for path in found} == {
        "smartech_alerts.py",
        "smartech_doctor.py",
        "smartech_hosted_csv.py",
        "smartech_warehouse_sync.py",
    }


def test_the_doctor_takes_what_the_example_dag_s_parameters_are_called() -> None:
    names = "from example_dags.smartech_doctor import dag; print(*dag.params)"
    assert set(output(names).split()) == set(inspect.signature(examine).parameters)


EXAMPLES = Path(__file__).parent.parent / "example_dags"


def output(code: str) -> str:
    """Run code in a new interpreter and return the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]
