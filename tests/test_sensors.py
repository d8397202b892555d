"""The sensor: waiting for an upload, given only its requestid."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import DAG
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    GetXComCount,
    GetXComSequenceItem,
    XComCountResponse,
    XComSequenceIndexResult,
)

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.errors import (
    SmartechInvalidParameter,
    UploadAmbiguous,
    UploadFailed,
    UploadNotTracked,
    UploadRowsRejected,
    UploadStatusUnrecognised,
    UploadStoreError,
    UploadUnknown,
    WaitBroken,
)
from airflow_provider_smartech.links import SmartechAwaitedUploadLink
from airflow_provider_smartech.operators import SmartechBulkUploadOperator
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from airflow_provider_smartech.uploads.local_folder import LocalFolder
from airflow_provider_smartech.uploads.overview import Overview
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack
from tests.support.contacts import write_contacts
from tests.support.file_server import FileServer
from tests.support.servers import ReceiverServer
from tests.support.tasks import FakeTaskInstance, context, run

pytestmark = pytest.mark.usefixtures("receiver")

both_ways = pytest.mark.parametrize("deferrable", [False, True])


def submit(csv_url: str, **arguments: Any) -> str:
    return str(run(SmartechBulkUploadOperator(task_id="upload", path=csv_url, deferrable=False, **arguments)))


def sensor(requestid: Any, **arguments: Any) -> SmartechBulkUploadSensor:
    known = {"task_id": "wait", "poke_interval": 0.05, "timeout": 10, "deferrable": False}
    return SmartechBulkUploadSensor(requestid=requestid, **{**known, **arguments})


@both_ways
@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault.PINGBACK_TWICE,
        Fault.PINGBACK_FIRST,
        Fault.PINGBACK_LATE,
        Fault.PINGBACK_FORM,
        Fault.STATUS_IN_PROGRESS,
        Fault.PINGBACK_EMPTY,
        Fault.PINGBACK_IN_QUERY,
    ],
)
def test_a_completed_upload_gives_its_summary(
    sandbox: SandboxServer, csv_url: str, deferrable: bool, fault: Fault | None
) -> None:
    sandbox.faults, sandbox.late_seconds = frozenset({fault} if fault else ()), 0.5
    requestid = submit(csv_url)
    summary = run(sensor(requestid, deferrable=deferrable), FakeTaskInstance(task_id="wait"))
    assert summary["requestid"] == requestid
    assert summary["state"] == "completed"
    assert summary["counts"] == {"total": 3, "accepted": 3, "rejected": 0}
    assert summary["payload"]["status"] == "completed"
    assert summary["submitted_at"] < summary["completed_at"]


@both_ways
def test_several_uploads_are_waited_for_and_give_a_list_of_summaries(
    sandbox: SandboxServer, csv_url: str, deferrable: bool
) -> None:
    sandbox.late_seconds = 0.5
    first = submit(csv_url)
    sandbox.fail_next(Fault.PINGBACK_LATE)
    requestids = [first, submit(csv_url)]
    summaries = run(sensor(requestids, deferrable=deferrable))
    assert [(summary["requestid"], summary["state"]) for summary in summaries] == [
        (requestid, "completed") for requestid in requestids
    ]


class FakeComms:
    """Airflow's answers to a task that reads what a mapped task has returned."""

    def __init__(self, returned: list[Any]) -> None:
        self.returned, self.asked = returned, list[Any]()

    def send(self, message: Any) -> Any:
        self.asked.append(message)
        if isinstance(message, GetXComCount):
            return XComCountResponse(len=len(self.returned))
        assert isinstance(message, GetXComSequenceItem)
        return XComSequenceIndexResult(root=self.returned[message.offset])


