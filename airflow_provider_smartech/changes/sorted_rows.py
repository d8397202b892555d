"""Sorts the hashes of any number of rows by their keys, with constant memory: on this worker's disk."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from airflow_provider_smartech.changes.hashing import Hashes

# How many rows are in memory at once: 16 bytes each, and about three times as much while they are sorted.
ROWS_AT_ONCE = 1 << 18


class SortedRows:
    """The hashes of a query's rows.

    Each run of ``ROWS_AT_ONCE`` rows is sorted and put on the disk. At the end the runs are merged, one range of keys
    after the other: hashes are spread evenly, so each range has about as many rows as a run.

    :param folder: an empty folder for the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.repeated = 0
        self._unlike = np.uint64(secrets.randbits(64))
        self._paths = folder / "run-keys", folder / "run-lines"
        self._ends = [0]
        self._waiting: list[tuple[Hashes, Hashes]] = []
        self._waiting_rows = 0

    def add(self, keys: Hashes, lines: Hashes) -> None:
        """Add rows: the hashes of their keys and of their lines."""
        self._waiting.append((keys, lines))
        self._waiting_rows += len(keys)
        if self._waiting_rows >= ROWS_AT_ONCE:
            self._end_run()

    def merged(self) -> Iterator[tuple[Hashes, Hashes]]:
        """Yield the rows in the order of their keys, in blocks.

        Of rows with the same key, only one, with the hash of no line; ``repeated`` is then the number of those left
        out. Nothing can be added afterwards.
        """
        self._end_run()
        rows = self._ends[-1]
        if not rows:
            return
        keys, lines = (np.memmap(path, np.uint64, "r") for path in self._paths)
        ranges = -(-rows // ROWS_AT_ONCE)
        bounds = [np.uint64((number << 64) // ranges) for number in range(1, ranges)]
        # Where each range begins and ends in each run.
        places = []
        for start, end in pairwise(self._ends):
            inner = start + np.searchsorted(keys[start:end], np.array(bounds, np.uint64))
            places.append([start, *inner.tolist(), end])
        for number in range(ranges):
            parts = [slice(place[number], place[number + 1]) for place in places]
            block = self._last_of_each(*(np.concatenate([array[part] for part in parts]) for array in (keys, lines)))
            # With few different keys, some ranges have none.
            if len(block[0]):
                yield block

    def _end_run(self) -> None:
        if not self._waiting:
            return
        # Also here only the last of each key: with few different ones, a range would have too many rows of one.
        run = self._last_of_each(*(np.concatenate(arrays) for arrays in zip(*self._waiting, strict=True)))
        self._waiting, self._waiting_rows = [], 0
        for path, array in zip(self._paths, run, strict=True):
            with path.open("ab") as file:
                file.write(array.data)
        self._ends.append(self._ends[-1] + len(run[0]))

    def _last_of_each(self, keys: Hashes, lines: Hashes) -> tuple[Hashes, Hashes]:
        # Stable: the runs are in the order in which the rows were added.
        order = np.argsort(keys, kind="stable")
        keys, lines = keys[order], lines[order]
        is_last = np.ones(len(keys), np.bool_)
        is_last[:-1] = keys[1:] != keys[:-1]
        self.repeated += len(keys) - int(np.count_nonzero(is_last))
        # Smartech may keep any row of a repeated key: nothing may be taken for it.
        lines[1:][~is_last[:-1]] = self._unlike
        return keys[is_last], lines[is_last]
