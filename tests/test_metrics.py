"""Metrics as a StatsD server gets them, through Airflow's own ``Stats`` and its client.

That they arrive from a real API server, task and triggerer is tested in test_airflow.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from airflow_provider_smartech import metrics
from airflow_provider_smartech.airflow_compat import hostname, stats
from airflow_provider_smartech.errors import (
    UploadFailed,
    UploadRowsRejected,
    UploadStatusUnrecognised,
    UploadStoreError,
    UploadTimeout,
)
from airflow_provider_smartech.metrics import METRICS
from airflow_provider_smartech.operators import HostedFile, SmartechBulkUploadOperator
from airflow_provider_smartech.plugin import MountedApp, SmartechPlugin
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from airflow_provider_smartech.tasks.submission import Submission
from airflow_provider_smartech.tasks.wait import Wait
from airflow_provider_smartech.triggers import Poll
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack, Upload, key_of, new_probe_id, new_upload_id
from tests.support.records import record
from tests.support.servers import AppServer, eventually, eventually_on_loop
from tests.support.statsd import StatsdServer, statsd
from tests.support.submissions import operator, submitted
from tests.support.tasks import FakeTaskInstance, run

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"
OF_UPLOAD = {"idc": "us", "dag_id": "dag", "task_id": "upload"}
WAITS = ("smartech.waits.under_way", f"smartech.waits.under_way.{hostname()}")


class Counted(SmartechBulkUploadOperator):
    """Knows how many rows its file has."""

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        return [replace(file, rows=3) for file in super().hosted(submission)]


class Twofold(SmartechBulkUploadOperator):
    """Uploads its file twice."""

    def hosted(self, submission: Submission) -> Sequence[HostedFile]:
        return [*super().hosted(submission)] * 2


@pytest.fixture
def server() -> Iterator[StatsdServer]:
    with statsd(AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED="True") as server:
        yield server


@pytest.fixture
def api_server(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The receiver as the plugin mounts it, and the setting that sends Smartech there."""
    mounted = SmartechPlugin.fastapi_apps[0]["app"]
    assert isinstance(mounted, MountedApp)
    # A new one, because it keeps the store of its first request.
    with AppServer(MountedApp(mounted.module, mounted.more)) as server:
        monkeypatch.setenv("AIRFLOW__SMARTECH__CALLBACK_BASE_URL", server.url)
        yield server.url


def created(store: UploadStore) -> str:
    """Record an upload and return its id."""
    upload_id = new_upload_id()
    store.create(record(key=str(key_of(upload_id))))
    return upload_id


