"""What becomes of the files that the tries of a task have staged."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechError,
    SmartechInvalidParameter,
    SmartechOutcomeUnknown,
    SmartechRefused,
    UploadFailed,
    UploadTimeout,
)
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.staging import area as staging_area
from airflow_provider_smartech.staging import s3_multipart as multipart
from airflow_provider_smartech.tasks.submission import task_try
from airflow_provider_smartech.transfers import SqlToSmartechOperator
from airflow_provider_smartech.uploads.store import UploadStore
from tests.support.postgres import PostgresServer
from tests.support.submissions import crashing, submitted
from tests.support.tasks import FakeTaskInstance, context, run
from tests.support.transfers import QUERY, from_sql, keys, s3_refuses, the_second_gets, value

pytestmark = pytest.mark.usefixtures("receiver", "warehouse")


def test_a_retry_goes_on_with_the_staged_files_and_does_not_ask_the_database_again(
    sandbox: SandboxServer, postgres: PostgresServer, bucket: str
) -> None:
    postgres.execute("CREATE SEQUENCE asked")
    sql = "SELECT nextval('asked') || '@example.com' AS email FROM generate_series(1, 6) AS i"
    task = from_sql(bucket, sql=sql, max_rows_per_file=2)
    sandbox.fail_next(Fault.CUT_BEFORE)
    with pytest.raises(SmartechOutcomeUnknown):
        run(task)
    result = run(task, FakeTaskInstance(try_number=2))
    assert (result["rows"], len(submitted(sandbox))) == (6, 3)
    assert value(postgres, "SELECT last_value FROM asked") == 6
    run(task, FakeTaskInstance(try_number=3, max_tries=4))
    assert value(postgres, "SELECT last_value FROM asked") == 12, "a cleared task asks anew"
    postgres.execute("DROP SEQUENCE asked")


@pytest.mark.parametrize("lost", [1, 3])
def test_a_retry_asks_again_when_staged_files_are_gone_that_it_needs(
    sandbox: SandboxServer, s3: Any, bucket: str, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    task = from_sql(bucket, max_rows_per_file=4)
    with crashing(UploadStore, "create", after=False):
        run(task)
    for key in keys(s3, bucket)[:lost]:
        s3.delete_object(Bucket=bucket, Key=key)
    assert run(task, FakeTaskInstance(try_number=2))["rows"] == 10
    assert "running the query again" in caplog.text
    assert len(submitted(sandbox)) == 3


def test_a_retry_needs_no_staged_file_when_all_uploads_were_accepted(
    sandbox: SandboxServer, s3: Any, bucket: str
) -> None:
    task = from_sql(bucket, max_rows_per_file=4, wait_for_completion=True)
    with crashing(SqlToSmartechOperator, "outcome", after=True):
        run(task)
    assert keys(s3, bucket) == []
    result = run(task, FakeTaskInstance(try_number=2))
    assert result["requestids"] == submitted(sandbox)
    assert len(submitted(sandbox)) == 3


def test_another_query_in_a_retry_is_asked(sandbox: SandboxServer, bucket: str) -> None:
    with crashing(UploadStore, "create", after=False):
        run(from_sql(bucket))
    result = run(from_sql(bucket, sql=QUERY.replace("10", "3")), FakeTaskInstance(try_number=2))
    assert result["rows"] == 3


class TestRounds:
    """What becomes of the files that the tries and rounds of a task have staged."""

    def test_a_staging_is_kept_before_its_first_file(
        self, sandbox: SandboxServer, store: UploadStore, s3: Any, bucket: str
    ) -> None:
        with crashing(multipart.MultipartUpload, "__init__", after=False):
            run(from_sql(bucket))
        (staging,) = store.stagings(task_try(context()))
        assert (staging.bucket, staging.complete, keys(s3, bucket)) == (bucket, None, [])
        assert staging.folder.startswith("staged/")

    @pytest.mark.parametrize("max_tries", [2, 3])
    def test_what_a_task_left_that_was_killed_between_two_files_is_removed_by_the_next_try(
        self, sandbox: SandboxServer, s3: Any, bucket: str, max_tries: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=4)
        with monkeypatch.context() as patch:
            # Nothing tidies up after a SIGKILL.
            patch.setattr(staging_area.StagingArea, "discard", lambda self: False)
            with crashing(staging_area.StagingArea, "_close", after=True):
                run(task)
        (left,) = keys(s3, bucket)
        result = run(task, FakeTaskInstance(try_number=2, max_tries=max_tries))
        assert left not in keys(s3, bucket)
        assert keys(s3, bucket) == [file["key"] for file in result["files"]]

    @pytest.mark.parametrize("delete_staged", ["on_success", "always"])
    def test_after_a_failure_a_clearing_and_a_success_no_file_is_left(
        self, sandbox: SandboxServer, s3: Any, bucket: str, delete_staged: Any
    ) -> None:
        task = from_sql(bucket, wait_for_completion=True, delete_staged=delete_staged)
        sandbox.fail_next(Fault.STATUS_FAILED)
        with pytest.raises(UploadFailed):
            run(task, FakeTaskInstance(max_tries=0))
        run(task, FakeTaskInstance(try_number=2, max_tries=1))
        assert keys(s3, bucket) == []

    @pytest.mark.parametrize("waits", [False, True])
    def test_after_a_retry_with_a_corrected_query_the_first_try_s_file_is_gone(
        self, sandbox: SandboxServer, s3: Any, bucket: str, waits: bool
    ) -> None:
        with crashing(UploadStore, "create", after=False):
            run(from_sql(bucket, wait_for_completion=waits))
        (left,) = keys(s3, bucket)
        corrected = from_sql(bucket, sql=QUERY.replace("10", "3"), wait_for_completion=waits)
        result = run(corrected, FakeTaskInstance(try_number=2))
        assert keys(s3, bucket) == ([] if waits else [result["files"][0]["key"]])
        assert left != result["files"][0]["key"]

    def test_never_leaves_what_was_sent_and_removes_what_never_was(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, delete_staged="never")
        with the_second_gets(sandbox, Fault.INVALID_KEY), pytest.raises(SmartechRefused):
            run(task, FakeTaskInstance(max_tries=0))
        sent, unsent = keys(s3, bucket)
        result = run(task, FakeTaskInstance(try_number=2, max_tries=1))
        left = keys(s3, bucket)
        assert sent in left
        assert unsent not in left
        assert sorted(left) == sorted([sent, *(file["key"] for file in result["files"])])

    def test_a_retry_goes_on_with_the_latest_try_s_files_although_its_clock_was_an_hour_behind(
        self,
        sandbox: SandboxServer,
        postgres: PostgresServer,
        s3: Any,
        bucket: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        postgres.execute("CREATE SEQUENCE asked_by_clock")
        sql = "SELECT nextval('asked_by_clock') || '@example.com' AS email FROM generate_series(1, 2) AS i"
        with crashing(UploadStore, "create", after=False):
            run(from_sql(bucket, sql=sql))
        s3.delete_object(Bucket=bucket, Key=keys(s3, bucket)[0])
        with monkeypatch.context() as patch, crashing(UploadStore, "create", after=False):
            patch.setattr("airflow_provider_smartech.uploads.upload.datetime", AnHourBehind)
            run(from_sql(bucket, sql=sql), FakeTaskInstance(try_number=2))
        result = run(from_sql(bucket, sql=sql), FakeTaskInstance(try_number=3))
        assert [file["key"] for file in result["files"]] == keys(s3, bucket)
        assert value(postgres, "SELECT last_value FROM asked_by_clock") == 4, "asked by the first two tries only"
        postgres.execute("DROP SEQUENCE asked_by_clock")


def own_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the product has logged: the stand-in of S3 has a log of its own."""
    return [one.getMessage() for one in caplog.records if one.name.startswith("airflow_provider_smartech")]


