"""From an object in S3 to contacts in the sandbox."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_smartech.errors import UploadRowsRejected
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.tasks.submission import Submission
from tests.support.servers import eventually
from tests.support.submissions import crashing, submitted
from tests.support.tasks import FakeTaskInstance, run
from tests.support.transfers import from_s3, loaded

pytestmark = pytest.mark.usefixtures("receiver", "csv_in_s3")


class TestS3ToSmartech:
    def test_it_submits_a_signed_link_and_returns_the_requestid(self, sandbox: SandboxServer, bucket: str) -> None:
        ti = FakeTaskInstance()
        requestid = run(from_s3(bucket, primary_key="EMAIL", wait_for_completion=True), ti)
        assert [requestid] == submitted(sandbox)
        assert ti.xcoms["requestid"] == requestid
        assert [summary["accepted"] for summary in ti.xcoms["summaries"]] == [2]
        assert sandbox.state.count(33) == 2

    def test_it_waits_in_the_triggerer_too(self, sandbox: SandboxServer, bucket: str) -> None:
        sandbox.late_seconds = 0.3
        sandbox.fail_next(Fault.PINGBACK_LATE)
        run(from_s3(bucket, wait_for_completion=True, deferrable=True))
        assert sandbox.state.count(33) == 2

    @pytest.mark.parametrize(("max_rejected", "is_green"), [(5, True), (0.09, False)])
    def test_more_rejected_rows_than_allowed_fail_it(
        self, sandbox: SandboxServer, s3: Any, bucket: str, max_rejected: float, is_green: bool
    ) -> None:
        rows = "".join(f"c{number}@example.com\n" for number in range(50))
        s3.put_object(Bucket=bucket, Key="many.csv", Body=f"EMAIL\n{rows}".encode())
        sandbox.faults = frozenset({Fault.ROWS_REJECTED})
        task = from_s3(bucket, s3_key="many.csv", wait_for_completion=True, max_rejected=max_rejected)
        if is_green:
            run(task)
        else:
            with pytest.raises(UploadRowsRejected, match=r"many\.csv.*45 accepted, 5 rejected of 50 rows"):
                run(task)

    def test_a_retry_takes_the_upload_although_its_link_is_signed_anew(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        with crashing(SmartechHook, "submit", after=True):
            run(from_s3(bucket))
        eventually(lambda: loaded(sandbox) == ["completed"])
        run(from_s3(bucket, wait_for_completion=True), FakeTaskInstance(try_number=2))
        assert len(submitted(sandbox)) == 1

    def test_a_retry_of_an_accepted_upload_needs_the_object_no_more(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        with crashing(Submission, "hand_over", after=False):
            run(from_s3(bucket))
        s3.delete_object(Bucket=bucket, Key="exports/contacts.csv")
        assert [run(from_s3(bucket), FakeTaskInstance(try_number=2))] == submitted(sandbox)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"url_mode": "signed"},
            {"url_validity": timedelta(days=8)},
            {"url_validity": timedelta(0)},
            {"url_validity": timedelta(minutes=5)},
            {"url_validity": 8 * 24 * 3600},
            {"url_minimum_validity": timedelta(0)},
        ],
    )
    def test_a_wrong_choice_is_refused_when_the_dag_is_read(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="must"):
            from_s3("bucket", **wrong)

    def test_the_link_and_the_callback_are_in_no_log(
        self, sandbox: SandboxServer, bucket: str, sent: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, "airflow_provider_smartech"):
            run(from_s3(bucket, wait_for_completion=True))
        # The stand-in of S3 has a log of its own.
        said = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
        assert said
        assert parse_qs(urlsplit(sent[0]).query)["X-Amz-Signature"][0] not in "".join(said)


def test_a_key_that_is_a_url_is_refused_when_the_dag_is_read() -> None:
    with pytest.raises(ValueError, match="s3_key must be the key of an object in s3_bucket"):
        from_s3("bucket", s3_key="s3://bucket/x.csv")
