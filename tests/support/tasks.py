"""Running operators and sensors as Airflow's worker and triggerer do, without a scheduler."""

from __future__ import annotations

import asyncio
import importlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.triggers.base import BaseTrigger


class FakeOutletEvents(OutletEventAccessors):
    """The part of a task's outlet events that asks Airflow which assets it knows: all of them, or none."""

    def __init__(self, knows_assets: bool = True) -> None:
        super().__init__()
        self._knows_assets = knows_assets

    def _get_asset_from_db(self, name: str | None = None, uri: str | None = None) -> Asset:  # type: ignore[override]
        if not self._knows_assets:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.ASSET_NOT_FOUND))
        # The one that has a name of its own.
        return Asset(uri) if uri else Asset(name=name or "", uri="smartech://us/33")


@dataclass
class FakeTaskInstance:
    """The part of a task instance that this provider uses; a real one needs a running Airflow."""

    task_id: str = "upload"
    try_number: int = 1
    max_tries: int = 2
    map_index: int | None = None
    dag_id: str = "dag"
    run_id: str = "run"
    run_started: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    # Airflow counts here how often any task of the run was cleared.
    clear_number: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)
    outlet_events: FakeOutletEvents = field(default_factory=FakeOutletEvents)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = as_jsonb(json.loads(json.dumps(value)))

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int | None) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)


def as_jsonb(value: Any) -> Any:
    """Return a JSON value as PostgreSQL keeps it: the names of an object by their length and then their letters."""
    if isinstance(value, list):
        return [as_jsonb(item) for item in value]
    if isinstance(value, dict):
        return {name: as_jsonb(value[name]) for name in sorted(value, key=lambda name: (len(name), name))}
    return value


def context(ti: FakeTaskInstance | None = None) -> Context:
    ti = ti or FakeTaskInstance()
    dag_run = SimpleNamespace(start_date=ti.run_started, clear_number=ti.clear_number)
    return cast("Context", {"ti": ti, "dag_run": dag_run, "outlet_events": ti.outlet_events})


def run(task: BaseOperator, ti: FakeTaskInstance | None = None) -> Any:
    """Execute a task to its end, its deferred wait included."""
    ti = ti or FakeTaskInstance()
    method, arguments = "execute", dict[str, Any]()
    while True:
        try:
            return _call(task, method, arguments, context(ti))
        except TaskDeferred as deferred:
            event = run_trigger(rebuilt(deferred.trigger))
            method, arguments = deferred.method_name, {**(deferred.kwargs or {}), "event": event}


def _call(task: BaseOperator, method: str, arguments: dict[str, Any], context: Context) -> Any:
    return task.execute(context) if method == "execute" else task.resume_execution(method, arguments, context)


def rebuilt(trigger: BaseTrigger) -> BaseTrigger:
    """Return the trigger as another process makes it, from what was serialized."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    made = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert isinstance(made, BaseTrigger)
    return made


def run_trigger(trigger: BaseTrigger) -> Any:
    """Run one trigger on an event loop of its own and return the payload of its event."""
    return asyncio.run(first_event(trigger))


async def first_event(trigger: BaseTrigger) -> Any:
    async for event in trigger.run():
        return json.loads(json.dumps(event.payload))
    raise AssertionError("the trigger ended without an event")
