"""The hashes of one sync's rows, as they are stored: encrypted parts of some megabytes, in the order of the keys."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cryptography.exceptions import InvalidTag

from airflow_provider_smartech.changes.hashing import Hashes, SyncSecret
from airflow_provider_smartech.uploads.folder import FileUnreadable
from airflow_provider_smartech.uploads.syncs import SyncStore


class SnapshotLost(Exception):
    """A part of a snapshot is missing, or cannot be opened."""


class Snapshots:
    """The snapshots of one sync.

    :param secret: protects them.
    """

    def __init__(self, store: SyncStore, sync: str, secret: SyncSecret) -> None:
        self._store = store
        self._sync = sync
        self._secret = secret

    def write(self, snapshot: str, part: int, keys: Hashes, lines: Hashes) -> None:
        """Store the next part of a snapshot."""
        content = keys.astype("<u8").tobytes() + lines.astype("<u8").tobytes()
        self._store.write_rows(self._sync, snapshot, part, self._secret.sealed(content, f"{snapshot}/{part}"))

    def read(self, snapshot: str, parts: int) -> Iterator[tuple[Hashes, Hashes]]:
        """Yield the hashes of a snapshot's keys and lines, part by part.

        :raises SnapshotLost: it is not complete.
        """
        for part in range(parts):
            try:
                content = self._store.read_rows(self._sync, snapshot, part)
            except FileUnreadable as error:
                raise SnapshotLost(f"a part of it cannot be read: {error}") from error
            if content is None:
                raise SnapshotLost("a part of it is no longer in the upload store")
            try:
                opened = np.frombuffer(self._secret.opened(content, f"{snapshot}/{part}"), "<u8").astype(np.uint64)
            except InvalidTag:
                raise SnapshotLost("a part of it is damaged") from None
            yield opened[: len(opened) // 2], opened[len(opened) // 2 :]
