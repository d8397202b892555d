"""Records of uploads, and the tries of tasks that made them."""

from __future__ import annotations

from airflow_provider_smartech.uploads.upload import Record, TaskTry, key_of, new_upload_id


def task(try_number: int = 1, **fields: object) -> TaskTry:
    known = {"dag_id": "d/ä", "run_id": "manual__2026-01-01T00:00:00+00:00", "task_id": "t", "max_tries": 2}
    return TaskTry.model_validate({**known, "try_number": try_number, **fields})


def record(**fields: object) -> Record:
    known = {"key": key_of(new_upload_id()), "path": "https://x/y.csv", "smartech_conn_id": "c", "tracked": True}
    return Record.model_validate({**known, **fields})
