"""Submitting: the operator, what came of it, and workers that die."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_smartech.operators import SmartechBulkUploadOperator
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Upload
from tests.support.tasks import FakeTaskInstance


class Crash(BaseException):
    """The worker dies: nothing in the product may catch it."""


def operator(path: str, **arguments: Any) -> SmartechBulkUploadOperator:
    return SmartechBulkUploadOperator(task_id="upload", path=path, **{"deferrable": False, **arguments})


def connect(monkeypatch: pytest.MonkeyPatch, sandbox: SandboxServer, **fields: Any) -> None:
    """Let the connection ``smartech_default`` lead to this sandbox."""
    connection = {"conn_type": "smartech", "password": sandbox.api_key, "host": sandbox.api_url, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_SMARTECH_DEFAULT", json.dumps(connection))


def submitted(sandbox: SandboxServer) -> list[str]:
    return [upload["requestid"] for upload in reversed(sandbox.state.uploads())]


def only_upload(store: UploadStore) -> Upload:
    records = list(Path(store.shown_url.removeprefix("file://")).glob("uploads/*/*/record.json"))
    assert len(records) == 1
    return store.read(records[0].parent.name)


@contextmanager
def crashing(owner: type, method: str, *, after: bool) -> Iterator[None]:
    """Let the worker die just before or after a method has done its work."""
    original = getattr(owner, method)

    def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            original(*arguments, **named)
        raise Crash

    died = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, method, dying)
        try:
            yield
        except Crash:
            died = True
    assert died


FIRST, RETRY = FakeTaskInstance(try_number=1), FakeTaskInstance(try_number=2)
# Clearing a task raises its max_tries.
CLEARED = FakeTaskInstance(try_number=2, max_tries=3)
