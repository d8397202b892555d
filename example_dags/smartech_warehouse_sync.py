"""Streams contacts from the warehouse to Smartech every night, and is green when Smartech has loaded them.

Only the contacts that are new or have changed since the last night are sent. Now and then all of them are sent, because
somebody may have edited contacts in Smartech's panel; to do so at once, trigger the DAG with ``{"full": true}``.

The workers need the extra ``airflow-provider-smartech[changes]``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG

from airflow_provider_smartech.transfers import SqlToSmartechOperator

with DAG(
    dag_id="smartech_warehouse_sync",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=10),
        # Called when no retries are left; uses the connection smtp_default.
        "on_failure_callback": SmtpNotifier(
            from_email="airflow@example.com",
            to="data-team@example.com",
            subject="{{ dag.dag_id }}: the contacts of {{ dag_run.run_id }} did not reach Smartech",
            html_content="Task {{ ti.task_id }} failed. Its log says why: {{ ti.log_url }}",
        ),
    },
    doc_md=__doc__,
    tags=["smartech"],
):
    sync = SqlToSmartechOperator(
        task_id="sync",
        sql="smartech_warehouse_sync.sql",
        conn_id="warehouse",
        s3_bucket="my-company-staging",
        s3_prefix="contacts",
        columns={
            "email": "EMAIL",
            "first_name": "FIRST_NAME",
            "last_name": "LAST_NAME",
            "city": "CITY",
            "birthday": "BIRTHDAY",
            "points": "POINTS",
        },
        primary_key="EMAIL",
        on_missing_key="skip",
        max_rows_per_file=50_000,
        only_changes=True,
        full="{{ dag_run.conf.get('full', false) }}",
        full_every=timedelta(days=7),
        listid=34,
        wait_for_completion=True,
        deferrable=True,
        timeout=timedelta(hours=12),
    )
