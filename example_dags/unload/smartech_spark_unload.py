"""Lets Spark write contacts to S3 in parallel, and uploads all files that it wrote, ten at a time.

The job is ``smartech_spark_contacts.py``, here on EMR Serverless. Any other operator that runs Spark does as well.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.emr import EmrServerlessStartJobOperator
from airflow.sdk import DAG

from airflow_provider_smartech.transfers import S3ToSmartechOperator

BUCKET = "my-company-staging"
# Each run has a folder of its own; clearing a run writes it again.
FOLDER = "spark/{{ dag_run.run_after | ts_nodash }}"

with DAG(
    dag_id="smartech_spark_unload",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["smartech"],
):
    unload = EmrServerlessStartJobOperator(
        task_id="unload",
        application_id="00abcdefghijklmn",
        execution_role_arn="arn:aws:iam::123456789012:role/spark",
        job_driver={
            "sparkSubmit": {
                "entryPoint": "s3://my-company-code/smartech_spark_contacts.py",
                "entryPointArguments": ["s3://my-company-lake/contacts/", f"s3://{BUCKET}/{FOLDER}/"],
            }
        },
    )
    upload = S3ToSmartechOperator(
        task_id="upload",
        s3_bucket=BUCKET,
        # Not the file _SUCCESS.
        s3_wildcard=f"{FOLDER}/part-*.csv",
        primary_key="EMAIL",
        delete_source="on_success",
        listid=34,
        wait_for_completion=True,
        deferrable=True,
        timeout=timedelta(hours=12),
    )
    unload >> upload
