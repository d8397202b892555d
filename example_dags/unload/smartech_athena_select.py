"""Lets Athena select contacts, and uploads the CSV that it wrote.

Of what Athena writes, only the result of a SELECT has a header: one CSV, whose name is the id of the query. The files
of UNLOAD and of CREATE TABLE AS have none, so Smartech could not load them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.sdk import DAG

from airflow_provider_smartech.transfers import S3ToSmartechOperator

BUCKET = "my-company-staging"

with DAG(
    dag_id="smartech_athena_select",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["smartech"],
):
    select = AthenaOperator(
        task_id="select",
        query='SELECT email AS "EMAIL", first_name AS "FIRST_NAME", city AS "CITY" FROM contacts',
        database="crm",
        output_location=f"s3://{BUCKET}/athena/",
    )
    upload = S3ToSmartechOperator(
        task_id="upload",
        s3_bucket=BUCKET,
        # The task returns the id of its query.
        s3_key="athena/{{ ti.xcom_pull(task_ids='select') }}.csv",
        primary_key="EMAIL",
        delete_source="on_success",
        listid=34,
        wait_for_completion=True,
        deferrable=True,
        timeout=timedelta(hours=12),
    )
    select >> upload
