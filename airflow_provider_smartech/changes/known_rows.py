"""The hashes of the last sync, on this worker's disk, to look rows up in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from airflow_provider_smartech.changes.hashing import Hashes


class KnownRows:
    """What the last sync has sent: 17 bytes a row, in files that are mapped into memory.

    :param folder: an empty folder for the files.
    :param blocks: the hashes of keys and lines, in the order of the keys.
    """

    def __init__(self, folder: Path, blocks: Iterable[tuple[Hashes, Hashes]] = ()) -> None:
        paths = folder / "known-keys", folder / "known-lines"
        rows = 0
        with paths[0].open("wb") as keys_file, paths[1].open("wb") as lines_file:
            for keys, lines in blocks:
                keys_file.write(keys.data)
                lines_file.write(lines.data)
                rows += len(keys)
        self.rows = rows
        if rows:
            self._keys, self._lines = (np.memmap(path, np.uint64, "r") for path in paths)
            self._doubtful = np.memmap(folder / "doubtful", np.bool_, "w+", shape=(rows,))

    def look_up(self, keys: Hashes, lines: Hashes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return for each row whether its key is known, and whether Smartech surely has this very line of it."""
        places, known = self._places(keys)
        if not self.rows:
            return known, known
        return known, known & (self._lines[places] == lines) & ~self._doubtful[places]

    def doubt(self, keys: Hashes, lines: Hashes | None = None) -> None:
        """From now on, do not trust what is known of these rows.

        :param lines: only if the known line is another one than this.
        """
        places, known = self._places(keys)
        if self.rows:
            wrong = known if lines is None else known & (self._lines[places] != lines)
            self._doubtful[places[wrong]] = True

    def count(self, keys: Hashes) -> int:
        """Return how many of these keys, which must be different ones, are known."""
        return int(np.count_nonzero(self._places(keys)[1]))

    def _places(self, keys: Hashes) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        if not self.rows:
            return np.zeros(len(keys), np.intp), np.zeros(len(keys), np.bool_)
        # In their order, because places side by side are in the processor's cache.
        order = np.argsort(keys)
        places = np.empty(len(keys), np.intp)
        places[order] = np.searchsorted(self._keys, keys[order])
        places = np.minimum(places, self.rows - 1)
        return places, self._keys[places] == keys