def waiting_for_mapped(returned: list[Any], monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Any:
    """Return a sensor for what mapped tasks have returned, rendered as before a task, and what Airflow was asked."""
    comms = FakeComms(returned)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    with DAG("mapped"):
        mapped = SmartechBulkUploadOperator.partial(task_id="mapped").expand(path=["a", "b"])
        waiting = sensor(mapped.output, **arguments)
    waiting.render_template_fields(context(FakeRescheduled()))
    return waiting, comms.asked


@both_ways
@pytest.mark.parametrize("by_sync", [False, True])
def test_one_sensor_waits_for_all_uploads_of_a_mapped_task_and_asks_airflow_once_for_each(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch, deferrable: bool, by_sync: bool
) -> None:
    requestids = [submit(csv_url), submit(csv_url)]
    returned = [{"requestids": [requestid], "rows": 3} if by_sync else requestid for requestid in requestids]
    waiting, asked = waiting_for_mapped(returned, monkeypatch, deferrable=deferrable)
    assert [summary["requestid"] for summary in run(waiting)] == requestids
    link = SmartechAwaitedUploadLink().get_link(waiting, ti_key=FakeTaskInstance())  # type: ignore[arg-type]
    assert link.endswith(f"requestid={requestids[0]}")
    assert [message.offset for message in asked if isinstance(message, GetXComSequenceItem)] == [0, 1]


@both_ways
def test_a_mapped_task_that_returned_nothing_is_never_green(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    waiting, _ = waiting_for_mapped([], monkeypatch, deferrable=deferrable)
    with pytest.raises(SmartechInvalidParameter, match="requestid"):
        run(waiting)


@both_ways
def test_what_a_query_s_task_returned_gives_a_list_even_of_one(
    sandbox: SandboxServer, csv_url: str, deferrable: bool
) -> None:
    requestid = submit(csv_url)
    (summary,) = run(sensor({"requestids": [requestid], "rows": 3}, deferrable=deferrable))
    assert summary["requestid"] == requestid


@both_ways
def test_one_of_several_that_does_not_end_is_named_in_the_timeout(
    sandbox: SandboxServer, csv_url: str, deferrable: bool
) -> None:
    first = submit(csv_url)
    sandbox.fail_next(Fault.NO_PINGBACK)
    lost = submit(csv_url)
    with pytest.raises(AirflowSensorTimeout, match=lost):
        run(sensor([first, lost], deferrable=deferrable, timeout=0.3))


@both_ways
def test_rejected_rows_are_in_the_counts(sandbox: SandboxServer, tmp_path: Path, deferrable: bool) -> None:
    sandbox.faults = frozenset({Fault.ROWS_REJECTED})
    write_contacts(tmp_path / "contacts.csv", 50)
    with FileServer(tmp_path) as files:
        summary = run(sensor(submit(f"{files.url}/contacts.csv"), deferrable=deferrable))
    assert summary["counts"] == {"total": 50, "accepted": 45, "rejected": 5}
    assert (summary["rows"], summary["accepted"], summary["rejected"]) == (50, 45, 5)


@both_ways
@pytest.mark.parametrize(("max_rejected", "is_green"), [(5, True), (0.1, True), (4, False), (0.09, False)])
def test_more_rejected_rows_than_the_sensor_allows_fail_it(
    sandbox: SandboxServer, tmp_path: Path, deferrable: bool, max_rejected: float, is_green: bool
) -> None:
    sandbox.faults = frozenset({Fault.ROWS_REJECTED})
    write_contacts(tmp_path / "contacts.csv", 50)
    with FileServer(tmp_path) as files:
        waiting = sensor(submit(f"{files.url}/contacts.csv"), deferrable=deferrable, max_rejected=max_rejected)
        if is_green:
            assert run(waiting)["rejected"] == 5
            return
        with pytest.raises(UploadRowsRejected, match=r"contacts\.csv.*45 accepted, 5 rejected of 50 rows"):
            run(waiting)


@both_ways
def test_where_no_numbers_are_named_none_are_made_up(sandbox: SandboxServer, csv_url: str, deferrable: bool) -> None:
    sandbox.faults = frozenset({Fault.NO_COUNTS})
    summary = run(sensor(submit(csv_url), deferrable=deferrable, max_rejected=0))
    assert (summary["rows"], summary["accepted"], summary["rejected"], summary["counts"]) == (None, None, None, {})


@both_ways
def test_the_worse_of_contradicting_pingbacks_counts_before_anybody_has_looked(
    sandbox: SandboxServer, csv_url: str, deferrable: bool
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_CONTRADICTED, Fault.PINGBACK_FIRST})
    with pytest.raises(UploadFailed, match=r"completed.*failed"):
        run(sensor(submit(csv_url), deferrable=deferrable))


@both_ways
def test_a_requestid_of_two_accounts_is_an_error_that_names_both_unless_the_connection_tells(
    accounts: dict[str, SandboxServer], csv_url: str, store: UploadStore, deferrable: bool
) -> None:
    accounts["retail"].faults = frozenset({Fault.NO_PINGBACK})
    for name in accounts:
        submit(csv_url, smartech_conn_id=name)
    assert {upload.record.account_name for upload in store.all_with("r1")} == {"retail", "travel"}
    with pytest.raises(UploadAmbiguous, match=r"us/retail.*us/travel|us/travel.*us/retail"):
        run(sensor("r1", deferrable=deferrable))
    assert run(sensor("r1", smartech_conn_id="travel", deferrable=deferrable))["state"] == "completed"
    with pytest.raises(AirflowSensorTimeout, match="r1"):
        run(sensor("r1", smartech_conn_id="retail", deferrable=deferrable, timeout=0.3))


@both_ways
@pytest.mark.parametrize(
    ("fault", "error", "shown"),
    [
        (Fault.STATUS_FAILED, UploadFailed, "requested by the fault"),
        (Fault.STATUS_UNKNOWN, UploadStatusUnrecognised, "hibernating"),
        (Fault.PINGBACK_UNREADABLE, UploadStatusUnrecognised, "no status in here"),
        (Fault.PINGBACK_ECHO, UploadStatusUnrecognised, "'result': 'Success'"),
        (Fault.PINGBACK_FOREIGN, UploadStatusUnrecognised, "f" * 32),
        (Fault.PINGBACK_ERROR, UploadStatusUnrecognised, "the file was not read to its end"),
        (Fault.PINGBACK_UNSUCCESSFUL, UploadStatusUnrecognised, "'success': False"),
        (Fault.STATUS_OBJECT, UploadStatusUnrecognised, "'failed': 2"),
        (Fault.ALL_ROWS_REJECTED, UploadRowsRejected, "'accepted': 0"),
    ],
)
def test_anything_but_completed_fails_and_shows_the_payload(
    sandbox: SandboxServer, csv_url: str, deferrable: bool, fault: Fault, error: type[Exception], shown: str
) -> None:
    sandbox.faults = frozenset({fault})
    with pytest.raises(error, match=shown) as caught:
        run(sensor(submit(csv_url), deferrable=deferrable))
    assert type(caught.value) is error


@both_ways
def test_a_configured_word_completes(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "hibernating")
    sandbox.faults = frozenset({Fault.STATUS_UNKNOWN})
    assert run(sensor(submit(csv_url), deferrable=deferrable))["payload"]["status"] == "hibernating"


@both_ways
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_timeout_says_when_it_was_submitted_and_what_to_check(
    sandbox: SandboxServer, csv_url: str, deferrable: bool, soft_fail: bool
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    requestid = submit(csv_url)
    waiting = sensor(requestid, deferrable=deferrable, soft_fail=soft_fail, timeout=0.3)
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout) as caught:
        run(waiting)
    for words in (requestid, "submitted at 20", "no ping-back came", "callback_base_url", "upload_store"):
        assert words in str(caught.value)


def test_reschedule_mode_gives_its_slot_back_and_times_out_as_well(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    waiting = sensor(submit(csv_url), mode="reschedule", timeout=60)
    ti = FakeTaskInstance()
    began: list[Any] = [None]
    monkeypatch.setattr(FakeTaskInstance, "get_first_reschedule_date", lambda self, context: began[0], raising=False)
    with pytest.raises(AirflowException) as rescheduled:
        waiting.execute(context(ti))
    # Airflow 3.1 and 3.3 have it in different modules.
    assert type(rescheduled.value).__name__ == "AirflowRescheduleException"
    began[0] = datetime.now(UTC) - timedelta(seconds=90)
    with pytest.raises(AirflowSensorTimeout, match="no ping-back came"):
        waiting.execute(context(ti))


@both_ways
@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_an_unknown_requestid_is_an_error_at_once(store: UploadStore, deferrable: bool, mode: str) -> None:
    with pytest.raises(UploadUnknown, match="upload_store") as caught:
        sensor("f" * 32, deferrable=deferrable, mode=mode).execute(context(FakeRescheduled()))
    assert caught.value.requestid == "f" * 32


@both_ways
@pytest.mark.parametrize("requestid", [None, "", "None", 7, (), ["a", None], "['a', 'b']", "{'rows': 1}", {}])
def test_a_missing_requestid_is_an_error_at_once(store: UploadStore, deferrable: bool, requestid: Any) -> None:
    with pytest.raises(SmartechInvalidParameter, match="requestid"):
        sensor(requestid, deferrable=deferrable).execute(context())


@both_ways
def test_an_upload_that_was_sent_without_our_callback_is_an_error_at_once(
    sandbox: SandboxServer, csv_url: str, deferrable: bool
) -> None:
    requestid = submit(csv_url, callback=f"{sandbox.url}/own")
    with pytest.raises(UploadNotTracked, match=requestid):
        sensor(requestid, deferrable=deferrable).execute(context())


@both_ways
def test_soft_fail_skips_a_failed_upload(sandbox: SandboxServer, csv_url: str, deferrable: bool) -> None:
    sandbox.faults = frozenset({Fault.STATUS_FAILED})
    with pytest.raises(AirflowSkipException, match="failed"):
        run(sensor(submit(csv_url), deferrable=deferrable, soft_fail=True))


@both_ways
@pytest.mark.parametrize("way", ["soft_fail", "never_fail"])
@pytest.mark.parametrize(("requestid", "why"), [(None, "give what"), ("f" * 32, "No upload with requestid")])
def test_a_skip_says_why(store: UploadStore, deferrable: bool, way: str, requestid: str | None, why: str) -> None:
    with pytest.raises(AirflowSkipException, match=why):
        run(sensor(requestid, deferrable=deferrable, **{way: True}))


@pytest.mark.parametrize("event", [None, {}, {"event": "ended"}, {"keys": ["k"], "event": "fine"}])
def test_an_event_that_says_nothing_is_never_green(store: UploadStore, event: Any) -> None:
    with pytest.raises(WaitBroken):
        sensor("r").execute_complete(context(), event)


def test_airflow_s_own_deadline_comes_after_the_trigger_s_and_is_a_timeout_too(
    sandbox: SandboxServer, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    waiting = sensor(submit(csv_url), deferrable=True, timeout=60)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(context())
    assert deferred.value.timeout
    assert deferred.value.timeout > timedelta(seconds=60)
    with pytest.raises(AirflowSensorTimeout):
        waiting.resume_execution("__fail__", {"error": "Trigger timeout"}, context())


def test_airflow_s_own_deadline_is_no_timeout_if_the_pingback_has_come_meanwhile(
    sandbox: SandboxServer, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    requestid = submit(csv_url)
    waiting = sensor(requestid, deferrable=True, timeout=60)
    with pytest.raises(TaskDeferred):
        waiting.execute(context())
    sandbox.release()
    sandbox.settle()
    summary = waiting.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    assert summary["state"] == "completed"


def test_what_comes_after_the_end_changes_nothing(
    sandbox: SandboxServer, csv_url: str, store: UploadStore, receiver: ReceiverServer
) -> None:
    requestid = submit(csv_url)
    run(sensor(requestid))
    store.add_pingback(store.find(requestid).key, PingBack(payload={"status": "failed"}))
    assert run(sensor(requestid))["state"] == "completed"


def test_two_pingbacks_are_waited_for_where_the_account_sends_two(
    sandbox: SandboxServer, csv_url: str, store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__PINGBACKS_EXPECTED", "2")
    sandbox.faults = frozenset({Fault.PINGBACK_TWICE})
    requestid = submit(csv_url)
    key = store.find(requestid).key
    sandbox.settle()
    with pytest.raises(AirflowSensorTimeout, match="2 ping-back"):
        run(sensor(requestid, timeout=0.2))
    store.add_pingback(key, PingBack(payload={"status": "completed", "contact master": "done"}))
    assert run(sensor(requestid))["state"] == "completed"


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_contradicts_after_somebody_acted_upon_it_changes_nothing_for_him_or_another(
    sandbox: SandboxServer, csv_url: str, store: UploadStore, settings: Settings, deferrable: bool
) -> None:
    requestid = submit(csv_url)
    run(sensor(requestid, deferrable=deferrable))
    for said in ({"status": "failed"}, {"status": "completed", "accepted": 0}):
        sandbox.ping_back(requestid, said)
    assert run(sensor(requestid, deferrable=deferrable))["accepted"] == 3
    overview = Overview.of(store.find(requestid), settings.statuses)
    assert (overview.state, overview.accepted, overview.remarks) == ("completed", 3, ["contradicted"])


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"])
def test_the_log_says_what_is_waited_for_and_until_when_and_now_and_then_that_it_still_is(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: str,
) -> None:
    for module in ("tasks.wait", "triggers"):
        monkeypatch.setattr(f"airflow_provider_smartech.{module}.REMINDER_SECONDS", 0.1)
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    requestid = submit(csv_url)
    waiting = looking(requestid, mode, timeout=3600 if mode == "reschedule" else 0.5)
    with caplog.at_level(logging.INFO), pytest.raises(AirflowException):
        run(waiting, FakeRescheduled())
    (first,) = (one for one in caplog.messages if one.startswith("Waiting for Smartech"))
    assert re.fullmatch(
        rf"Waiting for Smartech to complete upload {requestid}, until 20[-\d]+ [:\d]+ UTC at most\.", first
    )
    still = [one for one in caplog.messages if one.startswith("Still waiting for Smartech")]
    assert (len(still) > 1) is (mode != "reschedule")


def test_a_sensor_that_is_rescheduled_waits_until_the_time_that_began_with_its_first_look(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    began = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    monkeypatch.setattr(FakeRescheduled, "get_first_reschedule_date", lambda self, context: began)
    waiting = looking(submit(csv_url), "reschedule", timeout=timedelta(days=36500))
    with caplog.at_level(logging.INFO), pytest.raises(AirflowException):
        waiting.execute(context(FakeRescheduled()))
    assert "until 2125-12-08 12:30:00 UTC at most" in caplog.text


# --- a store that fails --------------------------------------------------------------------------------------------


MODES = ("poke", "reschedule", "deferrable")
# What one look at a completed upload calls: to list twice, to read four files, and to keep what it acts upon.
CALLS = range(1, 8)


class FakeRescheduled(FakeTaskInstance):
    def get_first_reschedule_date(self, context: Any) -> None:
        return None


def looking(requestid: Any, mode: str, **arguments: Any) -> SmartechBulkUploadSensor:
    by_mode = {"deferrable": True} if mode == "deferrable" else {"mode": mode}
    return sensor(requestid, **by_mode, **arguments)


def waited(task: SmartechBulkUploadSensor) -> Any:
    """Run a sensor to its end, as often as it wants to be called again."""
    while True:
        try:
            return run(task, FakeRescheduled())
        except AirflowException as end:
            if type(end).__name__ != "AirflowRescheduleException":
                raise


@pytest.fixture
def fail_call(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Lets one call of the storage fail, counted from 1; gives what was called."""

    def arrange(place: int) -> list[str]:
        called: list[str] = []
        for name in ("names", "read", "write"):
            method = getattr(LocalFolder, name)

            def failing(self: LocalFolder, file: str, *rest: Any, method: Any = method) -> Any:
                called.append(file)
                if len(called) == place:
                    raise UploadStoreError("away for a moment")
                return method(self, file, *rest)

            monkeypatch.setattr(LocalFolder, name, failing)
        return called

    return arrange


@contextmanager
def away(store: UploadStore) -> Iterator[None]:
    """Let the store be away."""
    root = Path(store.shown_url.removeprefix("file://"))
    aside = root.rename(root.with_name("aside"))
    root.write_text("in the way", "utf-8")
    yield
    root.unlink()
    aside.rename(root)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", CALLS)
def test_a_call_of_the_store_that_fails_only_delays_and_skips_nothing(
    sandbox: SandboxServer,
    csv_url: str,
    fail_call: Callable[[int], list[str]],
    mode: str,
    place: int,
) -> None:
    requestid = submit(csv_url)
    sandbox.settle()
    called = fail_call(place)
    assert waited(looking(requestid, mode, soft_fail=True))["state"] == "completed"
    assert len(called) > place


@pytest.mark.parametrize("by_airflow", [False, True])
@pytest.mark.parametrize("place", CALLS[:5])
def test_a_call_of_the_store_that_fails_after_a_deferred_wait_only_delays_and_skips_nothing(
    sandbox: SandboxServer,
    csv_url: str,
    store: UploadStore,
    fail_call: Callable[[int], list[str]],
    by_airflow: bool,
    place: int,
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    requestid = submit(csv_url)
    waiting = sensor(requestid, deferrable=True, soft_fail=True)
    with pytest.raises(TaskDeferred):
        waiting.execute(context())
    sandbox.release()
    sandbox.settle()
    event = {"keys": [store.find(requestid).key], "event": "ended"}
    called = fail_call(place)
    if by_airflow:
        resumed = waiting.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    else:
        resumed = waiting.resume_execution("execute_complete", {"event": event}, context())
    assert resumed["state"] == "completed"
    assert len(called) > place


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_store_that_stays_away_until_the_time_is_over_is_red_and_never_skipped(
    sandbox: SandboxServer, csv_url: str, store: UploadStore, mode: str, soft_fail: bool
) -> None:
    requestid = submit(csv_url)
    sandbox.settle()
    waiting = looking(requestid, mode, soft_fail=soft_fail, timeout=0.3)
    began = datetime.now(UTC)
    with away(store), pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeRescheduled, "get_first_reschedule_date", lambda self, context: began)
        with pytest.raises((UploadStoreError, AirflowSensorTimeout)):
            waited(waiting)


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("method", ["execute_complete", "__fail__"])
def test_a_store_that_stays_away_after_a_deferred_wait_is_red_after_a_while_however_long_the_wait_was(
    sandbox: SandboxServer,
    csv_url: str,
    store: UploadStore,
    monkeypatch: pytest.MonkeyPatch,
    soft_fail: bool,
    method: str,
) -> None:
    monkeypatch.setattr("airflow_provider_smartech.tasks.wait.BACKSTOP", timedelta(seconds=0.2))
    requestid = submit(csv_url)
    sandbox.settle()
    event: dict[str, Any] = {"keys": [store.find(requestid).key], "event": "ended"}
    waiting = sensor(requestid, deferrable=True, soft_fail=soft_fail, timeout=30)
    began = datetime.now(UTC)
    arguments = {"error": "Trigger timeout"} if method == "__fail__" else {"event": event}
    with away(store), pytest.raises(UploadStoreError):
        waiting.resume_execution(method, arguments, context())
    assert datetime.now(UTC) - began < timedelta(seconds=15)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_pingback_between_the_last_look_and_the_end_of_the_time_completes(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    soft_fail: bool,
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    requestid = submit(csv_url)
    poke, looks = SmartechBulkUploadSensor.poke, list[None]()

    def slow(self: SmartechBulkUploadSensor, context: Any) -> Any:
        looks.append(None)
        found = poke(self, context)
        sandbox.release()
        sandbox.settle()
        return found

    monkeypatch.setattr(SmartechBulkUploadSensor, "poke", slow)
    began = datetime.now(UTC)
    monkeypatch.setattr(FakeRescheduled, "get_first_reschedule_date", lambda self, context: began)
    summary = looking(requestid, mode, soft_fail=soft_fail, timeout=0.001).execute(context(FakeRescheduled()))
    assert summary["state"] == "completed"
    assert len(looks) == 1
