"""The promises, in histories that nobody thought of."""

from __future__ import annotations

import pytest

from tests.histories.__main__ import run

pytestmark = pytest.mark.once


# A process that dies closes no connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_promise_holds_in_every_history() -> None:
    """A few hundred histories from one seed; ``make simulate`` runs more of them, from a new one."""
    seen = run(100, 1)
    assert seen["try green"] > 50
    assert seen["try with an upload to take"] > 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_sync_that_completes_leaves_the_query_s_rows_in_smartech_in_every_history() -> None:
    seen = run(25, 1, of_syncs=True)
    assert seen["sync that left rows out"] > 5
    assert seen["sync that sent nothing"] > 1
    assert seen["loaded late"] > 1
