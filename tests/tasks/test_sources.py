"""The objects that a task uploads: its first try fixes them, and retries keep to them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred

from airflow_provider_smartech.errors import (
    ContactsEmpty,
    ContactsFilesRefused,
    ContactsRefused,
    ContactsStorageError,
    SmartechConfigurationError,
    SmartechOutcomeUnknown,
    UploadFailed,
    UploadRecordUnreadable,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.tasks.sources import TaskSources
from airflow_provider_smartech.tasks.submission import Submission
from airflow_provider_smartech.transfers import S3ToSmartechOperator
from airflow_provider_smartech.uploads.store import UploadStore
from tests.support.servers import eventually
from tests.support.submissions import CLEARED, FIRST, RETRY, connect, crashing, submitted
from tests.support.tasks import FakeTaskInstance, context, rebuilt, run, run_trigger
from tests.support.transfers import from_s3, keys, loaded

pytestmark = pytest.mark.usefixtures("receiver", "unloaded")


def put(s3: Any, bucket: str, name: str, contact: str) -> None:
    content = f"EMAIL\n{contact}@example.com\n" if contact else "EMAIL\n"
    s3.put_object(Bucket=bucket, Key=f"unload/{name}.csv", Body=content.encode())


@pytest.fixture
def unloaded(s3: Any, bucket: str) -> None:
    """Three files with a contact each."""
    for name in "bcd":
        put(s3, bucket, name, name)


def unload(bucket: str, **arguments: Any) -> S3ToSmartechOperator:
    return from_s3(bucket, **{"s3_key": None, "s3_prefix": "unload/", "wait_for_completion": True, **arguments})


def sent(sandbox: SandboxServer) -> str:
    """The names of the files that were sent, each of one letter."""
    return "".join(upload["path"][-5] for upload in reversed(sandbox.state.uploads()))


def the_second_fails(sandbox: SandboxServer) -> None:
    sandbox.fail_next()
    sandbox.fail_next(Fault.STATUS_FAILED)


def test_a_retry_neither_adds_nor_loses_an_object(sandbox: SandboxServer, s3: Any, bucket: str) -> None:
    the_second_fails(sandbox)
    with pytest.raises(UploadFailed):
        run(unload(bucket), FIRST)
    put(s3, bucket, "a", "new")
    s3.delete_object(Bucket=bucket, Key="unload/b.csv")
    result = run(unload(bucket), RETRY)
    assert [file["key"] for file in result["files"]] == ["unload/b.csv", "unload/c.csv", "unload/d.csv"]
    assert sent(sandbox) == "bcdc"
    assert sandbox.state.count(33) == 3


@pytest.mark.parametrize("what", ["replaced", "removed"])
def test_an_object_that_was_replaced_or_removed_before_it_is_sent_again_fails_the_retry_before_anything_is_sent(
    sandbox: SandboxServer, s3: Any, bucket: str, what: str
) -> None:
    the_second_fails(sandbox)
    with pytest.raises(UploadFailed):
        run(unload(bucket), FIRST)
    put(s3, bucket, "c", "other") if what == "replaced" else s3.delete_object(Bucket=bucket, Key="unload/c.csv")
    with pytest.raises(ContactsRefused, match=rf"unload/c\.csv were not uploaded: the object was {what}"):
        run(unload(bucket), RETRY)
    assert sent(sandbox) == "bcd"


def test_all_that_were_replaced_are_named(sandbox: SandboxServer, s3: Any, bucket: str) -> None:
    with crashing(Submission, "send", after=False):
        run(unload(bucket), FIRST)
    for name in "bd":
        put(s3, bucket, name, "other")
    with pytest.raises(ContactsFilesRefused) as caught:
        run(unload(bucket), RETRY)
    assert [one.source[-5] for one in caught.value.refused] == ["b", "d"]
    assert sent(sandbox) == ""


def test_an_object_that_is_replaced_between_its_check_and_its_turn_is_not_sent(
    sandbox: SandboxServer, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = SmartechHook.submit

    def replacing(self: SmartechHook, parameters: Any) -> str:
        put(s3, bucket, "d", "other")
        return submit(self, parameters)

    monkeypatch.setattr(SmartechHook, "submit", replacing)
    with pytest.raises(ContactsRefused, match=r"unload/d\.csv were not uploaded: the object was replaced"):
        run(unload(bucket), FIRST)
    assert sent(sandbox) == "bc"


def test_clearing_the_task_uploads_what_is_there_then(sandbox: SandboxServer, s3: Any, bucket: str) -> None:
    run(unload(bucket), FIRST)
    put(s3, bucket, "a", "new")
    s3.delete_object(Bucket=bucket, Key="unload/d.csv")
    run(unload(bucket), CLEARED)
    assert sent(sandbox) == "bcdabc"


def test_clearing_the_task_after_objects_were_replaced_uploads_all_of_them_again(
    sandbox: SandboxServer, s3: Any, bucket: str
) -> None:
    the_second_fails(sandbox)
    with pytest.raises(UploadFailed):
        run(unload(bucket), FIRST)
    for name in "bcd":
        put(s3, bucket, name, f"new-{name}")
    with pytest.raises(ContactsRefused, match="Clear the task"):
        run(unload(bucket), RETRY)
    run(unload(bucket, delete_source="on_success"), replace(RETRY, try_number=3, max_tries=4))
    assert sent(sandbox) == "bcdbcd"
    assert {contact["EMAIL"] for contact in sandbox.state.contacts()} >= {f"new-{name}@example.com" for name in "bcd"}
    assert keys(s3, bucket, "unload/") == []


def test_a_resumed_task_goes_on_with_what_it_began_although_its_dag_selects_something_else_now(
    sandbox: SandboxServer, s3: Any, bucket: str
) -> None:
    for name in "xyz":
        s3.put_object(Bucket=bucket, Key=f"tomorrow/{name}.csv", Body=b"EMAIL\nz@example.com\n")
    ti, given = FakeTaskInstance(), {"deferrable": True, "uploads_at_once": 1, "delete_source": "on_success"}
    with pytest.raises(TaskDeferred) as deferred:
        unload(bucket, **given).execute(context(ti))
    while True:
        event = run_trigger(rebuilt(deferred.value.trigger))
        task = unload(bucket, s3_prefix="tomorrow/", **given)
        try:
            result = task.resume_execution("execute_complete", {"event": event}, context(ti))
            break
        except TaskDeferred as again:
            deferred.value.trigger = again.trigger
    assert sent(sandbox) == "bcd"
    assert [file["key"] for file in result["files"]] == ["unload/b.csv", "unload/c.csv", "unload/d.csv"]
    assert keys(s3, bucket, "tomorrow/") == ["tomorrow/x.csv", "tomorrow/y.csv", "tomorrow/z.csv"]


@pytest.mark.parametrize("change", ["the list", "the account", "the record"])
def test_a_resumed_task_sends_nothing_more_to_another_list_or_account_or_from_another_set(
    sandbox: SandboxServer,
    store: UploadStore,
    s3: Any,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    ti, given = FakeTaskInstance(), {"deferrable": True, "uploads_at_once": 1}
    with pytest.raises(TaskDeferred) as deferred:
        unload(bucket, **given).execute(context(ti))
    event = run_trigger(rebuilt(deferred.value.trigger))
    if change == "the list":
        given["listid"] = 34
    elif change == "the account":
        connect(monkeypatch, sandbox, extra={"idc": "in"}, password="an0ther-account-s-key")
    else:
        shutil.rmtree(Path(store.shown_url.removeprefix("file://")) / "sources")
        put(s3, bucket, "a", "new")
    with pytest.raises(SmartechConfigurationError, match=r"1 of 3 files are sent\. Meanwhile"):
        unload(bucket, **given).resume_execution("execute_complete", {"event": event}, context(ti))
    assert sent(sandbox) == "b"


def test_a_store_that_has_lost_the_record_when_all_are_loaded_fails_the_task_and_removes_nothing(
    sandbox: SandboxServer, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = Submission.hand_over

    def losing(self: Submission, upload: Any, reason: Any) -> None:
        hand_over(self, upload, reason)
        self.store.purge(datetime.now(UTC) + timedelta(days=1))

    monkeypatch.setattr(Submission, "hand_over", losing)
    with pytest.raises(UploadRecordUnreadable, match="the record of this task's objects is gone"):
        run(unload(bucket, delete_source="on_success"), FIRST)
    assert len(submitted(sandbox)) == len(keys(s3, bucket, "unload/")) == 3


def test_another_selection_is_looked_for_anew(sandbox: SandboxServer, bucket: str) -> None:
    the_second_fails(sandbox)
    with pytest.raises(UploadFailed):
        run(unload(bucket), FIRST)
    run(unload(bucket, s3_prefix=None, s3_key=["unload/d.csv"]), RETRY)
    assert sent(sandbox) == "bcdd"


def test_fewer_objects_than_before_are_not_sent_while_it_is_not_known_what_became_of_the_others(
    sandbox: SandboxServer, s3: Any, bucket: str
) -> None:
    for faults in ((), (), (Fault.CUT_AFTER, Fault.NO_PINGBACK)):
        sandbox.fail_next(*faults)
    with pytest.raises(SmartechOutcomeUnknown):
        run(unload(bucket, wait_for_completion=False, on_unknown_outcome="fail"), FIRST)
    for name in "cd":
        s3.delete_object(Bucket=bucket, Key=f"unload/{name}.csv")
    for number in (2, 3):
        # Its retry is no way around it.
        again = replace(CLEARED, try_number=number)
        with pytest.raises(SmartechOutcomeUnknown, match="nothing is sent again"):
            run(unload(bucket, wait_for_completion=False, on_unknown_outcome="fail"), again)
    assert sent(sandbox) == "bcd"


@pytest.mark.usefixtures("sandbox")
def test_a_record_that_is_damaged_is_an_error_and_never_another_set(store: UploadStore, bucket: str) -> None:
    with crashing(Submission, "send", after=False):
        run(unload(bucket), FIRST)
    [record] = Path(store.shown_url.removeprefix("file://")).glob("sources/*/*.json")
    record.write_text("{")
    with pytest.raises(UploadRecordUnreadable, match=r"restore or remove it"):
        run(unload(bucket), RETRY)


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("on_empty", ["skip", "fail"])
@pytest.mark.usefixtures("sandbox")
def test_without_any_row_the_task_is_skipped_or_fails_and_is_never_green(
    sandbox: SandboxServer, s3: Any, bucket: str, on_empty: str, empty: bool
) -> None:
    for name in "bcd":
        put(s3, bucket, name, "") if empty else s3.delete_object(Bucket=bucket, Key=f"unload/{name}.csv")
    with pytest.raises(AirflowSkipException if on_empty == "skip" else ContactsEmpty, match=r"s3_prefix unload/ \("):
        run(unload(bucket, on_empty=on_empty), FIRST)
    assert submitted(sandbox) == []


def test_objects_without_a_row_are_left_out_and_counted(sandbox: SandboxServer, s3: Any, bucket: str) -> None:
    put(s3, bucket, "c", "")
    result = run(unload(bucket), FIRST)
    assert (result["empty"], len(result["files"])) == (1, 2)
    assert sent(sandbox) == "bd"


class TestRemovingTheSource:
    def test_all_objects_are_removed_when_all_are_loaded(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        put(s3, bucket, "e", "")
        run(unload(bucket, delete_source="on_success"), FIRST)
        assert sandbox.state.count(33) == 3
        assert keys(s3, bucket, "unload/") == ["unload/e.csv"], "only the one that has no contact"

    def test_after_a_failure_none_is_removed(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        the_second_fails(sandbox)
        with pytest.raises(UploadFailed):
            run(unload(bucket, delete_source="on_success"), FIRST)
        assert len(keys(s3, bucket, "unload/")) == 3

    def test_by_default_none_is_removed(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        run(unload(bucket), FIRST)
        assert loaded(sandbox) == ["completed"] * 3
        assert len(keys(s3, bucket, "unload/")) == 3

    def test_one_that_was_replaced_after_it_was_sent_stays(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        sandbox.faults = frozenset({Fault.PINGBACK_LATE})
        submit = SmartechHook.submit

        def replacing(hook: SmartechHook, parameters: Any) -> str:
            requestid = submit(hook, parameters)
            eventually(lambda: sandbox.state.count(33) == len(submitted(sandbox)))
            put(s3, bucket, "c", "other") if str(parameters.path).endswith("c.csv") else None
            sandbox.release()
            return requestid

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SmartechHook, "submit", replacing)
            run(unload(bucket, delete_source="on_success"), FIRST)
        assert keys(s3, bucket, "unload/") == ["unload/c.csv"]

    def test_a_retry_after_a_death_while_they_were_removed_sends_nothing_and_removes_the_rest(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        with crashing(TaskSources, "remove", after=False):
            run(unload(bucket, delete_source="on_success"), FIRST)
        s3.delete_object(Bucket=bucket, Key="unload/b.csv")
        assert len(run(unload(bucket, delete_source="on_success"), RETRY)["requestids"]) == 3
        assert sent(sandbox) == "bcd"
        assert keys(s3, bucket, "unload/") == []

    def test_what_cannot_be_removed_is_logged_and_fails_nobody(
        self,
        sandbox: SandboxServer,
        s3: Any,
        bucket: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def refusing(*given: Any) -> None:
            raise ContactsStorageError(f"s3://{bucket}/unload/b.csv", "403")

        monkeypatch.setattr("airflow_provider_smartech.staging.source_objects.what_became_of", refusing)
        run(unload(bucket, delete_source="on_success"), FIRST)
        assert sandbox.state.count(33) == 3
        assert f"Contacts may be left at s3://{bucket}/unload/b.csv (403)." in caplog.text

    def test_it_needs_a_task_that_waits(self, bucket: str) -> None:
        with pytest.raises(ValueError, match="wait_for_completion"):
            unload(bucket, delete_source="on_success", wait_for_completion=False)
