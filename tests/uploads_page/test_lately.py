"""What the line on top of the list counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.uploads.listing import Listing
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads_page import lately as counting
from airflow_provider_smartech.uploads_page.lately import lately
from tests.uploads.conftest import BEGAN, submitting, task

NOW = BEGAN + timedelta(hours=30)
# More than a day before and less than a day before, in minutes after BEGAN.
LONG_AGO, LATELY = 60, 8 * 60


@pytest.fixture
def submit(store: UploadStore) -> Callable[..., str]:
    return submitting(store)


@pytest.fixture
def counts(store: UploadStore, settings: Settings) -> Callable[..., Any]:
    """Count what the store has, at that time."""

    def counted(may_see: Callable[[Any], bool] = lambda upload: True, seconds: float = 60.0) -> Any:
        with time_machine.travel(NOW):
            return lately(Listing(store, settings.statuses, may_see), seconds)

    return counted


def test_what_was_submitted_in_the_last_day_is_counted_by_what_became_of_it(
    counts: Callable[..., Any], submit: Callable[..., str]
) -> None:
    for minute in (LONG_AGO, LATELY):
        submit(minute)
        submit(minute + 1, {"status": "started"})
        submit(minute + 2, {"status": "failed"})
        submit(minute + 3, {"status": "completed"})
        submit(minute + 4, answer="not accepted")
        # No ping-back can come for it.
        submit(minute + 5, tracked=False)
        submit(minute + 6, {"status": "started"})
    found = counts()
    assert found.counts == {"waiting": 3, "failed": 1, "unrecognised": 0, "not accepted": 1}
    assert found.is_all


def test_what_the_reader_may_not_see_is_not_counted(counts: Callable[..., Any], submit: Callable[..., str]) -> None:
    submit(LATELY, {"status": "failed"})
    submit(LATELY + 1, {"status": "failed"}, task=task(dag_id="secret"))
    assert counts(lambda upload: upload.task.dag_id != "secret").counts["failed"] == 1


def test_those_that_have_completed_are_not_read(
    store: UploadStore,
    settings: Settings,
    counts: Callable[..., Any],
    submit: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = [submit(LATELY + minute, {"status": "completed" if minute else "failed"}) for minute in range(9)]
    for key in kept:
        store.ended(store.read(key), settings.statuses)
    read, reading = list[str](), UploadStore.read_listed

    def noting(self: UploadStore, key: str, names: Any) -> Any:
        read.append(key)
        return reading(self, key, names)

    monkeypatch.setattr(UploadStore, "read_listed", noting)
    assert counts().counts["failed"] == 1
    assert read == kept[:1]


def test_of_too_many_only_the_newest_are_looked_at_and_it_is_said(
    counts: Callable[..., Any], submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(5):
        submit(LATELY + minute, {"status": "failed"})
    monkeypatch.setattr(counting, "MOST", 3)
    found = counts()
    assert (found.counts["failed"], found.is_all) == (3, False)
    monkeypatch.setattr(counting, "MOST", 5)
    assert counts().is_all
    # The time is over after the first round of readers.
    monkeypatch.setattr(counting, "READER_THREADS", 2)
    found = counts(seconds=0)
    assert (found.counts["failed"], found.is_all) == (2, False)