class AnHourBehind(datetime):
    """The clock of a worker that goes wrong."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) - timedelta(hours=1)


class TestDeletion:
    def test_staged_files_are_gone_after_success_when_the_task_waits(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        run(from_sql(bucket, wait_for_completion=True, max_rows_per_file=4))
        assert keys(s3, bucket) == []

    def test_they_stay_when_nobody_knows_whether_smartech_has_fetched_them(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        run(from_sql(bucket))
        assert len(keys(s3, bucket)) == 1

    def test_they_stay_if_that_is_wanted(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        run(from_sql(bucket, wait_for_completion=True, delete_staged="never"))
        assert len(keys(s3, bucket)) == 1

    @pytest.mark.parametrize(
        ("delete_staged", "try_number", "left"), [("always", 2, 1), ("always", 3, 0), ("on_success", 3, 1)]
    )
    def test_always_means_also_when_the_last_try_has_failed(
        self, sandbox: SandboxServer, s3: Any, bucket: str, delete_staged: Any, try_number: int, left: int
    ) -> None:
        sandbox.fail_next(Fault.STATUS_FAILED)
        task = from_sql(bucket, wait_for_completion=True, delete_staged=delete_staged)
        with pytest.raises(UploadFailed):
            run(task, FakeTaskInstance(try_number=try_number, max_tries=2))
        assert len(keys(s3, bucket)) == left

    @pytest.mark.parametrize("by_airflow", [False, True])
    def test_always_means_also_after_a_timeout_which_is_not_tried_again(
        self, sandbox: SandboxServer, s3: Any, bucket: str, by_airflow: bool
    ) -> None:
        sandbox.fail_next(Fault.NO_PINGBACK)
        task = from_sql(bucket, wait_for_completion=True, delete_staged="always", timeout=0.3, deferrable=by_airflow)
        ti = FakeTaskInstance()
        with pytest.raises(TaskDeferred if by_airflow else UploadTimeout):
            task.execute(context(ti))
        if by_airflow:
            with pytest.raises(UploadTimeout):
                task.resume_execution("__fail__", {"error": "Trigger timeout"}, context(ti))
        assert keys(s3, bucket) == []

    def test_always_means_also_after_an_error_that_is_not_tried_again(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        sandbox.fail_next(Fault.INVALID_KEY)
        with pytest.raises(SmartechRefused):
            run(from_sql(bucket, wait_for_completion=True, delete_staged="always"))
        assert keys(s3, bucket) == []

    def test_always_spares_a_file_that_smartech_may_have_yet_to_fetch(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        sandbox.faults = frozenset({Fault.NO_PINGBACK})
        with the_second_gets(sandbox, Fault.INVALID_KEY), pytest.raises(SmartechRefused):
            run(from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, delete_staged="always"))
        assert [key[-9:] for key in keys(s3, bucket)] == ["00001.csv"]

    @pytest.mark.parametrize(("faults", "left"), [({Fault.NO_PINGBACK}, 1), (set(), 0)])
    def test_a_file_of_the_round_before_is_spared_while_smartech_may_have_yet_to_fetch_it(
        self, sandbox: SandboxServer, s3: Any, bucket: str, faults: set[Fault], left: int
    ) -> None:
        sandbox.faults = frozenset(faults)
        run(from_sql(bucket))
        sandbox.settle()
        task = from_sql(bucket, conn_id="aws_default", wait_for_completion=True, delete_staged="always")
        with pytest.raises(SmartechConfigurationError):
            run(task, FakeTaskInstance(try_number=2, max_tries=3))
        assert len(keys(s3, bucket)) == left

    @pytest.mark.parametrize(
        ("fault", "delete_staged", "try_number", "why"),
        [
            (Fault.STATUS_FAILED, "on_success", 1, "the next try continues with them"),
            (Fault.STATUS_FAILED, "on_success", 3, "delete_staged is 'on_success'"),
            (Fault.STATUS_FAILED, "never", 3, "delete_staged is 'never'"),
            (Fault.STATUS_FAILED, "always", 3, None),
            (Fault.INVALID_KEY, "always", 1, None),
            (Fault.CUT_BEFORE, "always", 3, "Smartech may still fetch them"),
        ],
    )
    def test_after_a_failure_the_log_ends_with_what_is_left_and_why(
        self,
        sandbox: SandboxServer,
        s3: Any,
        bucket: str,
        caplog: pytest.LogCaptureFixture,
        fault: Fault,
        delete_staged: Any,
        try_number: int,
        why: str | None,
    ) -> None:
        sandbox.fail_next(fault)
        task = from_sql(bucket, wait_for_completion=True, delete_staged=delete_staged)
        with pytest.raises(SmartechError):
            run(task, FakeTaskInstance(try_number=try_number, max_tries=2))
        folders = {key.rpartition("/")[0] for key in keys(s3, bucket)}
        said = [f"Files with contacts are left in s3://{bucket}/{folder}/: {why}." for folder in folders]
        assert len(said) == (why is not None)
        logged = own_messages(caplog)
        assert [line for line in logged if line.startswith("Files with contacts")] == said
        assert logged[len(logged) - len(said) :] == said

    def test_files_that_could_not_be_removed_are_named_and_those_that_are_gone_are_not(
        self,
        sandbox: SandboxServer,
        s3: Any,
        bucket: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        task = from_sql(bucket, wait_for_completion=True, delete_staged="always")
        with monkeypatch.context() as patch:
            s3_refuses(patch, "DeleteObject", "AccessDenied")
            sandbox.fail_next(Fault.INVALID_KEY)
            with pytest.raises(SmartechRefused):
                run(task)
        assert own_messages(caplog)[-1].endswith("/: they could not be removed.")
        caplog.clear()
        for key in keys(s3, bucket):
            s3.delete_object(Bucket=bucket, Key=key)
        task = from_sql(bucket, wait_for_completion=True, delete_staged="never", listid="none")
        with pytest.raises(SmartechInvalidParameter):
            run(task, FakeTaskInstance(try_number=2, max_tries=3))
        assert own_messages(caplog) == []

    def test_a_file_that_cannot_be_removed_is_named_and_fails_nothing(
        self,
        sandbox: SandboxServer,
        s3: Any,
        bucket: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        s3_refuses(monkeypatch, "DeleteObject", "AccessDenied")
        run(from_sql(bucket, wait_for_completion=True))
        left = f"s3://{bucket}/{keys(s3, bucket)[0]}"
        assert f"Contact data may be left at {left} (AccessDenied: m). Remove it by hand." in caplog.text

    def test_a_damaged_record_of_what_was_staged_stops_nobody(
        self, sandbox: SandboxServer, s3: Any, bucket: str, store: UploadStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.fail_next(Fault.STATUS_FAILED)
        task = from_sql(bucket, wait_for_completion=True)
        with pytest.raises(UploadFailed):
            run(task)
        (begun,) = Path(store.shown_url.removeprefix("file://")).glob("stagings/*/*-begun.json")
        begun.write_text("{", "utf-8")
        assert run(task, FakeTaskInstance(try_number=2))["accepted"] == 10
        assert begun.name.removesuffix("-begun.json") in caplog.text
