"""Opening the upload store that is configured."""

from __future__ import annotations

import pytest

from airflow_provider_smartech.config.upload_store import open_folder, open_upload_store
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.folder import Folder
from airflow_provider_smartech.uploads.fsspec_folder import FsspecFolder
from airflow_provider_smartech.uploads.local_folder import LocalFolder
from airflow_provider_smartech.uploads.s3_folder import S3Folder


def test_a_storage_that_cannot_be_reached_is_an_error_that_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_S3_GONE", '{"conn_type": "aws", "extra": {"endpoint_url": "http://127.0.0.1:1"}}')
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for url in ("s3://s3_gone@bucket/prefix", "s3://no_such_connection@bucket/prefix", "nonsense://x/y"):
        with pytest.raises(UploadStoreError, match=r"\[smartech\] upload_store"):
            open_upload_store(url).check()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://aws_default@bucket/prefix/", "s3://aws_default@bucket/prefix"),
        ("s3://KEY:SECRET@bucket/x?token=1", "s3://KEY@bucket/x"),
        ("file:///var/lib/smartech", "file:///var/lib/smartech"),
        ("gs://google@bucket/x?token=1", "gs://google@bucket/x"),
    ],
)
def test_a_store_shows_its_place_without_secrets(url: str, shown: str) -> None:
    assert open_upload_store(url).shown_url == shown


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("/var/lib/smartech", LocalFolder),
        ("file:///var/lib/smartech", LocalFolder),
        ("s3://bucket/x", S3Folder),
        ("s3a://aws_default@bucket/x", S3Folder),
        ("gs://google@bucket/x", FsspecFolder),
    ],
)
def test_each_kind_of_storage_is_used_in_its_own_way(url: str, kind: type[Folder]) -> None:
    assert type(open_folder(url)) is kind
