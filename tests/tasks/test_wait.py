"""Waiting for an upload: what ends it, and what only delays it."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_smartech.errors import UploadStoreError, UploadTimeout, UploadUnknown, WaitBroken
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.uploads.ended import outcome_in
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Upload
from tests.support.servers import eventually
from tests.support.submissions import only_upload, operator, submitted
from tests.support.tasks import FakeTaskInstance, context, run

pytestmark = pytest.mark.usefixtures("receiver")


@pytest.mark.parametrize("has_come", [False, True])
def test_airflow_s_own_deadline_is_a_timeout_unless_the_pingback_has_come_meanwhile(
    sandbox: SandboxServer, csv_url: str, has_come: bool
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    task, ti = operator(csv_url, wait_for_completion=True, deferrable=True, timeout=60), FakeTaskInstance()
    with pytest.raises(TaskDeferred):
        task.execute(context(ti))
    if has_come:
        sandbox.release()
        sandbox.settle()
        assert [task.resume_execution("__fail__", {"error": "Trigger timeout"}, context(ti))] == submitted(sandbox)
    else:
        with pytest.raises(UploadTimeout):
            task.resume_execution("__fail__", {"error": "Trigger timeout"}, context(ti))
        sandbox.release()


def test_a_pingback_between_the_last_look_and_the_end_of_the_time_completes(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    read, looks, began = UploadStore.read, list[str](), time.monotonic()

    def slow(self: UploadStore, key: str, known: Upload | None = None) -> Upload:
        looks.append(key)
        found = read(self, key, known)
        if len(looks) == 1:
            sandbox.release()
            sandbox.settle()
            eventually(lambda: time.monotonic() > began + 0.3)
        return found

    monkeypatch.setattr(UploadStore, "read", slow)
    assert [run(operator(csv_url, wait_for_completion=True, timeout=0.3))] == submitted(sandbox)
    assert len(looks) == 3, "the one before, the last one, and one after it was kept upon what the task acts"


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_log_says_what_is_waited_for_and_until_when_and_now_and_then_that_it_still_is(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    deferrable: bool,
) -> None:
    for module in ("tasks.wait", "triggers"):
        monkeypatch.setattr(f"airflow_provider_smartech.{module}.REMINDER_SECONDS", 0.1)
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    with caplog.at_level(logging.INFO), pytest.raises(UploadTimeout):
        run(operator(csv_url, wait_for_completion=True, deferrable=deferrable, timeout=0.5))
    (requestid,) = submitted(sandbox)
    (first,) = (one for one in caplog.messages if one.startswith("Waiting for Smartech"))
    assert re.fullmatch(
        rf"Waiting for Smartech to complete upload {requestid}, until 20[-\d]+ [:\d]+ UTC at most\.", first
    )
    assert sum(one.startswith("Still waiting for Smartech") for one in caplog.messages) > 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_store_that_is_away_while_a_task_waits_only_delays_it(
    sandbox: SandboxServer, store: UploadStore, csv_url: str, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    read, looks = UploadStore.read, list[str]()

    def away_at_first(self: UploadStore, key: str, known: Upload | None = None) -> Upload:
        looks.append(key)
        if len(looks) < 4:
            raise UploadStoreError("away")
        return read(self, key, known)

    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    sandbox.release()
    monkeypatch.setattr(UploadStore, "read", away_at_first)
    task = operator(csv_url, wait_for_completion=True, deferrable=deferrable, timeout=20)
    assert [run(task)] == submitted(sandbox)
    assert len(looks) >= 4


def waiting_for(sent: dict[str, str]) -> FakeTaskInstance:
    """Return a task instance that has deferred after it had sent these uploads."""
    kept = {
        "sent": list(sent.items()),
        "watched": list(sent),
        "enough": len(sent),
        "files": len(sent),
        "digest": "",
        "at_once": None,
    }
    return FakeTaskInstance(xcoms={"waits_for": kept})


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"keys": [7], "event": "ended"},
        {"keys": [], "event": "ended"},
        {"keys": "k", "event": "ended"},
        {"event": "ended"},
        "ended",
    ],
)
def test_an_event_that_says_nothing_is_never_green(store: UploadStore, csv_url: str, event: Any) -> None:
    with pytest.raises(WaitBroken):
        operator(csv_url, wait_for_completion=True).execute_complete(context(waiting_for({"k": "r"})), event)


def test_an_event_for_an_upload_that_has_not_ended_is_never_green(
    sandbox: SandboxServer, store: UploadStore, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    run(operator(csv_url))
    key = only_upload(store).key
    task, ti = operator(csv_url, wait_for_completion=True), waiting_for({key: "r"})
    for event, error in (
        ("ended", WaitBroken),
        ("timed out", UploadTimeout),
        ("error", WaitBroken),
        ("?", WaitBroken),
    ):
        with pytest.raises(error):
            task.execute_complete(context(ti), {"keys": [key], "event": event, "message": "m"})
    unknown = key[:-4] + "0000"
    with pytest.raises(UploadUnknown):
        task.execute_complete(context(waiting_for({unknown: "r"})), {"keys": [unknown], "event": "ended"})
    with pytest.raises(WaitBroken, match="other uploads"):
        task.execute_complete(context(ti), {"keys": [unknown], "event": "ended"})
    with pytest.raises(WaitBroken, match="the uploads that this task waits for"):
        task.execute_complete(context(), {"keys": [key], "event": "ended"})


def test_a_task_that_has_waited_leaves_what_lists_show_in_one_file(
    sandbox: SandboxServer, store: UploadStore, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(operator(csv_url, wait_for_completion=True))
    upload = only_upload(store)
    names = store.names([upload.key])[upload.key]
    assert outcome_in(names)
    monkeypatch.delattr(UploadStore, "read")
    assert store.read_listed(upload.key, names).pingbacks == upload.pingbacks
