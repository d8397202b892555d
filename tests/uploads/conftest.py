"""Uploads of given minutes, for what is made of many of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.client import BaseClient

from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, PingBack, Record, TaskTry

BEGAN = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def task(**fields: Any) -> TaskTry:
    known = {"dag_id": "nightly", "run_id": "r", "task_id": "sync", "try_number": 1, "max_tries": 2}
    return TaskTry.model_validate({**known, **fields})


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations that S3 is asked for from now on."""
    operations, ask = list[str](), BaseClient._make_api_call

    def noting(self: BaseClient, operation: str, arguments: Any) -> Any:
        operations.append(operation)
        return ask(self, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", noting)
    return operations


@pytest.fixture
def submit(store: UploadStore) -> Callable[..., str]:
    """As ``submitting`` does, in the store of this test."""
    return submitting(store)


def submitting(store: UploadStore) -> Callable[..., str]:
    """Return what stores an upload of the given minute, accepted unless said otherwise, and gives its key."""

    def kept(minute: int, *payloads: Any, answer: str = "accepted", **fields: Any) -> str:
        at = BEGAN + timedelta(minutes=minute)
        key = f"{at:%Y%m%dT%H%M%S}-{minute:040x}"
        known = {"path": f"https://x.example.com/a/{minute}.csv", "smartech_conn_id": "c", "tracked": True}
        store.create(Record.model_validate({"key": key, "at": at, "listid": 33, "task": task(), **known, **fields}))
        requestid = f"r{minute}" if answer == "accepted" else None
        store.answered(key, Answer.model_validate({"at": at, "outcome": answer, "requestid": requestid}))
        for place, payload in enumerate(payloads):
            store.add_pingback(key, PingBack(at=at + timedelta(seconds=60 * (place + 1)), payload=payload))
        return key

    return kept
