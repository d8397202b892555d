"""Files in S3: one request for each, never written twice, and a bucket that does not answer is not empty."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.httpsession import URLLib3Session

from airflow_provider_smartech.config.upload_store import open_folder, open_upload_store
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.folder import FileUnreadable
from airflow_provider_smartech.uploads.upload import PingBack, key_of, new_upload_id
from tests.support.records import record, task


def test_a_file_is_read_and_written_by_one_request(s3_folder: str, requested: list[str]) -> None:
    folder = open_folder(s3_folder)
    folder.write("a/b", b"1")
    assert folder.read("a/b") == b"1"
    assert folder.read("a/c") is None
    assert requested == ["PutObject", "GetObject", "GetObject"]


def test_a_file_that_exists_is_never_overwritten(s3_folder: str) -> None:
    folder = open_folder(s3_folder)
    folder.write("record.json", b"first")
    with pytest.raises(UploadStoreError, match=r"record\.json in s3://s3_test@.* exists already"):
        folder.write("record.json", b"second")
    assert folder.read("record.json") == b"first"


def test_a_write_whose_answer_was_lost_is_no_error(s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    send, lost = URLLib3Session.send, list[str]()

    def losing(self: URLLib3Session, request: Any) -> Any:
        answer = send(self, request)
        if request.method == "PUT" and not lost:
            lost.append(request.url)
            answer.status_code = 500
        return answer

    folder = open_folder(s3_folder)
    monkeypatch.setattr(URLLib3Session, "send", losing)
    folder.write("record.json", b"once")
    assert len(lost) == 1
    assert folder.read("record.json") == b"once"


def test_any_number_of_files_is_removed(s3_folder: str, requested: list[str]) -> None:
    folder = open_folder(s3_folder)
    folder.write("there", b"")
    requested.clear()
    folder.remove([*(f"gone-{number}" for number in range(1500)), "there"])
    assert requested == ["DeleteObjects", "DeleteObjects"]
    assert folder.names_below("") == []


def test_a_file_that_s3_does_not_remove_is_an_error(s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: BaseClient, operation: str, arguments: Any) -> Any:
        return {"Errors": [{"Key": "prefix/x", "Code": "AccessDenied", "Message": "Access Denied"}]}

    monkeypatch.setattr(BaseClient, "_make_api_call", denied)
    with pytest.raises(UploadStoreError, match=r"AccessDenied for prefix/x.*s3:DeleteObject"):
        open_folder(s3_folder).remove(["x"])


def test_an_archived_file_is_unreadable(s3_folder: str, s3: Any) -> None:
    bucket, _, prefix = s3_folder.partition("@")[2].partition("/")
    s3.put_object(Bucket=bucket, Key=f"{prefix}/x", Body=b"1", StorageClass="GLACIER")
    with pytest.raises(FileUnreadable, match="it is archived"):
        open_folder(s3_folder).read("x")


@pytest.mark.once
def test_a_listing_has_all_pages(s3_folder: str) -> None:
    folder = open_folder(s3_folder)
    names = [f"{number:04}" for number in range(1003)]
    for name in names:
        folder.write(f"days/{name}/x", b"")
    assert folder.folders("days") == names
    assert len(folder.names("days")) == len(folder.names_below("days")) == 1003


def test_a_folder_whose_name_is_a_pattern_is_taken_for_itself(bucket: str) -> None:
    stores = [open_upload_store(f"s3://s3_test@{bucket}/t{name}") for name in ("[1]", "1")]
    for one in stores:
        one.create(record(key=f"20260101T000000-{'a' * 40}", task=task()))
    assert stores[0].purge(datetime.now(UTC)) == 1
    assert [len(list(one.keys())) for one in stores] == [0, 1]
    assert stores[1].earlier(task(2))


def test_a_bucket_that_is_not_there_is_no_empty_store(s3_folder: str) -> None:
    store = open_upload_store(s3_folder.replace("bucket-", "no-such-bucket-"))
    key = str(key_of(new_upload_id()))
    reaches: list[Callable[[], object]] = [store.check, lambda: store.has(key), lambda: store.find(key)]
    reaches += [lambda: list(store.keys())]
    reaches += [lambda: store.purge(datetime.now(UTC)), lambda: store.create(record())]
    for reach in reaches:
        with pytest.raises(UploadStoreError):
            reach()


def test_no_debug_log_shows_what_is_written_or_read(s3_folder: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store, kept = open_upload_store(s3_folder), record()
    store.create(kept)
    store.add_pingback(kept.key, PingBack(payload="jane@example.com"))
    assert store.read(kept.key).pingbacks
    assert "PutObject" in caplog.text
    assert "jane@example.com" not in caplog.text
    assert "test-secret" not in caplog.text
