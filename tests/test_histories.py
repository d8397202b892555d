"""The promises, in histories that nobody thought of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories.machine import History
from tests.histories.world import World

HISTORIES = 200
STEPS = 20


@pytest.fixture
def world() -> Iterator[None]:
    with World() as History.world:
        yield


@pytest.mark.usefixtures("world")
def test_every_promise_holds_in_every_history() -> None:
    checks = settings(
        max_examples=HISTORIES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(1)(History), settings=checks)