@pytest.mark.parametrize("deferrable", [False, True])
def test_an_upload_counts_once_with_its_rows_and_its_time(
    server: StatsdServer, sandbox: SandboxServer, api_server: str, csv_url: str, deferrable: bool
) -> None:
    summary: dict[str, Any] = {}

    class Kept(FakeTaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            super().xcom_push(key, value)
            summary.update(value[0] if key == "summaries" else {})

    run(Counted(task_id="upload", path=csv_url, wait_for_completion=True, deferrable=deferrable), Kept())
    run(SmartechBulkUploadSensor(task_id="again", requestid=submitted(sandbox)[0]))
    eventually(lambda: {"smartech.rows.rejected", "smartech.pingbacks.completed"} <= server.names())
    # Task and receiver send at the same time.
    counters = [line for line in server.lines if line.name not in WAITS and line.kind == "c"]
    assert sorted(counters, key=lambda line: line.name) == [
        ("smartech.pingbacks.completed", {}, 1, "c"),
        ("smartech.rows.accepted", OF_UPLOAD, 3, "c"),
        ("smartech.rows.rejected", OF_UPLOAD, 0, "c"),
        ("smartech.rows.sent", OF_UPLOAD, 3, "c"),
        ("smartech.uploads.completed", OF_UPLOAD, 1, "c"),
        ("smartech.uploads.sent", OF_UPLOAD, 1, "c"),
    ]
    (took,) = (line for line in server.lines if line.kind == "ms")
    assert took[:2] == ("smartech.uploads.duration", OF_UPLOAD)
    assert took.value / 1000 == pytest.approx(summary["seconds"], abs=0.001)


@pytest.mark.parametrize(
    ("fault", "error", "state", "rejected"),
    [
        (Fault.STATUS_FAILED, UploadFailed, "failed", []),
        (Fault.STATUS_UNKNOWN, UploadStatusUnrecognised, "unrecognised", []),
        (Fault.ALL_ROWS_REJECTED, UploadRowsRejected, "failed", [3]),
    ],
)
def test_what_did_not_complete_counts_as_that_and_has_no_time(
    server: StatsdServer,
    sandbox: SandboxServer,
    api_server: str,
    csv_url: str,
    fault: Fault,
    error: type[Exception],
    state: str,
    rejected: list[int],
) -> None:
    sandbox.faults = frozenset({fault, Fault.NO_COUNTS} if not rejected else {fault})
    with pytest.raises(error):
        run(operator(csv_url, wait_for_completion=True))
    eventually(lambda: len(server.values("smartech.rows.rejected")) == len(rejected))
    assert server.values(f"smartech.uploads.{state}") == [1]
    assert server.values("smartech.rows.rejected") == rejected
    assert server.names() & {"smartech.uploads.duration", "smartech.uploads.completed"} == set()


def test_of_tasks_that_see_the_end_at_the_same_moment_one_counts_it(server: StatsdServer, store: UploadStore) -> None:
    key = str(key_of(created(store)))
    store.add_pingback(key, PingBack(payload={"status": "completed"}))
    seen = store.read(key)
    for _ in range(3):
        assert Wait(timedelta(seconds=1)).look(seen)
    assert len(store.read(key).conclusions) == 3
    eventually(lambda: "smartech.uploads.duration" in server.names())
    assert server.values("smartech.uploads.completed") == [1]


def test_a_look_that_failed_after_its_conclusion_counts_when_it_is_repeated(
    server: StatsdServer, store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = str(key_of(created(store)))
    store.add_pingback(key, PingBack(payload={"status": "completed"}))
    seen, wait, read = store.read(key), Wait(timedelta(seconds=5)), UploadStore.read
    failures = [UploadStoreError("connection reset")]

    def fails_once(*given: Any, **named: Any) -> Upload:
        if failures:
            raise failures.pop()
        return read(*given, **named)

    monkeypatch.setattr(UploadStore, "read", fails_once)
    assert wait.conclude(seen)
    assert len(store.read(key).conclusions) == 1
    eventually(lambda: "smartech.uploads.duration" in server.names())
    assert server.values("smartech.uploads.completed") == [1]


def test_a_retry_that_takes_an_earlier_upload_counts_nothing_again(
    server: StatsdServer, sandbox: SandboxServer, api_server: str, csv_url: str
) -> None:
    for try_number in (1, 2):
        run(operator(csv_url, wait_for_completion=True), FakeTaskInstance(try_number=try_number))
    eventually(lambda: "smartech.uploads.completed" in server.names())
    counted = {name: sum(server.values(f"smartech.uploads.{name}")) for name in ("sent", "completed")}
    assert counted == {"sent": 1, "completed": 1}


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_wait_that_times_out_counts_once(
    server: StatsdServer, sandbox: SandboxServer, api_server: str, csv_url: str, deferrable: bool
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    with pytest.raises(UploadTimeout):
        run(Twofold(task_id="upload", path=csv_url, wait_for_completion=True, deferrable=deferrable, timeout=0.2))
    eventually(lambda: "smartech.waits.timed_out" in server.names())
    assert server.values("smartech.uploads.sent") == [1, 1]
    assert [line for line in server.lines if line.name == "smartech.waits.timed_out"] == [
        ("smartech.waits.timed_out", OF_UPLOAD, 1, "c")
    ]
    if deferrable:
        eventually(lambda: server.values(WAITS[0])[-1:] == [0])


def test_the_waits_under_way_are_those_of_all_tasks_and_none_when_the_last_has_ended(
    server: StatsdServer, store: UploadStore
) -> None:
    keys = [str(key_of(created(store))) for _ in range(3)]

    async def wait() -> None:
        poll = Poll.shared()
        waits = [asyncio.create_task(poll.wait(two)) for two in (keys[:2], keys[1:])]
        await eventually_on_loop(lambda: 2 in server.values(WAITS[0]))
        for key in keys:
            await asyncio.to_thread(store.add_pingback, key, PingBack(payload={"status": "completed"}))
        await asyncio.gather(*waits)
        await eventually_on_loop(lambda: server.values(WAITS[1])[-1] == 0)

    asyncio.run(wait())
    for name in WAITS:
        assert set(server.values(name)) <= {0, 1, 2}
        assert server.values(name)[-1] == 0
    assert {(line.kind, *line.tags.items()) for line in server.lines} == {("g", ("hostname", hostname()))}


def test_a_number_of_waits_that_is_late_is_not_the_last_one(
    server: StatsdServer, store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server may delay one thread and not the other."""
    client, is_late, goes_on = stats(), Event(), Event()

    class SlowClient:
        def gauge(self, name: str, value: float, tags: dict[str, str]) -> None:
            if value:
                is_late.set()
                goes_on.wait(10)
            client.gauge(name, value, tags=tags)

    monkeypatch.setattr(metrics, "stats", SlowClient)

    async def wait_and_be_cancelled() -> None:
        waiting = asyncio.create_task(Poll.shared().wait([str(key_of(created(store)))]))
        await asyncio.to_thread(is_late.wait, 10)
        waiting.cancel()
        await asyncio.wait([waiting])
        # The other one is sent meanwhile, if it may be.
        await asyncio.to_thread(goes_on.wait, 0.3)
        goes_on.set()

    asyncio.run(wait_and_be_cancelled())
    eventually(lambda: 1 in server.values(WAITS[1]))
    eventually(lambda: server.values(WAITS[1])[-1] == 0)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({"status": "completed"}, "completed"),
        ({"status": "queued"}, "in_progress"),
        ({"status": "failed"}, "failed"),
        ({"status": "hibernating"}, "unrecognised"),
        ({}, "silent"),
    ],
)
def test_a_pingback_counts_by_what_it_says(
    server: StatsdServer, store: UploadStore, api_server: str, said: Any, verdict: str
) -> None:
    assert httpx.post(f"{api_server}/pingback/{created(store)}", json=said).is_success
    eventually(lambda: bool(server.lines))
    assert server.lines == [(f"smartech.pingbacks.{verdict}", {}, 1, "c")]


def test_calls_that_are_no_pingback_of_an_upload_do_not_count(
    server: StatsdServer, store: UploadStore, api_server: str
) -> None:
    probe_id = new_probe_id()
    store.create_probe(str(key_of(probe_id)))
    assert httpx.post(f"{api_server}/pingback/{probe_id}", json={"status": "completed"}).is_success
    assert httpx.post(f"{api_server}/pingback/{new_upload_id()}", json={"status": "completed"}).status_code == 404
    assert httpx.post(f"{api_server}/pingback/{created(store)}", json={"status": "failed"}).is_success
    eventually(lambda: bool(server.lines))
    assert server.names() == {"smartech.pingbacks.failed"}


def test_with_a_mistake_in_the_words_pingbacks_are_kept_all_the_same(
    server: StatsdServer, store: UploadStore, api_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "")
    upload_id = created(store)
    assert httpx.post(f"{api_server}/pingback/{upload_id}", json={"status": "completed"}).is_success
    assert len(store.read(str(key_of(upload_id))).pingbacks) == 1
    assert server.lines == []


def test_a_mistake_in_airflow_s_settings_of_metrics_fails_no_task(
    sandbox: SandboxServer, api_server: str, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with statsd(AIRFLOW__METRICS__STATSD_PORT="none"):
        run(operator(csv_url, wait_for_completion=True, deferrable=True))
    assert any(message.startswith("A metric is not sent: ") for message in caplog.messages)


def documented() -> dict[str, tuple[str, set[str]]]:
    """The kind and the tags of each metric in the documentation's table, by name."""
    rows = re.findall(r"^\| `(smartech\.[^`]+)` \| (\w+) \| ([^|]*)\|", DOCUMENTATION.read_text("utf-8"), re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", tags))) for name, kind, tags in rows}


def test_the_documentation_has_all_metrics_with_their_kinds_and_tags() -> None:
    known = {re.sub(r"{(\w+)}", r"<\1>", name): (one.kind, set(one.tags)) for name, one in METRICS.items()}
    assert documented() == known
