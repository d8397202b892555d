"""DAGs for the end-to-end tests. URLs with secrets come from environment variables, as from a secrets backend."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param, get_current_context, task

from airflow_provider_smartech.doctor import examine
from airflow_provider_smartech.operators import SmartechBulkUploadOperator
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from airflow_provider_smartech.transfers import S3ToSmartechOperator

SIGNED = "{{ var.value.signed_csv }}"

# A deferred and a blocking wait, one after the other, for an upload with the faults that the run asks for.
with DAG("two_steps", schedule=None, params={"faults": Param("", type="string"), "timeout": Param(60)}):
    upload = SmartechBulkUploadOperator(
        task_id="upload",
        path=SIGNED + "&sandbox_fault={{ params.faults }}",
        listid=33,
        notifyemail="ops@example.com",
    )
    wait = SmartechBulkUploadSensor(
        task_id="wait",
        requestid="{{ ti.xcom_pull(task_ids='upload', key='requestid') }}",
        deferrable=True,
        timeout=timedelta(seconds=60),
    )
    again = SmartechBulkUploadSensor(
        task_id="again",
        requestid="{{ ti.xcom_pull(task_ids='upload') }}",
        mode="reschedule",
        poke_interval=1,
        timeout=timedelta(seconds=60),
    )
    upload >> wait >> again

with DAG("late", schedule=None):
    SmartechBulkUploadSensor(
        task_id="times_out", requestid="{{ dag_run.conf['requestid'] }}", deferrable=True, timeout=timedelta(seconds=8)
    )
    SmartechBulkUploadSensor(
        task_id="is_skipped",
        requestid="{{ dag_run.conf['requestid'] }}",
        deferrable=True,
        soft_fail=True,
        timeout=timedelta(seconds=8),
    )

with DAG("retries", schedule=None):
    SmartechBulkUploadOperator(
        task_id="upload",
        path=SIGNED,
        wait_for_completion=True,
        deferrable=True,
        retries=1,
        retry_delay=timedelta(seconds=1),
        timeout=timedelta(seconds=60),
    )

with DAG("many", schedule=None, max_active_tasks=64):
    SmartechBulkUploadOperator.partial(
        task_id="upload",
        wait_for_completion=True,
        deferrable=True,
        timeout=timedelta(minutes=10),
        max_active_tis_per_dag=64,
    ).expand(path=[SIGNED + f"&sandbox_fault=pingback_late&part={n}" for n in range(int(os.environ["MANY"]))])

# A list is updated, and a DAG waits for that.
with DAG("updates", schedule=None):
    update = SmartechBulkUploadOperator(task_id="upload", path=SIGNED + "&sandbox_fault=pingback_late", listid=44)
    updated = SmartechBulkUploadSensor(
        task_id="wait",
        requestid="{{ ti.xcom_pull(task_ids='upload') }}",
        deferrable=True,
        timeout=timedelta(minutes=5),
    )
    update >> updated

with DAG("on_update", schedule=[Asset("smartech://us/44")]):

    @task
    def tell() -> list[str]:
        """Return the requestids of what was uploaded."""
        events = get_current_context()["triggering_asset_events"][Asset("smartech://us/44")]
        return [requestid for event in events for requestid in event.extra["requestids"]]

    tell()

with DAG("doctor", schedule=None, params={"upload": "", "listid": 33, "timeout": 60}):

    @task
    def doctor() -> None:
        examine(**get_current_context()["params"])

    doctor()

# Several objects in S3, some at a time, by every kind of mapping.
with DAG("unloaded", schedule=None, params={"bucket": Param("", type="string")}):
    given: dict[str, Any] = {
        "s3_bucket": "{{ params.bucket }}",
        "aws_conn_id": "upload_store",
        "listid": 33,
        "wait_for_completion": True,
        "deferrable": True,
        "uploads_at_once": 2,
        "timeout": timedelta(seconds=120),
    }

    @task
    def names() -> list[str]:
        """Return the keys of what was unloaded."""
        return ["unload/c/0.csv", "unload/c/1.csv"]

    S3ToSmartechOperator.partial(task_id="keys", **given).expand(s3_key=names())
    S3ToSmartechOperator.partial(task_id="prefixes", **given).expand(s3_prefix=["unload/a/", "unload/b/"])
    S3ToSmartechOperator.partial(task_id="lists", **given).expand(
        s3_key=[["unload/a/0.csv", "unload/a/1.csv"], ["unload/b/0.csv"]]
    )
    returned: Any = names.override(task_id="more_names")()
    S3ToSmartechOperator(task_id="returned", s3_key=returned, **given)
