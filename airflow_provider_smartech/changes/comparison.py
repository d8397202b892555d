"""Passes on only the rows of a query that have changed since the last sync."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from airflow_provider_smartech.changes.csv_rows import lines_and_keys
from airflow_provider_smartech.changes.hashing import Hashes, SyncSecret
from airflow_provider_smartech.changes.known_rows import KnownRows
from airflow_provider_smartech.changes.sorted_rows import SortedRows
from airflow_provider_smartech.errors import ContactsKeyRepeated
from airflow_provider_smartech.uploads.syncs import Changes

OnDuplicateKey = Literal["fail", "keep"]

# How many rows are compared at a time, if their lines are not very long.
BATCH_ROWS = 1 << 15
BATCH_BYTES = 4 << 20


class Area(Protocol):
    """Where the changed rows are written."""

    columns: Sequence[str]

    def begin(self, names: Sequence[str]) -> int | None:
        """Set the columns, and return the position of the primary key."""

    @property
    def room(self) -> int | None:
        """How many more rows fit into the current file."""

    def add(self, lines: bytes, rows: int) -> None:
        """Write lines."""

    def skip(self, rows: int) -> None:
        """Count rows without a primary key."""


class Comparison:
    """A sink for ``extracts``, in front of a staging area.

    :param area: takes the rows that have changed.
    :param secret: makes the hashes.
    :param folder: an empty folder for the hashes of all rows.
    :param known: returns the rows of the last sync, and whether all rows are to be sent nevertheless; it is called with
        the columns of the file, before the first row.
    :param on_duplicate_key: ``"fail"`` or ``"keep"``, if rows have the same primary key.
    :param sends: False: only count.
    """

    # Any number: the rows are passed on in pieces of their own.
    room = None

    def __init__(
        self,
        area: Area,
        secret: SyncSecret,
        folder: Path,
        known: Callable[[Sequence[str]], tuple[KnownRows, bool]],
        *,
        on_duplicate_key: OnDuplicateKey,
        sends: bool,
    ) -> None:
        self.rows = self.new = self.changed = self.unchanged = 0
        self._area = area
        self._secret = secret
        self._rows = SortedRows(folder)
        self._begin_known = known
        self._keeps = on_duplicate_key == "keep"
        self._sends = sends
        self._pieces: list[bytes] = []
        self._waiting = self._bytes = 0

    def begin(self, names: Sequence[str]) -> int:
        """Set the columns."""
        key = self._area.begin(names)
        if key is None:
            raise ValueError("only_changes needs a primary_key")
        self._key = key
        self._known, self._sends_all = self._begin_known(self._area.columns)
        return key

    def add(self, lines: bytes | bytearray | memoryview, rows: int) -> None:
        """Take complete lines."""
        self._pieces.append(bytes(lines))
        self._waiting += rows
        self._bytes += len(lines)
        if self._waiting >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self.flush()

    def skip(self, rows: int) -> None:
        """Count rows without a primary key."""
        self._area.skip(rows)

    def flush(self) -> None:
        """Compare the rows that are waiting for it."""
        if not self._waiting:
            return
        piece, rows = b"".join(self._pieces), self._waiting
        self._pieces, self._waiting, self._bytes = [], 0, 0
        lines, texts = lines_and_keys(piece, rows, self._key)
        keys, hashes = self._secret.of_keys(texts), self._secret.of_lines(lines)
        self._rows.add(keys, hashes)
        known, same = self._known.look_up(keys, hashes)
        if self._keeps:
            same &= ~_repeated(keys)
            self._known.doubt(keys[~same])
        self.rows += rows
        self.new += rows - int(np.count_nonzero(known))
        self.changed += int(np.count_nonzero(known & ~same))
        self.unchanged += int(np.count_nonzero(same))
        if self._sends:
            self._pass_on(lines, np.ones(rows, np.bool_) if self._sends_all else ~same)

    @property
    def is_same(self) -> bool:
        """Whether the rows so far are those of the last sync."""
        return not self.new and not self.changed and self.rows == self._known.rows

    def finish(self, write: Callable[[Hashes, Hashes], None]) -> Changes:
        """Return how many rows have changed, after all hashes were written, block by block in the order of the keys.

        :raises ContactsKeyRepeated: rows have the same primary key, and ``on_duplicate_key`` is ``fail``.
        """
        self.flush()
        found = 0
        for keys, lines in self._rows.merged():
            found += self._known.count(keys)
            write(keys, lines)
        if self._rows.repeated and not self._keeps:
            raise ContactsKeyRepeated("the query", self._area.columns[self._key], self._rows.repeated, self.rows)
        return Changes(
            rows=self.rows,
            new=self.new,
            changed=self.changed,
            unchanged=self.unchanged,
            removed=self._known.rows - found,
        )

    def _pass_on(self, lines: list[bytes], chosen: NDArray[np.bool_]) -> None:
        left = lines if chosen.all() else [lines[place] for place in np.flatnonzero(chosen).tolist()]
        start = 0
        while start < len(left):
            room = self._area.room
            part = left[start : None if room is None else start + room]
            self._area.add(b"".join(part), len(part))
            start += len(part)


def _repeated(keys: Hashes) -> NDArray[np.bool_]:
    """Return for each key whether it is there more than once."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] > 1)
