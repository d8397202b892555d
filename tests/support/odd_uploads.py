"""Uploads that a page must take care with."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, PingBack, Record, TaskTry
from tests.support.secret_dag_auth import SECRET_DAG

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>{{ 7 * 7 }}"


def keep_odd_ones(store: UploadStore, now: datetime) -> None:
    """Keep a hostile upload and one of a DAG that the user may not see, both long ago."""
    for number, (text, dag_id) in enumerate([(HOSTILE, HOSTILE), ("secret", SECRET_DAG)]):
        at = now - timedelta(days=90 + number)
        key = f"{at:%Y%m%dT%H%M%S}-{number + 500:040x}"
        task = TaskTry(dag_id=dag_id, run_id=text, task_id=text, map_index=3, try_number=1, max_tries=2)
        path = f"https://x.example.com/{text}.csv"
        store.create(Record(key=key, at=at, path=path, smartech_conn_id=text, tracked=True, task=task))
        store.answered(key, Answer(at=at, outcome="accepted", requestid=f"request {text}"))
        store.add_pingback(key, PingBack(at=at, payload={text: [text], "status": text}))
