"""Sends an e-mail if an upload to Smartech did not complete: at once if it failed, and if it is late.

Copy both alerts to your own DAG. They use the connection ``smtp_default``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, Param

# On Airflow 3.1 as well; from 3.2 on, airflow.sdk has these names.
from airflow.sdk.definitions.deadline import (  # type: ignore[attr-defined]
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
)

from airflow_provider_smartech.operators import SmartechBulkUploadOperator

MAIL: dict[str, Any] = {"from_email": "airflow@example.com", "to": "data-team@example.com"}

with DAG(
    dag_id="smartech_alerts",
    schedule=None,
    default_args={
        # Called when a task has failed and no retries are left.
        "on_failure_callback": SmtpNotifier(
            **MAIL,
            subject="{{ dag.dag_id }}: the contacts of {{ dag_run.run_id }} did not reach Smartech",
            html_content="Task {{ ti.task_id }} failed. Its log says why: {{ ti.log_url }}",
        ),
    },
    # Called in the triggerer if the run has not succeeded in this time, whatever the reason.
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=6),
        callback=AsyncCallback(
            SmtpNotifier,
            kwargs={
                **MAIL,
                # There is no task here, so it knows only the run and its deadline.
                "subject": "{{ dag_run.dag_id }}: the contacts of {{ dag_run.dag_run_id }} are late",
                "html_content": "They were to be in Smartech at {{ deadline.deadline_time }}.",
            },
        ),
    ),
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
        wait_for_completion=True,
        deferrable=True,
        # Then the task fails, also if no ping-back has come.
        timeout=timedelta(hours=12),
        retries=2,
        retry_delay=timedelta(minutes=5),
    )
