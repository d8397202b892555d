"""From an object in S3 to contacts in the sandbox."""

from __future__ import annotations

import json
import logging
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_smartech.errors import SmartechConfigurationError, UploadFailed, UploadRowsRejected
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from airflow_provider_smartech.tasks.submission import Submission
from airflow_provider_smartech.transfers import S3ToSmartechOperator
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


class TestSeveralObjects:
    @pytest.fixture(autouse=True)
    def unloaded(self, s3: Any, bucket: str) -> None:
        for number in range(3):
            rows = "".join(f"c{number}-{row}@example.com\n" for row in range(number + 1))
            s3.put_object(Bucket=bucket, Key=f"unload/part-{number}.csv", Body=f"EMAIL\n{rows}".encode())
        manifest = {"entries": [{"url": f"s3://{bucket}/unload/part-{number}.csv"} for number in range(3)]}
        s3.put_object(Bucket=bucket, Key="manifest", Body=json.dumps(manifest).encode())

    @pytest.mark.parametrize(
        "selection",
        [
            {"s3_key": [f"unload/part-{number}.csv" for number in range(3)]},
            {"s3_prefix": "unload/"},
            {"s3_wildcard": "unload/part-*.csv"},
            {"s3_manifest": "manifest"},
        ],
    )
    def test_each_object_is_an_upload_of_its_own_and_they_are_returned_together(
        self, sandbox: SandboxServer, bucket: str, selection: dict[str, Any]
    ) -> None:
        ti = FakeTaskInstance()
        result = run(several(bucket, selection, wait_for_completion=True), ti)
        requestids = submitted(sandbox)
        assert result == {
            "requestids": requestids,
            "bytes": 120,
            "empty": 0,
            "accepted": 6,
            "rejected": 0,
            "files": [
                {
                    "requestid": requestid,
                    "key": f"unload/part-{number}.csv",
                    "bytes": 6 + 17 * (number + 1),
                    "accepted": number + 1,
                    "rejected": 0,
                }
                for number, requestid in enumerate(requestids)
            ],
        }
        assert ti.xcoms["requestids"] == requestids
        assert "requestid" not in ti.xcoms
        assert [summary["accepted"] for summary in ti.xcoms["summaries"]] == [1, 2, 3]
        assert sandbox.state.count(33) == 6

    def test_the_sensor_takes_what_the_task_returns(self, sandbox: SandboxServer, bucket: str) -> None:
        result = run(several(bucket, {"s3_prefix": "unload/"}))
        assert (result["accepted"], result["files"][0]["accepted"]) == (None, None)
        sensor = SmartechBulkUploadSensor(task_id="wait", requestid=result, poke_interval=0.05, timeout=20)
        assert len(run(sensor, FakeTaskInstance(task_id="wait"))) == 3
        assert sandbox.state.count(33) == 6

    def test_they_are_judged_together(self, sandbox: SandboxServer, bucket: str) -> None:
        sandbox.fail_next()
        sandbox.fail_next(Fault.ROWS_REJECTED)
        sandbox.fail_next(Fault.STATUS_FAILED)
        with pytest.raises((UploadFailed, UploadRowsRejected)):
            run(several(bucket, {"s3_prefix": "unload/"}, wait_for_completion=True, max_rejected=0))
        assert len(submitted(sandbox)) == 3

    def test_one_key_in_a_list_is_several_objects_as_well(self, sandbox: SandboxServer, bucket: str) -> None:
        result = run(several(bucket, {"s3_key": ["unload/part-0.csv"]}))
        assert result["requestids"] == submitted(sandbox)

    def test_its_lineage_names_the_objects_or_their_folder(self, bucket: str) -> None:
        def names(selection: dict[str, Any]) -> list[str]:
            return [dataset.name for dataset in several(bucket, selection).sources().inputs]

        assert names({"s3_key": ["a.csv", "b.csv"]}) == ["a.csv", "b.csv"]
        assert names({"s3_prefix": "unload/"}) == names({"s3_wildcard": "unload/*.csv"}) == ["unload/"]
        assert names({"s3_manifest": "manifest"}) == ["manifest"]


def several(bucket: str, selection: dict[str, Any], **arguments: Any) -> S3ToSmartechOperator:
    return from_s3(bucket, **{"s3_key": None, **selection, **arguments})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "one of s3_key, s3_prefix, s3_wildcard, s3_manifest must be given; got none of them"),
        ({"s3_key": "k", "s3_prefix": "p"}, "must be given; got s3_key and s3_prefix"),
        ({"s3_key": ["a", "s3://bucket/b"]}, "s3_key must be the key of an object in s3_bucket"),
        ({"s3_prefix": "s3://bucket/p"}, "s3_prefix must be a key, or the beginning of one, in s3_bucket"),
        ({"s3_prefix": "p", "uploads_at_once": 0}, "uploads_at_once must be an integer of 1 or more"),
        ({"s3_prefix": "p", "on_empty": "submit"}, "on_empty must be one of 'skip', 'fail'"),
        ({"s3_prefix": "p", "delete_source": "always"}, "delete_source must be one of 'on_success', 'never'"),
    ],
)
def test_a_wrong_selection_is_refused_when_the_dag_is_read(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        several("bucket", wrong)


@pytest.mark.parametrize("rendered", ["", None, [""], [None], 7])
@pytest.mark.usefixtures("sandbox")
def test_what_is_rendered_to_no_key_is_an_error_that_says_so(bucket: str, rendered: Any) -> None:
    task = from_s3(bucket, s3_key="{{ ds }}")
    task.s3_key = rendered
    with pytest.raises(SmartechConfigurationError, match=r"s3_key must be a text|must be given"):
        run(task)
