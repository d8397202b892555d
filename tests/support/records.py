"""Records of uploads and syncs, and the tries of tasks that made them."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_provider_smartech.uploads.syncs import Changes, Subject, SyncRun, new_name
from airflow_provider_smartech.uploads.upload import Record, TaskTry, key_of, new_upload_id


def task(try_number: int = 1, **fields: object) -> TaskTry:
    known = {"dag_id": "d/ä", "run_id": "manual__2026-01-01T00:00:00+00:00", "task_id": "t", "max_tries": 2}
    return TaskTry.model_validate({**known, "try_number": try_number, **fields})


def record(**fields: object) -> Record:
    known = {"key": key_of(new_upload_id()), "path": "https://x/y.csv", "smartech_conn_id": "c", "tracked": True}
    return Record.model_validate({**known, **fields})


def sync_run(**fields: object) -> SyncRun:
    """A run that sent 2 of 5 rows, the first of its sync unless told otherwise."""
    known = {
        "sync": "nightly",
        "task": task(),
        "folder": f"staged/{new_name()}",
        "files": 1,
        "base": "",
        "generation": 1,
        "full_at": datetime.now(UTC),
        "subject": Subject(account="a", listid=33, primary_key="EMAIL", columns=("EMAIL", "NAME"), secret="s"),
        "snapshot": new_name(),
        "sent": 2,
        "parts": 1,
        "changes": Changes(rows=5, new=1, changed=1, unchanged=3, removed=0),
    }
    return SyncRun.model_validate({**known, **fields})
