"""Syncs that upload only what changed: what is sent, and what the next one compares with."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred

from airflow_provider_smartech.errors import (
    ContactsEmpty,
    ContactsKeyRepeated,
    ContactsWithoutKey,
    UploadFailed,
    UploadRowsRejected,
    UploadStatusUnrecognised,
    UploadTimeout,
)
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.tasks.sync import TaskSync
from airflow_provider_smartech.transfers import SqlToSmartechOperator
from airflow_provider_smartech.uploads.store import UploadStore
from tests.support.submissions import connect, submitted
from tests.support.tasks import FakeTaskInstance, context, rebuilt, run, run_trigger
from tests.support.transfers import from_sql, keys

pytestmark = pytest.mark.usefixtures("receiver", "warehouse")

DAY = timedelta(days=1)
FIRST = {"a": "Ann", "b": "Bob", "c": "Cat"}


def query(contacts: dict[str, str]) -> str:
    rows = ", ".join(f"('{name}@example.com', '{value}')" for name, value in contacts.items()) or "('', '')"
    return f"""SELECT email AS "EMAIL", name AS "NAME" FROM (VALUES {rows}) AS t(email, name) WHERE email <> ''"""


def sync(bucket: str, contacts: dict[str, str], **arguments: Any) -> SqlToSmartechOperator:
    given = {"sql": query(contacts), "primary_key": "EMAIL", "wait_for_completion": True, "only_changes": True}
    return from_sql(bucket, **given | arguments)


def night(number: int, try_number: int = 1, **arguments: Any) -> FakeTaskInstance:
    return FakeTaskInstance(run_id=f"night-{number}", try_number=try_number, **arguments)


def counts(result: dict[str, Any]) -> list[int]:
    return [result[name] for name in ("rows", "sent", "new", "changed", "unchanged", "removed")]


def contacts(sandbox: SandboxServer) -> dict[str, str]:
    """What Smartech has."""
    return {contact["EMAIL"].partition("@")[0]: contact["NAME"] for contact in sandbox.state.contacts()}


class TestWhatIsSent:
    def test_the_second_night_sends_only_what_is_new_or_changed(self, sandbox: SandboxServer, bucket: str) -> None:
        first, ti = run(sync(bucket, FIRST), night(1)), night(2)
        second = run(sync(bucket, {"a": "Ann", "b": "Bea", "d": "Dan"}), ti)
        assert counts(first) == [3, 3, 3, 0, 0, 0]
        assert counts(second) == [3, 2, 1, 1, 1, 1]
        assert [file["rows"] for file in second["files"]] == [2]
        assert ti.xcoms["requestids"] == second["requestids"] == submitted(sandbox)[1:]
        assert contacts(sandbox) == {"a": "Ann", "b": "Bea", "c": "Cat", "d": "Dan"}

    def test_where_nothing_has_changed_nothing_is_sent_and_the_task_is_green(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        for number, contacts_now in enumerate([FIRST, dict(reversed(FIRST.items())), FIRST], 2):
            ti = night(number)
            result = run(sync(bucket, contacts_now, deferrable=True), ti)
            assert counts(result) == [3, 0, 0, 0, 3, 0]
            assert (result["requestids"], result["files"], ti.xcoms["requestids"]) == ([], [], [])
            assert (result["accepted"], result["rejected"]) == (0, 0)
        assert len(submitted(sandbox)) == 1
        assert keys(s3, bucket) == []

    def test_rows_that_are_gone_are_counted_once_and_sent_when_they_come_back(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        two = {name: FIRST[name] for name in "ab"}
        assert counts(run(sync(bucket, two), night(2))) == [2, 0, 0, 0, 2, 1]
        assert counts(run(sync(bucket, two), night(3))) == [2, 0, 0, 0, 2, 0]
        assert counts(run(sync(bucket, FIRST), night(4))) == [3, 1, 1, 0, 2, 0]

    def test_an_empty_result_touches_nothing(self, sandbox: SandboxServer, bucket: str) -> None:
        run(sync(bucket, FIRST), night(1))
        with pytest.raises(AirflowSkipException):
            run(sync(bucket, {}), night(2))
        with pytest.raises(ContactsEmpty):
            run(sync(bucket, {}, on_empty="fail"), night(3))
        assert counts(run(sync(bucket, {}, on_empty="submit"), night(4))) == [0, 0, 0, 0, 0, 3]
        assert counts(run(sync(bucket, FIRST), night(5))) == [3, 0, 0, 0, 3, 0]
        assert len(submitted(sandbox)) == 1

    def test_rows_with_the_same_key_are_an_error_that_says_how_many(self, sandbox: SandboxServer, bucket: str) -> None:
        twice = f"{query(FIRST)} UNION ALL {query({'a': 'Ada', 'b': 'Bob'})}"
        with pytest.raises(ContactsKeyRepeated, match="2 of 5 rows repeat the EMAIL") as caught:
            run(sync(bucket, {}, sql=twice), night(1))
        assert (caught.value.repeated, caught.value.rows) == (2, 5)
        assert submitted(sandbox) == []
        assert counts(run(sync(bucket, FIRST), night(2))) == [3, 3, 3, 0, 0, 0]

    def test_rows_with_the_same_key_can_be_kept_and_then_the_last_one_counts(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        ann, ada = query({"a": "Ann"}), query({"a": "Ada"})
        for number, (sql, name) in enumerate(
            [(f"{ann} UNION ALL {ada}", "Ada"), (f"{ada} UNION ALL {ann}", "Ann"), (ada, "Ada"), (ann, "Ann")], 1
        ):
            run(sync(bucket, {}, sql=sql, on_duplicate_key="keep"), night(number))
            assert contacts(sandbox) == {"a": name}
        assert run(sync(bucket, {"a": "Ann"}, on_duplicate_key="keep"), night(9))["sent"] == 0

    def test_rows_without_a_key_are_left_out_or_an_error_as_always(self, sandbox: SandboxServer, bucket: str) -> None:
        sql = f"{query(FIRST)} UNION ALL SELECT NULL, 'Nobody'"
        with pytest.raises(ContactsWithoutKey):
            run(sync(bucket, {}, sql=sql), night(1))
        result = run(sync(bucket, {}, sql=sql, on_missing_key="skip"), night(2))
        assert (counts(result), result["missing_keys"]) == ([3, 3, 3, 0, 0, 0], 1)

    def test_changes_are_split_into_files_and_records_say_of_how_many_rows(
        self, sandbox: SandboxServer, store: UploadStore, bucket: str
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        result = run(sync(bucket, dict.fromkeys("abc", "New"), max_rows_per_file=2), night(2))
        assert [file["rows"] for file in result["files"]] == [2, 1]
        records = [store.find(requestid).record for requestid in result["requestids"]]
        assert [(record.rows, record.of_rows) for record in records] == [(2, 3), (1, 3)]

    def test_a_dry_run_says_what_would_be_sent_and_keeps_nothing(
        self, sandbox: SandboxServer, store: UploadStore, s3: Any, bucket: str
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        before, ti = store.syncs.all(), night(2)
        changed = {"a": "Ann", "b": "Bea", "d": "Dan"}
        result = run(sync(bucket, changed, dry_run=True), ti)
        assert counts(result) == [3, 2, 1, 1, 1, 1]
        assert counts(run(sync(bucket, changed, dry_run=True, full=True), ti)) == [3, 3, 1, 1, 1, 1]
        assert (result["requestids"], result["files"], ti.xcoms["requestids"]) == ([], [], [])
        assert store.syncs.all() == before
        assert (len(submitted(sandbox)), keys(s3, bucket)) == (1, [])
        assert counts(run(sync(bucket, changed), night(3))) == [3, 2, 1, 1, 1, 1]

    def test_a_key_in_the_last_column_is_the_same_whatever_is_quoted_before_it(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        def swapped(contacts_now: dict[str, str]) -> str:
            return f"""SELECT "NAME", "EMAIL" FROM ({query(contacts_now)}) AS t"""

        run(sync(bucket, {}, sql=swapped(FIRST)), night(1))
        result = run(sync(bucket, {}, sql=swapped({"0": "Smith, A", **FIRST})), night(2))
        assert counts(result) == [4, 1, 1, 0, 3, 0]
        twice = f"{swapped({'a': 'Smith, A'})} UNION ALL {swapped({'a': 'Ann'})}"
        with pytest.raises(ContactsKeyRepeated):
            run(sync(bucket, {}, sql=twice), night(3))


class TestWhenAllIsSent:
    def test_all_rows_are_sent_at_once_or_now_and_then(self, sandbox: SandboxServer, bucket: str) -> None:
        run(sync(bucket, FIRST), night(1))
        assert counts(run(sync(bucket, FIRST, full="True"), night(2))) == [3, 3, 0, 0, 3, 0]
        week = {"full_every": 7 * DAY}
        assert run(sync(bucket, FIRST, **week), night(3))["sent"] == 0
        with time_machine.travel(datetime.now(UTC) + 6 * DAY, tick=True):
            assert run(sync(bucket, FIRST, **week), night(3))["sent"] == 0
        # A minute early, as a schedule may be.
        with time_machine.travel(datetime.now(UTC) + 7 * DAY - timedelta(minutes=1), tick=True):
            assert run(sync(bucket, FIRST, **week), night(4))["sent"] == 3
            assert run(sync(bucket, FIRST, **week), night(5))["sent"] == 0

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"listid": 34}, "the list"),
            ({"columns": {"NAME": "FIRST_NAME"}}, "the columns"),
            ({"columns": {"NAME": "FIRST_NAME"}, "primary_key": "FIRST_NAME"}, "the primary key and the columns"),
        ],
    )
    def test_another_list_key_or_header_is_a_new_beginning(
        self, sandbox: SandboxServer, bucket: str, caplog: pytest.LogCaptureFixture, changed: dict[str, Any], why: str
    ) -> None:
        caplog.set_level(logging.INFO)
        run(sync(bucket, FIRST, sync_name="mine"), night(1))
        result = run(sync(bucket, FIRST, sync_name="mine", **changed), night(2))
        assert counts(result) == [3, 3, 3, 0, 0, 0]
        assert f"Sync mine: all rows are sent, because {why} changed since its last run." in caplog.text

    def test_another_key_of_the_api_is_a_new_beginning(
        self, sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        with SandboxServer(api_key="another-key-of-the-api") as other:
            connect(monkeypatch, other)
            assert counts(run(sync(bucket, FIRST), night(2))) == [3, 3, 3, 0, 0, 0]
        assert "the API key or the address of the account changed since its last run" in caplog.text

    def test_a_night_without_only_changes_makes_the_next_sync_a_full_one(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        run(sync(bucket, {**FIRST, "b": "Bea"}, only_changes=False), night(2))
        assert run(sync(bucket, FIRST), night(3))["sent"] == 3
        assert contacts(sandbox) == FIRST

    def test_all_rows_are_sent_until_a_night_without_only_changes_is_over(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        sandbox.faults = frozenset({Fault.PINGBACK_LATE})
        with pytest.raises(UploadTimeout):
            run(sync(bucket, {**FIRST, "b": "Bea"}, only_changes=False, timeout=1), night(2))
        sandbox.faults = frozenset()
        assert [run(sync(bucket, FIRST), night(number))["sent"] for number in (3, 4)] == [3, 3]
        sandbox.release()
        assert [run(sync(bucket, FIRST), night(number))["sent"] for number in (5, 6)] == [3, 0]

    def test_a_base_that_is_lost_makes_the_next_sync_a_full_one_with_a_warning(
        self, sandbox: SandboxServer, store: UploadStore, bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        [state] = store.syncs.all()
        assert state.base
        store.syncs.remove_snapshot(state.base.sync, state.base.snapshot)
        assert counts(run(sync(bucket, FIRST), night(2))) == [3, 3, 3, 0, 0, 0]
        assert "cannot be compared with: a part of it is no longer in the upload store" in caplog.text
        assert run(sync(bucket, FIRST), night(3))["sent"] == 0

    def test_after_a_reset_all_rows_are_sent_whatever_else_of_it_has_completed_since(
        self, sandbox: SandboxServer, store: UploadStore, bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.faults = frozenset({Fault.PINGBACK_LATE})
        with pytest.raises(UploadTimeout):
            run(sync(bucket, FIRST, sync_name="mine", timeout=1), night(1))
        sandbox.faults = frozenset()
        run(sync(bucket, {**FIRST, "b": "Bea"}, sync_name="mine"), night(2))
        sandbox.release()
        store.syncs.forget("mine")
        assert counts(run(sync(bucket, FIRST, sync_name="mine"), night(3))) == [3, 3, 3, 0, 0, 0]
        assert "Sync mine: all rows are sent, because it was reset" in caplog.text
        assert run(sync(bucket, FIRST, sync_name="mine"), night(4))["sent"] == 0
        assert contacts(sandbox) == FIRST


class TestWhatBecomesTheBase:
    @pytest.mark.parametrize("fault", [Fault.STATUS_FAILED, Fault.NO_PINGBACK, Fault.STATUS_UNKNOWN])
    def test_what_did_not_complete_is_sent_again_the_next_night(
        self, sandbox: SandboxServer, bucket: str, fault: Fault
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        sandbox.fail_next(fault)
        changed = {**FIRST, "b": "Bea"}
        with pytest.raises((UploadFailed, UploadTimeout, UploadStatusUnrecognised)):
            run(sync(bucket, changed, timeout=1), night(2))
        assert counts(run(sync(bucket, changed), night(3))) == [3, 1, 0, 1, 2, 0]
        assert run(sync(bucket, changed), night(4))["sent"] == 0

    def test_a_row_that_a_failed_night_changed_is_sent_again_although_it_is_as_before(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        sandbox.fail_next(Fault.NO_PINGBACK)
        with pytest.raises(UploadTimeout):
            run(sync(bucket, {**FIRST, "b": "Bea"}, timeout=1), night(2))
        assert contacts(sandbox)["b"] == "Bea"
        assert counts(run(sync(bucket, FIRST), night(3))) == [3, 1, 0, 1, 2, 0]
        assert contacts(sandbox) == FIRST

    def test_more_rejected_rows_than_allowed_leave_the_base_as_it_was(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        sandbox.fail_next(Fault.ALL_ROWS_REJECTED)
        with pytest.raises(UploadRowsRejected):
            run(sync(bucket, FIRST, max_rejected=0), night(1))
        assert run(sync(bucket, FIRST, max_rejected=0), night(2))["sent"] == 3

    def test_after_a_late_pingback_that_the_last_night_failed_all_rows_are_sent_once(
        self, sandbox: SandboxServer, bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        sandbox.ping_back(submitted(sandbox)[0], {"status": "failed"})
        assert run(sync(bucket, FIRST), night(2))["sent"] == 3
        assert "a ping-back said that an upload of it failed" in caplog.text
        assert run(sync(bucket, FIRST), night(3))["sent"] == 0

    def test_a_night_with_too_many_rejected_rows_is_no_base_for_one_that_allows_more(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        sandbox.fail_next(Fault.ROWS_REJECTED)
        many = {f"c{number}": "x" for number in range(20)}
        with pytest.raises(UploadRowsRejected):
            run(sync(bucket, many, max_rejected=0), night(1))
        run(sync(bucket, many, max_rejected=10), night(2))
        assert contacts(sandbox) == many

    def test_a_retry_asks_the_query_again_if_another_night_has_completed_meanwhile(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        sandbox.fail_next(Fault.STATUS_FAILED)
        with pytest.raises(UploadFailed):
            run(sync(bucket, {**FIRST, "a": "Ada"}), night(2))
        run(sync(bucket, {**FIRST, "a": "Amy", "b": "Bea"}), night(3))
        run(sync(bucket, {**FIRST, "a": "Ada"}), night(2, try_number=2))
        assert contacts(sandbox) == {**FIRST, "a": "Ada"}

    def test_a_worker_that_dies_before_the_new_base_loses_nothing(
        self, sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        with monkeypatch.context() as patch:
            patch.setattr(TaskSync, "completed", dies)
            with pytest.raises(Died):
                run(sync(bucket, FIRST), night(1))
        assert run(sync(bucket, FIRST), night(2))["sent"] == 0
        assert "it is the new base" in caplog.text

    def test_a_retry_goes_on_with_what_was_staged(
        self, sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        changed = {**FIRST, "b": "Bea"}
        sandbox.fail_next(Fault.STATUS_FAILED)
        with pytest.raises(UploadFailed):
            run(sync(bucket, changed), night(2))
        result = run(sync(bucket, changed), night(2, try_number=2))
        assert (counts(result), len(submitted(sandbox))) == ([3, 1, 0, 1, 2, 0], 3)
        assert run(sync(bucket, changed), night(3))["sent"] == 0

    def test_two_runs_at_once_make_the_next_one_a_full_one(
        self, sandbox: SandboxServer, bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        run(sync(bucket, FIRST), night(1))
        sandbox.faults = frozenset({Fault.PINGBACK_LATE})
        old, new = night(2), night(3)
        tasks = [sync(bucket, {**FIRST, "b": name}, deferrable=True) for name in ("Bea", "Ben")]
        deferred = []
        for task, ti in zip(tasks, (old, new), strict=True):
            with pytest.raises(TaskDeferred) as caught:
                task.execute(context(ti))
            deferred.append(caught.value)
        sandbox.release()
        sandbox.faults = frozenset()
        for task, ti, wait in zip(tasks, (old, new), deferred, strict=True):
            event = run_trigger(rebuilt(wait.trigger))
            task.resume_execution(wait.method_name, {"event": event}, context(ti))
        assert "another run of it completed at the same time" in caplog.text
        assert run(sync(bucket, FIRST), night(4))["sent"] == 3
        assert run(sync(bucket, FIRST), night(5))["sent"] == 0
        assert contacts(sandbox) == FIRST


class Died(BaseException):
    """The worker dies."""


def dies(*given: Any) -> None:
    raise Died
