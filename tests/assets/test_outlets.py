"""The events that say that a list was updated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import Asset

from airflow_provider_smartech.errors import SmartechInvalidParameter, UploadFailed, UploadTimeout
from airflow_provider_smartech.operators import SmartechBulkUploadOperator
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from tests.support.contacts import write_contacts
from tests.support.file_server import FileServer
from tests.support.tasks import FakeOutletEvents, FakeTaskInstance, context, run


def upload(csv_url: str, **arguments: Any) -> SmartechBulkUploadOperator:
    known = {"task_id": "upload", "path": csv_url, "listid": 33, "deferrable": False, "timeout": 20}
    return SmartechBulkUploadOperator(**{**known, **arguments})


def wait(requestid: Any, **arguments: Any) -> SmartechBulkUploadSensor:
    known = {"task_id": "wait", "poke_interval": 0.05, "timeout": 20, "deferrable": False}
    return SmartechBulkUploadSensor(requestid=requestid, **{**known, **arguments})


def updates(ti: FakeTaskInstance) -> list[tuple[str, Any]]:
    """The lists that the task says were updated, with the requestids."""
    assets = [asset for asset in ti.outlet_events if isinstance(asset, Asset)]
    return [(asset.uri, ti.outlet_events[asset].extra["requestids"]) for asset in assets]


@pytest.mark.usefixtures("receiver")
class TestUpdates:
    @pytest.mark.parametrize("deferrable", [False, True])
    def test_a_task_that_waits_says_that_the_list_was_updated(
        self, sandbox: SandboxServer, csv_url: str, deferrable: bool
    ) -> None:
        ti = FakeTaskInstance()
        requestid = run(upload(csv_url, wait_for_completion=True, deferrable=deferrable), ti)
        assert updates(ti) == [("smartech://us/33", [requestid])]

    def test_a_task_that_does_not_wait_says_nothing_and_its_sensor_does(
        self, sandbox: SandboxServer, csv_url: str
    ) -> None:
        first, second = FakeTaskInstance(), FakeTaskInstance(task_id="wait")
        requestid = run(upload(csv_url), first)
        assert updates(first) == []
        run(wait(requestid), second)
        assert updates(second) == [("smartech://us/33", [requestid])]

    def test_a_deferred_sensor_says_it_only_when_the_upload_is_complete(
        self, sandbox: SandboxServer, csv_url: str
    ) -> None:
        sandbox.hold()
        sandbox.fail_next(Fault.PINGBACK_LATE)
        requestid, ti = run(upload(csv_url)), FakeTaskInstance(task_id="wait")
        with pytest.raises(TaskDeferred):
            wait(requestid, deferrable=True).execute(context(ti))
        assert updates(ti) == []
        sandbox.release()
        run(wait(requestid, deferrable=True), ti)
        assert updates(ti) == [("smartech://us/33", [requestid])]

    def test_several_uploads_give_one_event_for_each_list(self, sandbox: SandboxServer, csv_url: str) -> None:
        requestids = [
            run(upload(csv_url, task_id=f"upload{n}", listid=listid), FakeTaskInstance(task_id=f"upload{n}"))
            for n, listid in enumerate([33, 34, 33, None])
        ]
        ti = FakeTaskInstance(task_id="wait")
        run(wait(requestids), ti)
        assert updates(ti) == [
            ("smartech://us/33", [requestids[0], requestids[2]]),
            ("smartech://us/34", [requestids[1]]),
        ]

    @pytest.mark.parametrize(
        ("fault", "error"), [(Fault.STATUS_FAILED, UploadFailed), (Fault.NO_PINGBACK, UploadTimeout)]
    )
    def test_an_upload_that_did_not_complete_updates_nothing(
        self, sandbox: SandboxServer, csv_url: str, fault: Fault, error: type[Exception]
    ) -> None:
        sandbox.fail_next(fault)
        ti = FakeTaskInstance()
        with pytest.raises(error):
            run(upload(csv_url, wait_for_completion=True, timeout=0.5), ti)
        assert updates(ti) == []

    @pytest.mark.parametrize(
        "outlet",
        [
            Asset("smartech://us/33"),
            Asset(name="contacts", uri="smartech://us/33"),
            Asset.ref(uri="smartech://us/33"),
            Asset.ref(name="contacts-of-us"),
        ],
    )
    def test_a_list_that_is_the_task_s_own_outlet_gets_no_second_event(
        self, sandbox: SandboxServer, csv_url: str, outlet: Any
    ) -> None:
        task, ti = upload(csv_url, wait_for_completion=True, outlets=[outlet]), FakeTaskInstance()
        requestid = run(task, ti)
        assert task.outlets == [outlet]
        assert updates(ti) == [("smartech://us/33", [requestid])]
        assert ti.outlet_events[outlet].extra == {"requestids": [requestid], "accepted": 3, "rejected": 0}

    def test_a_list_as_the_outlet_of_a_task_that_does_not_wait_is_refused(self, csv_url: str) -> None:
        with pytest.raises(ValueError, match="wait_for_completion"):
            upload(csv_url, outlets=[Asset("smartech://us/33")])
        with pytest.raises(ValueError, match="wait_for_completion"):
            upload(csv_url, outlets=[Asset.ref(uri="smartech://us/33")])
        assert upload(csv_url, outlets=[Asset("s3://bucket/key")]).outlets == [Asset("s3://bucket/key")]

    def test_an_outlet_that_is_added_later_is_refused_before_anything_is_sent(
        self, sandbox: SandboxServer, csv_url: str
    ) -> None:
        task = upload(csv_url)
        task.outlets.append(Asset("smartech://us/33"))
        with pytest.raises(ValueError, match="wait_for_completion"):
            run(task)
        assert sandbox.state.uploads() == []

    @pytest.mark.parametrize("outlet", [Asset("smartech://us/34"), Asset.ref(uri="smartech://in/33")])
    def test_another_list_as_an_outlet_is_refused_before_anything_is_sent(
        self, sandbox: SandboxServer, csv_url: str, outlet: Any
    ) -> None:
        with pytest.raises(SmartechInvalidParameter, match="is not what this task uploads to"):
            run(upload(csv_url, wait_for_completion=True, outlets=[outlet]))
        assert sandbox.state.uploads() == []

    def test_a_sensor_with_another_list_as_its_outlet_is_red(self, sandbox: SandboxServer, csv_url: str) -> None:
        requestid = run(upload(csv_url))
        with pytest.raises(SmartechInvalidParameter, match="smartech://us/34"):
            run(wait(requestid, outlets=[Asset("smartech://us/34")]), FakeTaskInstance(task_id="wait"))

    @pytest.mark.parametrize("by_sensor", [False, True])
    def test_a_list_of_a_named_account_is_another_list_than_that_of_the_same_number(
        self, accounts: dict[str, SandboxServer], csv_url: str, by_sensor: bool
    ) -> None:
        ti = FakeTaskInstance()
        run(upload(csv_url, smartech_conn_id="retail", wait_for_completion=not by_sensor), ti)
        if by_sensor:
            ti = FakeTaskInstance(task_id="wait")
            run(wait("r1"), ti)
        assert updates(ti) == [("smartech://us/retail/33", ["r1"])]
        with pytest.raises(SmartechInvalidParameter, match="smartech://us/33"):
            run(wait("r1", outlets=[Asset("smartech://us/33")]), FakeTaskInstance(task_id="wait"))

    def test_the_event_says_how_many_rows_of_all_uploads_to_the_list_were_taken(
        self, sandbox: SandboxServer, tmp_path: Path
    ) -> None:
        write_contacts(tmp_path / "x.csv", 20)
        with FileServer(tmp_path) as files:
            sandbox.fail_next(Fault.ROWS_REJECTED)
            sandbox.fail_next()
            requestids = [
                run(upload(f"{files.url}/x.csv", task_id=name), FakeTaskInstance(task_id=name)) for name in "ab"
            ]
            sandbox.fail_next(Fault.NO_COUNTS)
            unknown = run(upload(f"{files.url}/x.csv", task_id="c"), FakeTaskInstance(task_id="c"))
        for waited, accepted, rejected in ((requestids, 38, 2), ([*requestids, unknown], None, None)):
            ti = FakeTaskInstance(task_id="wait")
            run(wait(waited), ti)
            (asset,) = (asset for asset in ti.outlet_events if isinstance(asset, Asset))
            extra = ti.outlet_events[asset].extra
            assert extra == {"requestids": waited, "accepted": accepted, "rejected": rejected}

    def test_a_list_that_airflow_knows_is_an_outlet_only_when_it_was_updated(
        self, sandbox: SandboxServer, csv_url: str
    ) -> None:
        task = upload(csv_url, wait_for_completion=True)
        assert task.outlets == []
        run(task)
        assert task.outlets == [Asset.ref(uri="smartech://us/33")]

    def test_a_list_that_airflow_does_not_know_is_not_made_an_asset(self, sandbox: SandboxServer, csv_url: str) -> None:
        # Of a list of its own, because Airflow remembers what it has asked for.
        task = upload(csv_url, wait_for_completion=True, listid=99)
        ti = FakeTaskInstance(outlet_events=FakeOutletEvents(False))
        run(task, ti)
        assert (task.outlets, updates(ti)) == ([], [])

    @pytest.mark.parametrize("by_sensor", [False, True])
    def test_airflow_is_not_asked_for_a_list_that_is_no_outlet_if_that_is_switched_off(
        self, sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch, by_sensor: bool
    ) -> None:
        monkeypatch.setenv("AIRFLOW__SMARTECH__ASSET_EVENTS", "False")
        asked: list[Any] = []
        monkeypatch.setattr(FakeOutletEvents, "_get_asset_from_db", lambda self, **given: asked.append(given))
        task: Any = upload(csv_url, wait_for_completion=not by_sensor, listid=98)
        ti = FakeTaskInstance()
        requestid = run(task, ti)
        if by_sensor:
            task, ti = wait(requestid), FakeTaskInstance(task_id="wait")
            run(task, ti)
        assert (task.outlets, updates(ti), asked) == ([], [], [])

    def test_a_list_that_is_an_outlet_has_its_event_whatever_is_switched_off(
        self, sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__SMARTECH__ASSET_EVENTS", "False")
        ti = FakeTaskInstance()
        requestid = run(upload(csv_url, wait_for_completion=True, outlets=[Asset("smartech://us/33")]), ti)
        assert updates(ti) == [("smartech://us/33", [requestid])]
