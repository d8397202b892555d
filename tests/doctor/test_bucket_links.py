"""The bucket for files with contacts."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.credentials import RefreshableCredentials

from airflow_provider_smartech.doctor.bucket_links import CREDENTIALS, LINK, REMOVE, WRITE, bucket_links
from airflow_provider_smartech.doctor.calls import Answer
from tests.doctor.conftest import Findings, by_link, results
from tests.support.transfers import keys, s3_refuses

FINE = {CREDENTIALS: "ok", WRITE: "ok", LINK: "ok"}


def found(bucket: str, prefix: str = "contacts/") -> Findings:
    return by_link(bucket_links("aws_default", bucket, prefix))


def test_a_file_is_written_its_link_opens_and_nothing_is_left(s3: Any, bucket: str) -> None:
    findings = found(bucket)
    assert results(findings) == FINE
    assert f"s3://{bucket}/contacts/" in findings[WRITE].seen
    assert "Signature" not in str(findings)
    assert keys(s3, bucket, "") == []


def test_a_bucket_that_is_not_there_is_broken_and_its_link_not_tried(s3: Any) -> None:
    findings = found("there-is-no-such-bucket")
    assert results(findings) == {CREDENTIALS: "ok", WRITE: "broken", LINK: "not tried"}
    assert "there is no such bucket" in findings[WRITE].seen
    assert "the region and the endpoint of AWS connection 'aws_default'" in (findings[WRITE].advice or "")


def test_a_bucket_that_may_not_be_written_is_broken_with_s3_s_reason(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_refuses(monkeypatch, "PutObject", "AccessDenied")
    findings = found(bucket)
    assert "AccessDenied" in findings[WRITE].seen
    assert f"s3:PutObject in s3://{bucket}/contacts/*" in findings[WRITE].advice


def test_a_file_that_cannot_be_removed_is_a_warning_that_names_it(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_refuses(monkeypatch, "DeleteObject", "AccessDenied")
    findings = found(bucket)
    assert results(findings) == {**FINE, REMOVE: "warning"}
    assert keys(s3, bucket, "")[0] in findings[REMOVE].advice


def test_a_link_that_does_not_open_is_broken_with_s3_s_code_and_without_its_signature(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(method: str, url: str, **named: Any) -> Answer:
        body = b"<?xml?><Error><Code>AccessDenied</Code></Error>"
        return Answer(url=url, secrets=(), status=403, headers={}, body=body, at=datetime.now(UTC), seconds=0.1)

    monkeypatch.setattr("airflow_provider_smartech.doctor.bucket_links.call", answered)
    findings = found(bucket)
    assert results(findings) == {**FINE, LINK: "broken"}
    assert findings[LINK].seen == "it was answered with HTTP 403, neither JSON nor HTML: AccessDenied"
    assert keys(s3, bucket, "") == []


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (timedelta(minutes=5), {CREDENTIALS: "broken", WRITE: "not tried", LINK: "not tried"}),
        (timedelta(hours=3), {**FINE, CREDENTIALS: "warning"}),
        (timedelta(days=2), FINE),
    ],
)
def test_credentials_that_expire_before_the_link_are_named(
    bucket: str, monkeypatch: pytest.MonkeyPatch, left: timedelta, expected: dict[str, str]
) -> None:
    get_session = S3Hook.get_session

    def session(self: S3Hook, *arguments: Any, **named: Any) -> Any:
        made = get_session(self, *arguments, **named)
        credentials = RefreshableCredentials(
            "test", "test-secret", "t0ken", datetime.now(UTC) + left, dict, "assume-role"
        )
        # botocore would refresh them when they are about to expire.
        credentials._refresh = lambda: None
        made._session._credentials = credentials
        return made

    monkeypatch.setattr(S3Hook, "get_session", session)
    findings = found(bucket)
    assert results(findings) == expected
    assert "t0ken" not in str(findings)


def test_a_connection_without_credentials_is_broken(
    bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws"}))
    findings = found(bucket)
    assert results(findings) == {CREDENTIALS: "broken", WRITE: "not tried", LINK: "not tried"}
    assert "has no credentials" in findings[CREDENTIALS].seen
