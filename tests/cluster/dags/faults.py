"""The DAGs that the faults are tried on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Context, Param, task

from airflow_provider_smartech.operators import SmartechBulkUploadOperator

PARAMS = {"path": Param("", type="string"), "smartech_conn_id": Param("smartech_default", type="string")}
UPLOAD: dict[str, Any] = {
    "path": "{{ params.path }}",
    "listid": 33,
    "smartech_conn_id": "{{ params.smartech_conn_id }}",
    "wait_for_completion": True,
    "deferrable": True,
    "retries": 20,
    "retry_delay": timedelta(seconds=3),
}


class StopsBeforeXCom(SmartechBulkUploadOperator):
    """Goes no further than Smartech's answer, on its first try."""

    def announce(self, requestids: Sequence[str], context: Context) -> None:
        if context["ti"].try_number == 1:
            Path(os.environ["MARKS"], context["ti"].run_id).touch()
            time.sleep(600)
        super().announce(requestids, context)


with DAG("upload", schedule=None, params=PARAMS):
    SmartechBulkUploadOperator(task_id="upload", **UPLOAD)

with DAG("stops_before_xcom", schedule=None, params=PARAMS):
    StopsBeforeXCom(task_id="upload", **UPLOAD)

with DAG("impatient", schedule=None, params=PARAMS):
    SmartechBulkUploadOperator(task_id="upload", **{**UPLOAD, "timeout": 10, "retries": 0})

with DAG("many", schedule=None, params={"paths": Param([], type="array")}):

    @task
    def paths(params: dict[str, Any] | None = None) -> list[str]:
        """Return what to upload."""
        return list((params or {})["paths"])

    each = {name: value for name, value in UPLOAD.items() if name not in ("path", "smartech_conn_id")}
    SmartechBulkUploadOperator.partial(task_id="upload", **each).expand(path=paths())
