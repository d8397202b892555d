"""From a query to contacts in the sandbox."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import DAG

from airflow_provider_smartech import extracts
from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechInvalidParameter,
    SmartechOutcomeUnknown,
    SmartechRefused,
    UploadFailed,
    UploadRowsRejected,
    UploadTimeout,
)
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from tests.support.servers import eventually
from tests.support.submissions import connect, submitted
from tests.support.tasks import FakeTaskInstance, context, run
from tests.support.transfers import QUERY, from_sql, keys, loaded, the_second_gets

pytestmark = pytest.mark.usefixtures("receiver", "warehouse")


class TestSqlToSmartech:
    def test_a_query_becomes_contacts_and_xcom_says_how_many(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        ti = FakeTaskInstance()
        columns = {"name": "NAME"}
        result = run(from_sql(bucket, columns=columns, primary_key="EMAIL", wait_for_completion=True), ti)
        [requestid] = submitted(sandbox)
        content = "EMAIL,NAME\n" + "".join(f'c{i}@example.com,"Name, {i}"\n' for i in range(1, 11))
        assert ti.xcoms["requestids"] == [requestid]
        [file] = result.pop("files")
        assert re.fullmatch(r"staged/[0-9a-f]{32}/contacts-00001\.csv", file.pop("key"))
        numbers = {"rows": 10, "bytes": len(content), "accepted": 10, "rejected": 0}
        assert file == {"requestid": requestid, **numbers}
        assert result == {"requestids": [requestid], "missing_keys": 0, **numbers}
        assert sandbox.state.count(33) == 10

    def test_what_is_staged_is_the_csv_that_was_asked_for(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        sql = "SELECT NULL AS id, '' AS \"first name\", %(name)s::text AS name -- one\n;"
        result = run(from_sql(bucket, sql=sql, parameters={"name": 'O\'Neil, "x"'}, columns={"name": "N,1"}))
        staged = s3.get_object(Bucket=bucket, Key=result["files"][0]["key"])
        assert staged["Body"].read() == b'id,first name,"N,1"\n,"","O\'Neil, ""x"""\n'
        assert staged["ContentType"] == "text/csv; charset=utf-8"

    def test_a_prefix_may_have_a_blank(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        run(from_sql(bucket, s3_prefix="my prefix/ü", wait_for_completion=True, delete_staged="never"))
        assert len(keys(s3, bucket, "my prefix/ü/")) == 1
        assert sandbox.state.count(33) == 10

    def test_rows_are_split_into_files_that_are_all_waited_for(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        ti = FakeTaskInstance()
        result = run(from_sql(bucket, max_rows_per_file=4, wait_for_completion=True, deferrable=True), ti)
        assert [file["rows"] for file in result["files"]] == [4, 4, 2]
        assert result["requestids"] == submitted(sandbox) == ti.xcoms["requestids"]
        assert loaded(sandbox) == ["completed"] * 3
        assert sandbox.state.count(33) == 10

    def test_one_failed_upload_of_several_fails_the_task_and_a_retry_sends_only_that_one(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=4, wait_for_completion=True)
        with the_second_gets(sandbox, Fault.STATUS_FAILED), pytest.raises(UploadFailed):
            run(task)
        assert len(keys(s3, bucket)) == 3, "the retry needs them"
        result = run(task, FakeTaskInstance(try_number=2))
        first, failed, third, again = submitted(sandbox)
        assert result["requestids"] == [first, again, third]
        assert failed not in result["requestids"]
        assert keys(s3, bucket) == []

    @pytest.mark.parametrize(
        "faults", [(Fault.NO_PINGBACK, Fault.STATUS_FAILED), (Fault.STATUS_FAILED, Fault.NO_PINGBACK)]
    )
    def test_where_one_file_timed_out_and_another_failed_no_retry_is_made(
        self, sandbox: SandboxServer, bucket: str, faults: tuple[Fault, Fault], caplog: pytest.LogCaptureFixture
    ) -> None:
        for fault in faults:
            sandbox.fail_next(fault)
        with pytest.raises(UploadTimeout):
            run(from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, timeout=5))
        assert "requested by the fault" in caplog.text, "the other one is told as well"

    def test_airflow_s_own_deadline_is_no_timeout_if_the_pingbacks_have_come_meanwhile(
        self, sandbox: SandboxServer, store: UploadStore, bucket: str
    ) -> None:
        sandbox.faults = frozenset({Fault.PINGBACK_LATE})
        arguments: dict[str, Any] = {"wait_for_completion": True, "deferrable": True, "timeout": 60}
        task, ti = from_sql(bucket, max_rows_per_file=5, **arguments), FakeTaskInstance()
        with pytest.raises(TaskDeferred):
            task.execute(context(ti))
        sandbox.release()
        eventually(lambda: all(store.find(requestid).pingbacks for requestid in submitted(sandbox)))
        result = task.resume_execution("__fail__", {"error": "Trigger timeout"}, context(ti))
        assert result["requestids"] == submitted(sandbox)

    def test_too_many_rejected_rows_of_one_file_fail_the_task_which_names_that_file_and_leaves_all_of_them(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, max_rejected=1)
        with (
            the_second_gets(sandbox, Fault.ROWS_LOST),
            pytest.raises(UploadRowsRejected, match=r"contacts-00002\.csv.*3 accepted, 2 rejected of 5 rows"),
        ):
            run(task)
        assert len(keys(s3, bucket)) == 2

    def test_a_file_of_which_no_row_was_accepted_fails_the_task_and_stays(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        with (
            the_second_gets(sandbox, Fault.ALL_ROWS_REJECTED),
            pytest.raises(UploadRowsRejected, match=r"contacts-00002\.csv.*0 accepted, 5 rejected of 5 rows"),
        ):
            run(from_sql(bucket, max_rows_per_file=5, wait_for_completion=True))
        assert len(keys(s3, bucket)) == 2

    def test_rows_of_which_the_pingback_does_not_speak_count_as_rejected_and_are_a_warning(
        self, sandbox: SandboxServer, bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.faults = frozenset({Fault.ROWS_LOST})
        ti = FakeTaskInstance()
        result = run(from_sql(bucket, wait_for_completion=True), ti)
        assert (result["rows"], result["accepted"], result["rejected"]) == (10, 5, 5)
        assert [(one["rows"], one["accepted"], one["rejected"]) for one in ti.xcoms["summaries"]] == [(10, 5, 5)]
        assert "5 accepted, 5 rejected of 10 rows" in caplog.text

    @pytest.mark.parametrize("waits", [False, True])
    def test_numbers_that_nobody_named_are_none_and_not_zero(
        self, sandbox: SandboxServer, bucket: str, waits: bool
    ) -> None:
        with the_second_gets(sandbox, Fault.NO_COUNTS):
            limit = {"max_rejected": 0} if waits else {}
            result = run(from_sql(bucket, max_rows_per_file=5, wait_for_completion=waits, **limit))
        assert (result["rows"], result["accepted"], result["rejected"]) == (10, None, None)
        assert [file["accepted"] for file in result["files"]] == ([5, None] if waits else [None, None])

    def test_half_an_upload_with_lost_files_is_not_sent_again_if_that_is_forbidden(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=5, on_unknown_outcome="fail")
        with the_second_gets(sandbox, Fault.INVALID_KEY), pytest.raises(SmartechRefused):
            run(task)
        for key in keys(s3, bucket):
            s3.delete_object(Bucket=bucket, Key=key)
        with pytest.raises(SmartechOutcomeUnknown, match="the others are gone"):
            run(task, FakeTaskInstance(try_number=2))
        assert len(submitted(sandbox)) == 1

    @pytest.mark.parametrize("second", [{}, {"sql": QUERY.replace("10", "3")}])
    def test_nothing_is_sent_again_after_an_unknown_outcome_if_that_is_forbidden(
        self, sandbox: SandboxServer, s3: Any, bucket: str, second: dict[str, Any]
    ) -> None:
        sandbox.fail_next(Fault.CUT_AFTER, Fault.NO_PINGBACK)
        with pytest.raises(SmartechOutcomeUnknown):
            run(from_sql(bucket, on_unknown_outcome="fail"))
        # A retry with another query, or the same query after the task was cleared.
        ti = FakeTaskInstance(try_number=2, max_tries=2 if second else 3)
        with pytest.raises(SmartechOutcomeUnknown, match="nothing is sent again"):
            run(from_sql(bucket, on_unknown_outcome="fail", **second), ti)
        assert (len(submitted(sandbox)), len(keys(s3, bucket))) == (1, 1)

    @pytest.mark.parametrize("deferrable", [False, True])
    @pytest.mark.parametrize("run_started", [FakeTaskInstance.run_started, datetime(2026, 1, 2, tzinfo=UTC)])
    def test_clearing_a_completed_sync_is_nothing_to_warn_of(
        self,
        sandbox: SandboxServer,
        bucket: str,
        caplog: pytest.LogCaptureFixture,
        deferrable: bool,
        run_started: datetime,
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, deferrable=deferrable)
        cleared = FakeTaskInstance(try_number=2, max_tries=3, run_started=run_started)
        with caplog.at_level(logging.INFO, "airflow_provider_smartech"):
            first = run(task)["requestids"]
            again = run(task, cleared)["requestids"]
        assert [*first, *again] == submitted(sandbox)
        ours = [one for one in caplog.records if one.name.startswith("airflow_provider_smartech.")]
        assert [one.message for one in ours if one.levelno >= logging.WARNING] == []
        for requestid in first:
            said = f"Upload {requestid} completed before the task or its run was cleared; uploading again."
            assert said in caplog.messages


class TestRefusals:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """The hooks of the databases that were asked."""
        hooks: list[Any] = []
        original = extracts.extract_of

        def spy(hook: Any) -> Any:
            hooks.append(hook)
            return original(hook)

        monkeypatch.setattr(extracts, "extract_of", spy)
        return hooks

    def test_whatever_can_be_refused_is_refused_before_the_query_runs(
        self, sandbox: SandboxServer, bucket: str, asked: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(SmartechInvalidParameter):
            run(from_sql(bucket, listid="none"))
        with pytest.raises(SmartechConfigurationError):
            run(from_sql(bucket, smartech_conn_id="nowhere"))
        with pytest.raises(SmartechConfigurationError, match="which is not a database"):
            run(from_sql(bucket, conn_id="aws_default"))
        with pytest.raises(SmartechConfigurationError, match="there is no such bucket"):
            run(from_sql("no-such-bucket"))
        with monkeypatch.context() as patch:
            connect(patch, sandbox, password="an0ther-key-than-the-right-one")
            with pytest.raises(SmartechRefused, match="refused the API key"):
                run(from_sql(bucket))
        monkeypatch.delenv("AIRFLOW__SMARTECH__CALLBACK_BASE_URL")
        with pytest.raises(SmartechConfigurationError, match="callback_base_url"):
            run(from_sql(bucket, wait_for_completion=True))
        assert asked == []
        assert submitted(sandbox) == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"on_missing_key": "ignore"},
            {"on_empty": "ignore"},
            {"max_rows_per_file": 0},
            {"max_rows_per_file": 1.5},
            {"columns": ["EMAIL"]},
            {"s3_bucket": "s3://bucket"},
            {"url_mode": "direct", "upload_args": {"ServerSideEncryption": "aws:kms"}},
            {"delete_staged": "sometimes"},
            {"delete_staged": "on_success"},
            {"delete_staged": "always"},
            {"upload_args": {"ChecksumAlgorithm": "SHA256"}},
            {"upload_args": {"SSECustomerKey": "k"}},
        ],
    )
    def test_a_wrong_choice_is_refused_when_the_dag_is_read(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            from_sql(**{"bucket": "bucket", **wrong})

    def test_a_connection_that_is_no_database_is_refused(self, sandbox: SandboxServer, bucket: str) -> None:
        with pytest.raises(SmartechConfigurationError, match="'aws', which is not a database"):
            run(from_sql(bucket, conn_id="aws_default"))


class TestOtherDatabases:
    def test_sqlite_is_a_warehouse_too(
        self, sandbox: SandboxServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = sqlite3.connect(tmp_path / "warehouse.db")
        connection.execute("CREATE TABLE contact (email TEXT, age INT)")
        connection.execute("INSERT INTO contact VALUES ('a@example.com', 1), ('b@example.com', NULL)")
        connection.commit()
        connection.close()
        monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/warehouse.db"}))
        sql = "SELECT * FROM contact WHERE age IS NOT ?"
        result = run(
            from_sql(
                bucket, sql=sql, conn_id="lite", parameters=[7], columns={"email": "EMAIL"}, wait_for_completion=True
            )
        )
        assert result["rows"] == 2
        assert sandbox.state.count(33) == 2


def test_sql_is_a_template_and_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "contacts.sql").write_text("SELECT '{{ ds }}' AS day", "utf-8")
    with DAG("d", template_searchpath=str(tmp_path)) as dag:
        task = from_sql("bucket", sql="contacts.sql", columns={"day": "{{ ds }}"}, parameters=["{{ ds }}"])
    task.resolve_template_files()
    task.render_template_fields({"ds": "2026-01-31", "dag": dag}, dag.get_template_env())
    assert (task.sql, task.columns, task.parameters) == (
        "SELECT '2026-01-31' AS day",
        {"day": "2026-01-31"},
        ["2026-01-31"],
    )
    assert task.template_fields_renderers["sql"] == "sql"
