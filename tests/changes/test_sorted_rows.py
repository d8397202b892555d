"""Sorting the hashes of rows by their keys, in several runs on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from airflow_provider_smartech.changes import sorted_rows
from airflow_provider_smartech.changes.sorted_rows import SortedRows

HIGHEST = 2**64 - 1


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_rows, "ROWS_AT_ONCE", 100)


def merged(folder: Path, keys: list[int], at_once: int = 30) -> tuple[list[int], list[int], SortedRows]:
    """Sort rows whose lines are their places, added some at a time; gives keys and lines."""
    rows = SortedRows(folder)
    for start in range(0, len(keys), at_once):
        some = np.array(keys[start : start + at_once], np.uint64)
        rows.add(some, np.arange(start, start + len(some), dtype=np.uint64))
    blocks = list(rows.merged())
    assert all(0 < len(block[0]) <= 200 for block in blocks)
    return (
        [key for block in blocks for key in block[0].tolist()],
        [line for block in blocks for line in block[1].tolist()],
        rows,
    )


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 1000, 3777])
def test_all_rows_come_out_once_in_the_order_of_their_keys(tmp_path: Path, number: int) -> None:
    given = np.random.default_rng(number).integers(0, HIGHEST, number, np.uint64, endpoint=True).tolist()
    keys, lines, rows = merged(tmp_path, given)
    assert keys == sorted(given)
    assert dict(zip(keys, lines, strict=True)) == {key: place for place, key in enumerate(given)}
    assert rows.repeated == 0


@pytest.mark.parametrize("different", [1, 2, 7, 500])
def test_of_rows_with_the_same_key_one_comes_out_and_its_line_is_none_of_theirs(tmp_path: Path, different: int) -> None:
    random = np.random.default_rng(different)
    some = random.integers(0, HIGHEST, different, np.uint64, endpoint=True)
    given = random.choice(some, 1000).tolist()
    keys, lines, rows = merged(tmp_path, given)
    last = {key: place for place, key in enumerate(given)}
    assert keys == sorted(last)
    for key, line in zip(keys, lines, strict=True):
        assert (line == last[key]) == (given.count(key) == 1)
        assert line < 1000 or given.count(key) > 1
    assert rows.repeated == 1000 - len(last)


def test_keys_that_lie_close_together_leave_no_empty_block(tmp_path: Path) -> None:
    given = [2**63 + number % 50 for number in range(1000)]
    keys, _, rows = merged(tmp_path, given)
    assert (keys, rows.repeated) == (sorted(set(given)), 950)


def test_the_lowest_and_the_highest_key_are_not_lost(tmp_path: Path) -> None:
    given = [HIGHEST, 0, 2**63, *range(2**63 - 100, 2**63 + 200), HIGHEST, 0]
    keys, _, rows = merged(tmp_path, given, 7)
    assert keys == sorted(set(given))
    assert rows.repeated == 3
