"""Metrics, through Airflow's own ``Stats``: to StatsD, Datadog or OpenTelemetry, as ``[metrics]`` of Airflow says.

One function for each thing that happens. None of them raises, but each may wait for a name server: call none of them in
an event loop. No name or tag holds a requestid, a key, a URL or the id of a DAG run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from airflow_provider_smartech.airflow_compat import hostname, stats
from airflow_provider_smartech.uploads.statuses import Verdict
from airflow_provider_smartech.uploads.upload import Progress, Record, State, Upload

log = logging.getLogger(__name__)

_METHODS = {"counter": "incr", "gauge": "gauge", "timer": "timing"}

# Of the upload, and of the task that sent it.
_OF_UPLOAD = ("idc", "dag_id", "task_id")


@dataclass(frozen=True)
class Metric:
    """What a metric is, and the names of its tags; StatsD as Airflow has it by default drops the tags."""

    kind: Literal["counter", "gauge", "timer"]
    tags: tuple[str, ...] = ()


METRICS = {
    "smartech.uploads.sent": Metric("counter", _OF_UPLOAD),
    "smartech.uploads.{state}": Metric("counter", _OF_UPLOAD),
    "smartech.uploads.duration": Metric("timer", _OF_UPLOAD),
    "smartech.rows.sent": Metric("counter", _OF_UPLOAD),
    "smartech.rows.accepted": Metric("counter", _OF_UPLOAD),
    "smartech.rows.rejected": Metric("counter", _OF_UPLOAD),
    "smartech.pingbacks.{verdict}": Metric("counter"),
    "smartech.waits.under_way": Metric("gauge", ("hostname",)),
    "smartech.waits.under_way.{hostname}": Metric("gauge", ("hostname",)),
    "smartech.waits.timed_out": Metric("counter", _OF_UPLOAD),
}
"""All metrics by name; docs/reference/metrics.md says what they mean."""


@contextmanager
def _quietly() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a mistake in [metrics] must fail no task, and lose no ping-back
        log.warning("A metric is not sent: %s: %s", type(error).__name__, error)


@_quietly()
def pingback_kept(verdict: Verdict) -> None:
    """The receiver in Airflow's API server has stored a ping-back."""
    _send("smartech.pingbacks.{verdict}", 1, verdict=verdict.slug)


@_quietly()
def upload_sent(record: Record) -> None:
    """Smartech has accepted an upload."""
    tags = _tags(record)
    _send("smartech.uploads.sent", 1, tags)
    if record.rows is not None:
        _send("smartech.rows.sent", record.rows, tags)


@_quietly()
def upload_ended(upload: Upload, progress: Progress) -> None:
    """A task has acted on the end of an upload, as the first one."""
    tags = _tags(upload.record)
    _send("smartech.uploads.{state}", 1, tags, state=progress.state.value)
    if progress.state is State.COMPLETED:
        _send("smartech.uploads.duration", upload.took(progress), tags)
    for what in ("accepted", "rejected"):
        rows = getattr(progress.rows, what)
        if rows is not None:
            _send(f"smartech.rows.{what}", rows, tags)


@_quietly()
def waits_under_way(waits: int) -> None:
    """So many deferred tasks wait in this triggerer."""
    for name in ("smartech.waits.under_way", "smartech.waits.under_way.{hostname}"):
        _send(name, waits, {"hostname": hostname()}, hostname=hostname())


@_quietly()
def wait_timed_out(record: Record) -> None:
    """A task has waited for an upload for as long as it may."""
    _send("smartech.waits.timed_out", 1, _tags(record))


def _tags(record: Record) -> dict[str, str]:
    task = record.task
    found = {"idc": record.idc, "dag_id": task and task.dag_id, "task_id": task and task.task_id}
    return {name: value for name, value in found.items() if value}


def _send(name: str, value: float | timedelta, tags: Mapping[str, str] | None = None, **parts: str) -> None:
    send = getattr(stats(), _METHODS[METRICS[name].kind])
    send(name.format(**parts), value, tags=dict(tags or {}))
