"""A short soak: random faults and kills, and all sides agree."""

from __future__ import annotations

import pytest

from cluster.nights import SYNCS
from cluster.reconciliation import CAUGHT_UP, summary, summary_of_nights
from cluster.soak import Soak
from tests.cluster.conftest import World

pytestmark = pytest.mark.airflow

UPLOADS = 16
SEED = 20261


def test_after_random_faults_and_kills_every_upload_is_accounted_for(world: World) -> None:
    world.tell_sandbox("release")
    soak = Soak(world.cluster, world.s3, world.hosted, world.url, SEED, print)
    accounts, nights = soak.run(UPLOADS)
    assert [text for account in accounts for text in account.differences()] == [], summary(accounts)
    without_fault = [account.state for account in accounts if not account.fault]
    # A task may run out of retries when it is killed with its worker again and again.
    assert without_fault.count("success") >= 0.8 * len(without_fault), summary(accounts)
    assert [f"{night.name}: {text}" for night in nights for text in night.differences()] == []
    # A random night, and the two calm ones. Syncs that died before their new base were taken up in the next night.
    assert len(nights) >= 3 * SYNCS
    assert any(CAUGHT_UP in night.log for night in nights), summary_of_nights(nights)
