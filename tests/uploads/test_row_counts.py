"""How many rows were loaded, by whatever a ping-back names."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_smartech.uploads.row_counts import (
    Rows,
    checked_max_rejected,
    counts,
    number,
)


@pytest.mark.parametrize(
    ("payload", "sent", "expected"),
    [
        # Nothing is named.
        ({}, None, (None, None, None)),
        ({}, 10, (10, None, None)),
        ("completed", 10, (10, None, None)),
        ({"mobile": 919812345678, "listid": 33}, None, (None, None, None)),
        # One number is.
        ({"total": 10}, None, (10, None, None)),
        ({"total": 10}, 10, (10, None, None)),
        ({"accepted": 7}, None, (None, 7, None)),
        ({"accepted": 7}, 10, (10, 7, 3)),
        ({"accepted": 0}, None, (None, 0, None)),
        ({"rejected": 3}, None, (None, None, 3)),
        ({"rejected": 3}, 10, (10, 7, 3)),
        ({"rejected": 0}, None, (None, None, 0)),
        ({"rejected": 0}, 10, (10, 10, 0)),
        # Several are.
        ({"total": 10, "accepted": 7}, None, (10, 7, 3)),
        ({"total": 10, "rejected": 3}, None, (10, 7, 3)),
        ({"accepted": 7, "rejected": 3}, None, (10, 7, 3)),
        ({"accepted": 7, "rejected": 3}, 10, (10, 7, 3)),
        ({"total": 10, "accepted": 7, "rejected": 3}, None, (10, 7, 3)),
        ({"total": 10, "accepted": 10, "rejected": 0}, 10, (10, 10, 0)),
        # They do not fit together: the worse counts.
        ({"total": 10, "accepted": 7, "rejected": 1}, None, (10, 7, 3)),
        ({"total": 10, "accepted": 10, "rejected": 2}, None, (10, 10, 2)),
        ({"total": 10, "accepted": 12}, None, (10, 12, 0)),
        ({"rejected": 12}, 10, (10, 0, 12)),
        # Rows that were sent, and of which the ping-back does not speak.
        ({"total": 6}, 10, (10, 6, 4)),
        ({"total": 6, "accepted": 6}, 10, (10, 6, 4)),
        ({"total": 6, "accepted": 5, "rejected": 1}, 10, (10, 5, 5)),
        ({"total": 6, "rejected": 1}, 10, (10, 5, 5)),
        ({"total": 12, "accepted": 10, "rejected": 0}, 10, (10, 10, 0)),
        # Several names may mean the same rows, and a number may be of something else than the file.
        ({"total": 100, "accepted": 95, "failed": 5, "invalid": 5}, 100, (100, 95, 5)),
        ({"total": 100, "processed": 95, "accepted": 95, "failed": 5}, 100, (100, 95, 5)),
        ({"count": 1, "data": {"total": 100, "accepted": 100}}, 100, (100, 100, 0)),
        # Duplicates may be left out of the total.
        ({"total": 90, "accepted": 90, "duplicates": 10}, 100, (100, 90, 0)),
        ({"total": 90, "accepted": 90, "duplicates": 5}, 100, (100, 90, 10)),
        # Duplicates are not rejected, and rows without a change may be in no part.
        ({"total": 10, "accepted": 7, "duplicates": 3}, None, (10, 7, 0)),
        ({"total": 10, "accepted": 7, "duplicates": 3, "rejected": 1}, None, (10, 7, 1)),
        ({"added": 4, "updated": 3}, 10, (10, None, None)),
        ({"added": 0, "updated": 0, "unchanged": 10, "failed": 0}, 10, (10, 10, 0)),
        ({"inserted": 4, "updated": 3, "failed": 2}, 10, (10, 8, 2)),
        ({"success": 5, "added": 4, "updated": 3}, 10, (10, 5, 5)),
        # Several kinds of rejected rows add up.
        ({"total": 10, "failed": 2, "invalid": 3}, None, (10, 5, 5)),
        # One number is named twice and differently.
        ({"job": [{"total": 10}, {"total": 8}]}, None, (8, None, None)),
        # Two totals are two counts.
        ({"total": 10, "processed": 6, "accepted": 6}, None, (10, 6, 4)),
        ({"total": 10, "processed": 6}, None, (10, 6, 4)),
        ({"total": 10, "job": {"accepted": 7, "data": {"accepted": 5}}}, None, (10, 5, 5)),
        ({"total": 10, "accepted": 7, "uploaded": 5}, None, (10, 5, 5)),
        ({"total": 10, "job": [{"rejected": 1}, {"rejected": 3}]}, None, (10, 6, 4)),
        # Elements of a list are of different rows, also where they say the same number.
        ({"job": [{"rejected": 2}, {"rejected": 2}]}, 10, (10, 6, 4)),
        ({"rejected": 4, "job": [{"rejected": 2}, {"rejected": 2}]}, 10, (10, 6, 4)),
        ([{"total": 10, "rejected": 3}, {"total": "10", "rejected": "3"}], None, (10, 7, 3)),
        # Other ways to write them.
        ({"accepted": "1,00,000", "total": "2,00,000"}, 200_000, (200_000, 100_000, 100_000)),
        ({"failed_records": 10, "success_records": 0}, 10, (10, 0, 10)),
        ({"total_failed": 4, "invalid_contacts": 1}, 10, (10, 5, 5)),
        ({"total": 10, "processed": 2}, 10, (10, 2, 8)),
        ({"data": '{"failed": 10, "total": 10}'}, 10, (10, 0, 10)),
        ({"success": 1}, 10, (10, None, None)),
        ({"success": 1, "failed": 9}, 10, (10, 1, 9)),
        ({"Total-Count": "1,200", "success_count": "1,000", "failedCount": "200"}, None, (1200, 1000, 200)),
        ({"unsuccessful": 2}, 10, (10, 8, 2)),
        ({"accepted": 8, "not_loaded": 2}, None, (10, 8, 2)),
        ({"total": 5.0, "accepted": "5."}, None, (5, 5, 0)),
        ({"total": " 5 ", "accepted": "04"}, None, (5, 4, 1)),
        ({"rejected": {"count": 5}}, 10, (10, 5, 5)),
        ({"counts": {"rejected": {"count": 5}, "accepted": {"count": 7}, "count": 12}}, None, (12, 7, 5)),
        ({"errors": {"total": 5}}, 10, (10, 5, 5)),
        # What is no number of rows.
        ({"total": True, "accepted": False, "rejected": "all"}, 10, (10, None, None)),
        ({"total": "1.000", "rejected": "1.000"}, 1_000, (1_000, None, None)),
        ({"total": -1, "accepted": 1.5, "rejected": "1e3"}, 10, (10, None, None)),
        ({"errors": ["x"], "rejected": None}, 10, (10, None, None)),
    ],
)
def test_rows_are_read_from_whatever_is_named(
    payload: Any, sent: int | None, expected: tuple[int | None, int | None, int | None]
) -> None:
    rows = Rows.of(payload, sent)
    assert (rows.total, rows.accepted, rows.rejected) == expected


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        *[(0, 0), ("0", 0), (12, 12), ("12", 12), ("1,200", 1200), ("1,234,567", 1234567), (5.0, 5), ("5.00", 5)],
        *[("12,00", None), ("1,2", None), (True, None), (None, None), ("", None), (-5, None), (1.5, None)],
        *[("9" * 16, None), ("٣", None), ([5], None)],
    ],
)
def test_a_number_of_rows_is_told_from_what_is_none(value: Any, rows: int | None) -> None:
    assert number(value) == rows


def test_counts_are_kept_by_the_pingback_s_own_names() -> None:
    assert counts([{"Rejected": {"count": "5"}, "Total_Count": "1,200"}, {"failed": 2}]) == {
        "count": 5,
        "Total_Count": 1200,
        "failed": 2,
    }


@pytest.mark.parametrize(
    ("rows", "max_rejected", "exceeds"),
    [
        ((10, 5, 5), None, False),
        ((10, 5, 5), 5, False),
        ((10, 5, 5), 4, True),
        ((10, 5, 5), 0, True),
        ((10, 5, 5), 0.5, False),
        ((10, 5, 5), 0.49, True),
        ((10, 10, 0), 0, False),
        ((10, 10, 0), 0.0, False),
        ((10, 9, 1), 0.0, True),
        ((100, 0, 100), 1.0, False),
        ((100, 0, 100), 1, True),
        ((None, None, 1), 0.5, True),
        ((None, None, 1), 1, False),
        ((None, None, None), 0, False),
        ((10, None, None), 0.0, False),
    ],
)
def test_a_limit_is_a_number_of_rows_or_a_share_of_them(
    rows: tuple[int | None, int | None, int | None], max_rejected: float | None, exceeds: bool
) -> None:
    total, accepted, rejected = rows
    assert Rows(total=total, accepted=accepted, rejected=rejected).exceed(max_rejected) is exceeds


@pytest.mark.parametrize(
    ("payload", "sent", "none"),
    [
        ({"accepted": 0}, None, True),
        ({"accepted": 0}, 10, True),
        ({"total": 10, "rejected": 10}, None, True),
        ({"rejected": 10}, 10, True),
        ({"total": 0}, 10, True),
        ({"accepted": 1, "rejected": 9}, 10, False),
        ({"accepted": 0, "total": 0}, None, True),
        ({"accepted": 0, "total": 0}, 0, False),
        ({"rejected": 10}, None, False),
        ({}, 10, False),
    ],
)
def test_none_is_accepted_only_if_there_were_rows_and_that_is_sure(payload: Any, sent: int | None, none: bool) -> None:
    assert Rows.of(payload, sent).none_accepted(sent) is none


def test_the_worst_of_several_pingbacks_counts() -> None:
    several = [Rows(total=10, accepted=9, rejected=1), Rows(total=8), Rows(accepted=7), Rows(rejected=2)]
    assert Rows.worst(several) == Rows(total=10, accepted=7, rejected=2)
    assert Rows.worst([]) == Rows.worst([Rows(), Rows()]) == Rows()


@pytest.mark.parametrize("given", [None, 0, 100, 0.0, 0.01, 1.0])
def test_a_limit_stays_as_it_is_given(given: float | None) -> None:
    assert checked_max_rejected(given) is given


@pytest.mark.parametrize("wrong", [-1, -0.1, 1.01, 100.0, float("nan"), True, "5", [5]])
def test_what_is_no_limit_is_an_error(wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_rejected must be"):
        checked_max_rejected(wrong)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (Rows(), "its ping-back has no row counts"),
        (Rows(total=10), "its ping-back has no row counts"),
        (Rows(total=1200, accepted=1000, rejected=200), "1,000 accepted, 200 rejected of 1,200 rows"),
        (Rows(rejected=2), "2 rejected rows"),
    ],
)
def test_rows_are_said_as_people_read_them(rows: Rows, said: str) -> None:
    assert str(rows) == said


few = st.integers(0, 20)
TOTALS, ACCEPTED, DUPLICATES = (
    ("total", "count", "processed", "rows"),
    ("accepted", "success", "uploaded"),
    ("duplicates",),
)
REJECTED = ("failed", "rejected", "errors", "invalid", "failed_records")
CHANGED = ("added", "updated")

named = st.dictionaries(st.sampled_from([*TOTALS, *ACCEPTED, *CHANGED, *DUPLICATES, *REJECTED]), few)
payloads = named | st.lists(named, max_size=3).map(lambda several: {"jobs": several})
sent = st.none() | few
limits = st.none() | few | st.floats(0, 1)


def is_bad(rows: Rows, sent: int | None, limit: float | None) -> bool:
    return rows.none_accepted(sent) or rows.exceed(limit)


@given(payloads, sent)
def test_no_fewer_rows_are_rejected_than_any_number_that_is_named_says(payload: Any, sent: int | None) -> None:
    parts = payload.get("jobs", [payload]) if isinstance(payload.get("jobs", []), list) else [payload]
    for part in parts:
        for name, value in part.items():
            if name in REJECTED and value:
                assert (Rows.of(payload, sent).rejected or 0) >= value


@given(payloads, sent, st.sampled_from(REJECTED), limits)
def test_a_rejected_row_more_never_makes_it_better(
    payload: dict[str, Any], sent: int | None, name: str, limit: float | None
) -> None:
    before = Rows.of(payload, sent)
    after = Rows.of({"one": payload, "more": {name: sum_of(payload, name) + 1}}, sent)
    assert (after.rejected or 0) >= (before.rejected or 0)
    assert is_bad(after, sent, limit) >= is_bad(before, sent, limit)


def sum_of(payload: dict[str, Any], name: str) -> int:
    """What a payload names by one name, in all."""
    return sum(part.get(name, 0) for part in payload.get("jobs", [payload]))


@example({"jobs": [{"total": 2, "duplicates": 2}]}, 3, 0)
@given(payloads, st.integers(1, 20), limits)
def test_an_accepted_row_less_never_makes_it_better(payload: dict[str, Any], sent: int, limit: float | None) -> None:
    accepted = Rows.of(payload, sent).accepted
    if accepted:
        fewer = Rows.of([payload, {"accepted": accepted - 1}], sent)
        assert is_bad(fewer, sent, limit) >= is_bad(Rows.of(payload, sent), sent, limit)


def test_counts_are_the_numbers_of_contacts_under_their_own_names() -> None:
    payload = {"total": 10, "Rejected": "2", "status": "completed", "mobile": 919812345678, "listid": 3, "errors": []}
    assert counts(payload) == {"total": 10, "Rejected": 2}
