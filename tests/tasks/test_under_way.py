"""Files that are sent some at a time: how many are under way, when others follow, and when none does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_smartech.errors import SmartechNotReached, UploadFailed, UploadTimeout
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.transfers import S3ToSmartechOperator
from tests.support.servers import eventually
from tests.support.submissions import crashing, submitted
from tests.support.tasks import FakeTaskInstance, context, rebuilt, run, run_trigger
from tests.support.transfers import from_s3, loaded

pytestmark = pytest.mark.usefixtures("receiver")

FILES = 10
Unload = Callable[..., S3ToSmartechOperator]


@pytest.fixture
def unload(s3: Any, bucket: str) -> Unload:
    """Ten files in S3, and what makes a task that uploads and waits for them."""
    for number in range(FILES):
        content = f"EMAIL\nc{number}@example.com\n".encode()
        s3.put_object(Bucket=bucket, Key=f"unload/part-{number:05}.csv", Body=content)

    def task(**arguments: Any) -> S3ToSmartechOperator:
        given = {"s3_key": None, "s3_prefix": "unload/", "wait_for_completion": True, "uploads_at_once": 4}
        return from_s3(bucket, **{**given, **arguments})

    return task


def files(sandbox: SandboxServer) -> list[str]:
    """The names of the files that the sandbox took, in their order."""
    return [upload["path"].rpartition("/")[2] for upload in reversed(sandbox.state.uploads())]


@pytest.fixture
def most_under_way(sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many uploads were under way after each one that was sent."""
    submit, counted = SmartechHook.submit, list[int]()

    def counting(self: SmartechHook, parameters: Any) -> str:
        requestid = submit(self, parameters)
        counted.append(sum(state not in ("completed", "failed") for state in loaded(sandbox)))
        return requestid

    monkeypatch.setattr(SmartechHook, "submit", counting)
    return counted


@pytest.mark.parametrize("deferrable", [False, True])
def test_all_files_are_loaded_and_never_more_are_under_way_than_allowed(
    sandbox: SandboxServer, unload: Unload, most_under_way: list[int], deferrable: bool
) -> None:
    ti = FakeTaskInstance()
    result = run(unload(deferrable=deferrable), ti)
    assert max(most_under_way) <= 4
    assert len(most_under_way) == FILES == sandbox.state.count(33)
    assert result["requestids"] == submitted(sandbox) == ti.xcoms["requestids"]
    assert [file["key"].rpartition("/")[2] for file in result["files"]] == files(sandbox) == sorted(files(sandbox))


@pytest.mark.parametrize("deferrable", [False, True])
def test_without_a_limit_all_are_sent_before_the_wait(sandbox: SandboxServer, unload: Unload, deferrable: bool) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    with pytest.raises(UploadTimeout):
        run(unload(uploads_at_once=None, deferrable=deferrable, timeout=0.1))
    assert len(submitted(sandbox)) == FILES


def test_a_task_that_does_not_wait_sends_all(sandbox: SandboxServer, unload: Unload) -> None:
    result = run(unload(wait_for_completion=False))
    assert result["requestids"] == submitted(sandbox)
    assert len(submitted(sandbox)) == FILES


def test_a_deferred_task_is_woken_when_half_of_those_under_way_have_ended_and_at_last_when_all_have(
    sandbox: SandboxServer, unload: Unload
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    task, ti, enough = unload(deferrable=True), FakeTaskInstance(), list[tuple[int, int]]()
    method, arguments = "", dict[str, Any]()
    while True:
        try:
            task.resume_execution(method, arguments, context(ti)) if method else task.execute(context(ti))
            break
        except TaskDeferred as deferred:
            trigger = rebuilt(deferred.trigger)
            enough.append((len(trigger.serialize()[1]["keys"]), trigger.serialize()[1]["enough"]))
            sandbox.release()
            method, arguments = deferred.method_name, {"event": run_trigger(trigger)}
    assert enough[0] == (4, 2)
    assert len(enough) < FILES
    watched, last = enough[-1]
    assert watched == last


def test_an_upload_that_is_stuck_does_not_keep_the_others_from_being_sent(
    sandbox: SandboxServer, unload: Unload
) -> None:
    sandbox.fail_next(Fault.NO_PINGBACK)
    with pytest.raises(UploadTimeout):
        run(unload(deferrable=True, timeout=2))
    assert loaded(sandbox).count("completed") >= FILES - 1
    assert len(submitted(sandbox)) == FILES


@pytest.mark.parametrize("deferrable", [False, True])
def test_after_a_failure_no_other_is_sent_those_under_way_are_waited_for_and_a_retry_sends_the_rest(
    sandbox: SandboxServer, unload: Unload, caplog: pytest.LogCaptureFixture, deferrable: bool
) -> None:
    sandbox.fail_next()
    sandbox.fail_next(Fault.STATUS_FAILED)
    with pytest.raises(UploadFailed, match="part-00001"):
        run(unload(deferrable=deferrable), FakeTaskInstance())
    first = files(sandbox)
    assert len(first) < FILES
    assert "are not sent, because of what became of the others" in caplog.text
    eventually(lambda: all(state in ("completed", "failed") for state in loaded(sandbox)))
    result = run(unload(deferrable=deferrable), FakeTaskInstance(try_number=2))
    assert len(set(result["requestids"])) == FILES == sandbox.state.count(33)
    again = files(sandbox)[len(first) :]
    assert sorted([*first, *again]) == sorted([*result_names(result), "part-00001.csv"])


def result_names(result: dict[str, Any]) -> list[str]:
    return [file["key"].rpartition("/")[2] for file in result["files"]]


def test_a_time_out_ends_the_task_and_nothing_more_is_sent(
    sandbox: SandboxServer, unload: Unload, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    with pytest.raises(UploadTimeout):
        run(unload(deferrable=True, timeout=0.2))
    assert len(submitted(sandbox)) == 4
    assert "6 of 10 files are not sent" in caplog.text


def test_a_retry_takes_what_a_killed_try_has_sent_and_goes_on(sandbox: SandboxServer, unload: Unload) -> None:
    sent, submit = list[str](), SmartechHook.submit

    def dying(self: SmartechHook, parameters: Any) -> str:
        if len(sent) == 6:
            raise SmartechNotReached("the network is gone")
        sent.append(submit(self, parameters))
        return sent[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SmartechHook, "submit", dying)
        with pytest.raises(SmartechNotReached):
            run(unload())
    result = run(unload(), FakeTaskInstance(try_number=2))
    assert result["requestids"][:6] == sent
    assert len(submitted(sandbox)) == FILES == sandbox.state.count(33)


def test_a_resumed_task_that_dies_is_taken_over_by_the_next_try(sandbox: SandboxServer, unload: Unload) -> None:
    task, ti = unload(deferrable=True), FakeTaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context(ti))
    event = run_trigger(rebuilt(deferred.value.trigger))
    with crashing(SmartechHook, "submit", after=True):
        task.resume_execution("execute_complete", {"event": event}, context(ti))
    result = run(unload(deferrable=True), FakeTaskInstance(try_number=2))
    assert len(submitted(sandbox)) == FILES == len(set(result["requestids"]))


def test_the_log_says_how_far_it_is(sandbox: SandboxServer, unload: Unload, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "airflow_provider_smartech"):
        run(unload(deferrable=True))
    assert sandbox.state.count(33) == FILES
    assert "Sent 4 of 10 files, of which 0 have completed." in caplog.messages
