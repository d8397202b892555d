"""The DAG of the soak test: each path is a separate upload."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_smartech.operators import SmartechBulkUploadOperator

with DAG("soak", schedule=None, params={"paths": Param([], type="array")}):

    @task(retries=5, retry_delay=timedelta(seconds=1))
    def paths(params: dict[str, Any] | None = None) -> list[str]:
        """Return what to upload."""
        return list((params or {})["paths"])

    SmartechBulkUploadOperator.partial(
        task_id="upload",
        listid=33,
        wait_for_completion=True,
        deferrable=True,
        timeout=20,
        retries=3,
        retry_delay=timedelta(seconds=2),
    ).expand(path=paths())
