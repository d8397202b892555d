"""Lets Redshift unload contacts to S3 in parallel, and uploads all files that it wrote, ten at a time.

Redshift writes the names of columns in small letters, also those in quotes. For names such as ``EMAIL``, let the user
of the connection keep their case: ``ALTER USER airflow SET enable_case_sensitive_identifier TO true``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.amazon.aws.transfers.redshift_to_s3 import RedshiftToS3Operator
from airflow.sdk import DAG

from airflow_provider_smartech.transfers import S3ToSmartechOperator

BUCKET = "my-company-staging"
# Each run has a folder of its own; clearing a run writes it again.
FOLDER = "redshift/{{ dag_run.run_after | ts_nodash }}"

with DAG(
    dag_id="smartech_redshift_unload",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["smartech"],
):
    unload = RedshiftToS3Operator(
        task_id="unload",
        redshift_conn_id="redshift_default",
        select_query='SELECT email AS "EMAIL", first_name AS "FIRST_NAME", city AS "CITY" FROM crm.contacts',
        s3_bucket=BUCKET,
        s3_key=f"{FOLDER}/contacts_",
        # Without GZIP, BZIP2 or ZSTD: Smartech loads plain CSV. PARALLEL ON is Redshift's default.
        unload_options=["FORMAT AS CSV", "HEADER", "MANIFEST", "MAXFILESIZE 100 MB", "ALLOWOVERWRITE"],
    )
    upload = S3ToSmartechOperator(
        task_id="upload",
        s3_bucket=BUCKET,
        # Redshift adds this word to the beginning of the names.
        s3_manifest=f"{FOLDER}/contacts_manifest",
        primary_key="EMAIL",
        delete_source="on_success",
        listid=34,
        wait_for_completion=True,
        deferrable=True,
        timeout=timedelta(hours=12),
    )
    unload >> upload
