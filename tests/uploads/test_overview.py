"""What one line of a list says of an upload, and its time line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.uploads.overview import ADVICE, MEANINGS, NEED_ATTENTION, UNREADABLE, Overview, events
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, Handover, Record, State
from tests.uploads.conftest import BEGAN, task


@pytest.mark.parametrize(
    ("payloads", "fields", "state", "seconds", "rows"),
    [
        (({"status": "completed", "total": 5},), {}, "completed", 60, 5),
        (({"status": "completed", "total": 5},), {"rows": 6}, "completed", 60, 6),
        (({"status": "processing"}, {"status": "failed"}), {}, "failed", 120, None),
        (({"status": "completed", "accepted": 5},), {}, "completed", 60, None),
        (({"status": "hibernating"},), {}, "unrecognised", 60, None),
        ((), {"answer": "not accepted"}, "not accepted", None, None),
        ((), {"tracked": False}, "accepted", None, None),
    ],
)
def test_a_line_says_how_it_ended_how_long_that_took_and_how_many_rows(
    store: UploadStore,
    settings: Settings,
    submit: Callable[..., str],
    payloads: tuple[Any, ...],
    fields: dict[str, Any],
    state: str,
    seconds: float | None,
    rows: int | None,
) -> None:
    overview = Overview.of(store.read(submit(0, *payloads, **fields)), settings.statuses)
    assert (overview.state, overview.seconds, overview.rows) == (state, seconds, rows)
    assert (overview.file, overview.listid, overview.submitted_at) == ("0.csv", 33, BEGAN)


@pytest.mark.parametrize(
    ("payloads", "fields", "numbers", "remarks"),
    [
        (({"status": "completed"},), {}, (None, None, None), []),
        (({"status": "completed"},), {"rows": 9}, (9, None, None), []),
        (({"status": "completed", "total": 9, "rejected": 2},), {}, (9, 7, 2), ["with rejected rows"]),
        (({"status": "completed", "accepted": 7},), {"rows": 9}, (9, 7, 2), ["with rejected rows"]),
        (({"status": "completed", "accepted": 0},), {"rows": 9}, (9, 0, 9), []),
        (({"status": "completed", "rejected": 2}, {"status": "failed"}), {"rows": 9}, (9, 7, 2), ["contradicted"]),
        (({"status": "completed"}, {"status": "queued"}, ""), {}, (None, None, None), []),
    ],
)
def test_a_line_says_what_became_of_the_rows_and_what_does_not_fit_together(
    store: UploadStore,
    settings: Settings,
    submit: Callable[..., str],
    payloads: tuple[Any, ...],
    fields: dict[str, Any],
    numbers: tuple[int | None, int | None, int | None],
    remarks: list[str],
) -> None:
    overview = Overview.of(store.read(submit(0, *payloads, **fields, account_name="retail")), settings.statuses)
    assert (overview.rows, overview.accepted, overview.rejected) == numbers
    assert overview.remarks == remarks
    assert overview.account == "retail"


def test_a_line_says_of_how_many_rows_of_a_query_the_file_has_those_that_changed(
    store: UploadStore, settings: Settings, submit: Callable[..., str]
) -> None:
    for number, fields in enumerate(({"rows": 10, "of_rows": 1000}, {"rows": 10}, {})):
        overview = Overview.of(store.read(submit(number, **fields)), settings.statuses)
        assert (overview.rows, overview.of_rows) == (fields.get("rows"), fields.get("of_rows"))


def test_a_line_names_the_connection_and_a_requestid_only_if_smartech_gave_one(
    store: UploadStore, settings: Settings, submit: Callable[..., str]
) -> None:
    accepted, unknown = submit(0, smartech_conn_id="retail"), submit(1, answer="unknown")
    # A retry that found it accepted although the answer was lost.
    lost = submit(2, answer="unknown")
    store.answered(lost, Answer(outcome="accepted", requestid=lost))
    overviews = [Overview.of(store.read(key), settings.statuses) for key in (accepted, unknown, lost)]
    overviews.append(Overview.unreadable(unknown))
    assert [(line.requestid, line.key, line.smartech_conn_id) for line in overviews] == [
        ("r0", accepted, "retail"),
        (None, unknown, "c"),
        (None, lost, "c"),
        (None, unknown, None),
    ]


def test_every_state_has_a_meaning_that_fits_into_a_line() -> None:
    assert list(MEANINGS) == [*State, UNREADABLE]
    assert {*ADVICE, *NEED_ATTENTION} <= set(MEANINGS)
    assert max(map(len, MEANINGS.values())) <= 60


def test_a_wait_that_goes_on_is_counted_until_now(
    store: UploadStore, settings: Settings, submit: Callable[..., str]
) -> None:
    overview = Overview.of(store.read(submit(0)), settings.statuses)
    assert overview.ended_at is None
    assert overview.seconds == pytest.approx((datetime.now(UTC) - BEGAN).total_seconds(), abs=60)


@pytest.mark.parametrize(
    ("outcome", "what"), [("not accepted", "Smartech did not accept it: why"), ("unknown", "no clear answer came: why")]
)
def test_the_time_line_says_why_it_was_not_accepted(
    store: UploadStore, settings: Settings, outcome: Any, what: str
) -> None:
    key = f"{BEGAN:%Y%m%dT%H%M%S}-{0:040x}"
    store.create(Record(key=key, path="https://x.example.com/y.csv", smartech_conn_id="c", tracked=True))
    store.answered(key, Answer.failed(outcome, "why", []))
    assert [event.what for event in events(store.read(key), settings.statuses)][1] == what


def test_the_time_line_tells_what_happened_in_order(
    store: UploadStore, settings: Settings, submit: Callable[..., str]
) -> None:
    key = submit(0, {"status": "processing"}, {"status": "completed"}, {"status": "completed", "again": 1})
    store.handed_over(key, Handover(at=BEGAN + timedelta(hours=1), reason="handed over", task=task()))
    happened = events(store.read(key), settings.statuses)
    assert [event.what for event in happened] == [
        "record written, request about to be sent",
        "Smartech accepted it as r0",
        "ping-back: in progress",
        "ping-back: completed",
        "ping-back: completed",
        "completed",
        "the submitting task handed over the requestid",
    ]
    assert [event.payload for event in happened if event.reading][1] == {"status": "completed"}
    assert [event.at for event in happened] == sorted(event.at for event in happened)
