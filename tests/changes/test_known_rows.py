"""Looking rows up in what the last sync has sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_smartech.changes.hashing import Hashes
from airflow_provider_smartech.changes.known_rows import KnownRows

HIGHEST = 2**64 - 1


def hashes(*values: int) -> Hashes:
    return np.array(values, np.uint64)


def looked_up(known: KnownRows, keys: Sequence[int], lines: Sequence[int]) -> tuple[list[bool], list[bool]]:
    are_known, are_same = known.look_up(hashes(*keys), hashes(*lines))
    return are_known.tolist(), are_same.tolist()


@pytest.fixture
def known(tmp_path: Path) -> KnownRows:
    """Four rows, in several parts: their lines are ten times their keys."""
    blocks = [(hashes(0, 3), hashes(0, 30)), (hashes(), hashes()), (hashes(5, HIGHEST), hashes(50, 7))]
    return KnownRows(tmp_path, blocks)


def test_a_row_is_known_by_its_key_and_the_same_by_its_line(known: KnownRows) -> None:
    keys, lines = [HIGHEST, 5, 4, 0, HIGHEST - 1, 3, 6], [7, 51, 40, 0, 7, 30, 50]
    expected = [True, True, False, True, False, True, False], [True, False, False, True, False, True, False]
    assert looked_up(known, keys, lines) == expected
    assert (known.rows, known.count(hashes(*keys)), known.count(hashes())) == (4, 4, 0)


def test_a_key_below_or_above_all_that_are_known_is_not_known(tmp_path: Path) -> None:
    known = KnownRows(tmp_path, [(hashes(5), hashes(50))])
    assert looked_up(known, [0, 5, HIGHEST], [50, 50, 50]) == ([False, True, False], [False, True, False])


def test_a_row_in_doubt_is_known_but_never_the_same(known: KnownRows) -> None:
    known.doubt(hashes(3, 4))
    assert looked_up(known, [0, 3, 5], [0, 30, 50]) == ([True, True, True], [True, False, True])
    assert looked_up(known, [3], [31]) == ([True], [False])


def test_a_row_is_not_in_doubt_if_another_run_has_sent_the_same_line(known: KnownRows) -> None:
    known.doubt(hashes(0, 3, 4, 5), hashes(0, 31, 40, 51))
    assert looked_up(known, [0, 3, 5], [0, 30, 50]) == ([True, True, True], [True, False, False])
    # A doubt stays.
    known.doubt(hashes(3), hashes(30))
    assert looked_up(known, [3], [30]) == ([True], [False])


@pytest.mark.parametrize("blocks", [(), [(hashes(), hashes())]])
def test_without_a_last_sync_nothing_is_known(tmp_path: Path, blocks: list[tuple[Hashes, Hashes]]) -> None:
    known = KnownRows(tmp_path, blocks)
    known.doubt(hashes(1, 2))
    known.doubt(hashes(1, 2), hashes(1, 2))
    assert looked_up(known, [0, 1], [0, 1]) == ([False, False], [False, False])
    assert (known.rows, known.count(hashes(0, 1))) == (0, 0)
