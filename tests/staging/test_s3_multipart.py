"""Large files are sent to S3 in parts."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from airflow_provider_smartech.errors import ContactsStorageError
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.staging import area as staging_area
from airflow_provider_smartech.staging import s3_multipart as multipart
from tests.support.submissions import submitted
from tests.support.tasks import run
from tests.support.transfers import MUCH, from_s3, from_sql, keys, s3_refuses, unfinished

pytestmark = pytest.mark.usefixtures("receiver", "warehouse")


def test_a_large_file_is_sent_in_parts_and_arrives_whole(
    sandbox: SandboxServer,
    s3: Any,
    bucket: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staging_area, "LOG_INTERVAL_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "airflow_provider_smartech.staging.area"):
        result = run(from_sql(bucket, sql=MUCH.format(zero=0)))
    key = result["files"][0]["key"]
    assert s3.head_object(Bucket=bucket, Key=key)["ETag"].endswith('-6"'), "six parts"
    expected = b"id,text,one\n" + b"".join(b"%d,%s,1\n" % (i, b"0123456789" * 100) for i in range(1, 30001))
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == expected
    assert result["bytes"] == len(expected)
    assert re.search(r"Streaming: [\d,]+ rows, [\d.]+ MB, [\d,]+ rows/s\.", caplog.text)
    assert re.search(r"Staged 30,000 rows, 30\.\d MB", caplog.text)


@pytest.mark.parametrize("call", ["UploadPart", "CompleteMultipartUpload", "CreateMultipartUpload"])
def test_a_storage_that_breaks_off_leaves_nothing_in_s3(
    sandbox: SandboxServer, s3: Any, bucket: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_refuses(monkeypatch, call, "SlowDown")
    with pytest.raises(ContactsStorageError, match="SlowDown"):
        run(from_sql(bucket, sql=MUCH.format(zero=0)))
    assert (keys(s3, bucket), unfinished(s3, bucket), submitted(sandbox)) == ([], [], [])


def test_s3_s_own_words_are_shown_without_secrets(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link = "https://b.s3.amazonaws.com/k?X-Amz-Signature=s1gnature0123456789"
    s3_refuses(monkeypatch, "PutObject", "AccessDenied", f"role/r must not s3:PutObject to {link} {'x' * 1000}")
    upload = multipart.MultipartUpload(from_s3(bucket)._urls.client, bucket, "x.csv", {})
    with pytest.raises(ContactsStorageError) as caught:
        upload.complete()
    shown = f"AccessDenied: role/r must not s3:PutObject to {link.partition('?')[0]} x"
    assert f"S3 request failed for s3://{bucket}/x.csv ({shown}" in str(caught.value)
    assert len(str(caught.value)) < 600
    assert "s1gnature" not in str(caught.value)


def test_no_more_than_a_few_parts_are_held_at_once(s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    send = multipart.MultipartUpload._send

    def watched(self: Any) -> None:
        send(self)
        held.append(len(self._sending))

    monkeypatch.setattr(multipart.MultipartUpload, "_send", watched)
    upload = multipart.MultipartUpload(s3, bucket, "x", {})
    for _ in range(12):
        upload.write(bytes(multipart.PART_BYTES))
    upload.complete()
    assert max(held) <= multipart.PARTS_UNDER_WAY
    assert s3.head_object(Bucket=bucket, Key="x")["ContentLength"] == 12 * multipart.PART_BYTES
