"""The sandbox, and a real receiver that it calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Record, key_of, new_upload_id
from tests.support.servers import ReceiverServer


@pytest.fixture
def server(sandbox: SandboxServer) -> SandboxServer:
    return sandbox


@pytest.fixture
def called(store: UploadStore, receiver: ReceiverServer) -> tuple[str, Callable[[], list[Any]]]:
    """A ping-back URL of a real receiver, and what it was called with: each body, or the query where that is empty."""
    upload_id = new_upload_id()
    key = str(key_of(upload_id))
    store.create(Record(key=key, path="https://x.example.com/y.csv", smartech_conn_id="c", tracked=True))

    def kept() -> list[Any]:
        return [one.shown for one in sorted(store.read(key).pingbacks, key=lambda one: one.at)]

    return f"{receiver.url}/pingback/{upload_id}", kept
