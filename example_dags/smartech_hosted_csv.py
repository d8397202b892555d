"""Submits a CSV that is already hosted, and waits until Smartech reports that its contacts are loaded."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_smartech.operators import SmartechBulkUploadOperator
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor

with DAG(
    dag_id="smartech_hosted_csv",
    schedule=None,
    params={
        "path": Param("https://files.example.com/contacts.csv", type="string", description="URL of the CSV"),
        "listid": Param(33, type="integer", minimum=1, description="the Smartech list"),
    },
    doc_md=__doc__,
    tags=["smartech"],
):
    upload = SmartechBulkUploadOperator(
        task_id="upload",
        path="{{ params.path }}",
        listid="{{ params.listid }}",
        retries=2,
        retry_delay=timedelta(minutes=5),
    )
    wait = SmartechBulkUploadSensor(
        task_id="wait",
        requestid=upload.output,
        deferrable=True,
        timeout=timedelta(hours=12),
    )
    upload >> wait
