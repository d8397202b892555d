"""Lets Snowflake unload contacts to S3 in parallel, and uploads all files that it wrote, ten at a time.

``smartech_unload`` is an external stage on ``s3://my-company-staging/snowflake/``. The connection ``snowflake_default``
needs apache-airflow-providers-snowflake.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG

from airflow_provider_smartech.transfers import S3ToSmartechOperator

with DAG(
    dag_id="smartech_snowflake_unload",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    doc_md=__doc__,
    tags=["smartech"],
):
    unload = SQLExecuteQueryOperator(
        task_id="unload",
        conn_id="snowflake_default",
        sql=[
            # An earlier try may have written more files than this one does.
            "REMOVE @smartech_unload/{{ dag_run.run_after | ts_nodash }}/",
            """
            COPY INTO @smartech_unload/{{ dag_run.run_after | ts_nodash }}/contacts_
            FROM (SELECT email, first_name, city FROM crm.public.contacts)
            FILE_FORMAT = (TYPE = CSV COMPRESSION = NONE FIELD_OPTIONALLY_ENCLOSED_BY = '"' NULL_IF = (''))
            HEADER = TRUE
            MAX_FILE_SIZE = 104857600
            """,
        ],
    )
    upload = S3ToSmartechOperator(
        task_id="upload",
        s3_bucket="my-company-staging",
        s3_prefix="snowflake/{{ dag_run.run_after | ts_nodash }}/",
        primary_key="EMAIL",
        delete_source="on_success",
        listid=34,
        wait_for_completion=True,
        deferrable=True,
        timeout=timedelta(hours=12),
    )
    unload >> upload
