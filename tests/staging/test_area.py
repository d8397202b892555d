"""A query's rows become files in S3, and nothing of them stays where that breaks off."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_smartech.errors import ContactsQueryFailed, ContactsStorageError, TaskKilled
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.staging import area as staging_area
from airflow_provider_smartech.staging.s3_urls import S3Urls
from tests.support.submissions import submitted
from tests.support.tasks import run
from tests.support.transfers import MUCH, QUERY, from_sql, keys, unfinished

pytestmark = pytest.mark.usefixtures("receiver", "warehouse")


def test_parts_that_a_killed_worker_left_are_removed_with_its_folder(s3: Any, bucket: str) -> None:
    for folder in ("staged/one", "staged/other"):
        s3.create_multipart_upload(Bucket=bucket, Key=f"{folder}/contacts-00001.csv")
    assert staging_area.remove_folder(s3, bucket, "staged/one")
    left = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["staged/other/contacts-00001.csv"]


def test_nothing_is_said_to_be_left_where_there_is_no_bucket(
    sandbox: SandboxServer, s3: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # As if it had been removed after the check.
    monkeypatch.setattr(S3Urls, "check_bucket", lambda self, bucket: None)
    for sql in (QUERY, MUCH.format(zero=0)):
        with pytest.raises(ContactsStorageError, match=r"NoSuchBucket: The specified bucket does not exist"):
            run(from_sql("no-such-bucket", sql=sql))
    assert staging_area.remove_folder(s3, "no-such-bucket", "staged/one")
    assert " left " not in caplog.text


def test_a_query_that_breaks_off_leaves_nothing_in_s3(sandbox: SandboxServer, s3: Any, bucket: str) -> None:
    with pytest.raises(ContactsQueryFailed, match="DivisionByZero"):
        run(from_sql(bucket, sql=MUCH.format(zero=29_000), max_rows_per_file=12_000))
    assert (keys(s3, bucket), unfinished(s3, bucket), submitted(sandbox)) == ([], [], [])


@pytest.mark.parametrize("rows", [30, 30_000])
def test_a_task_that_is_killed_sends_nothing_and_leaves_nothing_in_s3(
    sandbox: SandboxServer, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    task = from_sql(bucket, sql=MUCH.format(zero=0).replace("30000", str(rows)), max_rows_per_file=rows // 3)
    add = staging_area.StagingArea.add

    def killed(self: Any, lines: Any, count: int) -> None:
        add(self, lines, count)
        if self.rows > rows / 2:
            # As the handler of the signal does it, between two instructions of the task.
            task.on_kill()

    monkeypatch.setattr(staging_area.StagingArea, "add", killed)
    with pytest.raises(TaskKilled):
        run(task)
    assert (keys(s3, bucket), unfinished(s3, bucket), submitted(sandbox)) == ([], [], [])
    task.on_kill()


def test_encryption_is_asked_for_as_configured(sandbox: SandboxServer, s3: Any, bucket: str) -> None:
    for sql in (QUERY, MUCH.format(zero=0)):
        result = run(from_sql(bucket, sql=sql, upload_args={"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}))
        head = s3.head_object(Bucket=bucket, Key=result["files"][0]["key"])
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "k")
