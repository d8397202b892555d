"""Opening the upload store that is configured."""

from __future__ import annotations

import pytest

from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.errors import UploadStoreError


def test_a_storage_that_cannot_be_reached_is_an_error_that_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_S3_GONE", '{"conn_type": "aws", "extra": {"endpoint_url": "http://127.0.0.1:1"}}')
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for url in ("s3://s3_gone@bucket/prefix", "s3://no_such_connection@bucket/prefix", "nonsense://x/y"):
        with pytest.raises(UploadStoreError, match=r"\[smartech\] upload_store"):
            open_upload_store(url).check()
