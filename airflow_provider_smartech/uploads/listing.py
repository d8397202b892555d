"""Lists of uploads: newest first, page by page, reading no more than is shown."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from airflow_provider_smartech.errors import UploadRecordUnreadable, UploadStoreError, UploadUnknown
from airflow_provider_smartech.uploads.overview import ATTENTION, WAITING, Overview
from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.store import UploadStore

log = logging.getLogger(__name__)

READER_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which uploads to list: those that match every given condition.

    ``states`` may contain ``attention`` and ``waiting``; if it is empty, all states match. ``text`` is part of the file
    name or of the requestid, or of the key if there is no requestid. ``since`` is when the oldest were submitted.
    """

    states: frozenset[str] = frozenset()
    listid: int | None = None
    dag_id: str | None = None
    text: str | None = None
    since: datetime | None = None

    def takes(self, upload: Overview) -> bool:
        """Whether an upload matches."""
        wanted = [
            not self.states or self._takes_state(upload),
            self.listid in (None, upload.listid),
            self.dag_id is None or bool(upload.task and upload.task.dag_id == self.dag_id),
            self.text is None or self.text.casefold() in f"{upload.file} {upload.requestid or upload.key}".casefold(),
        ]
        return all(wanted)

    def _takes_state(self, upload: Overview) -> bool:
        stands_for = {ATTENTION: upload.needs_attention, WAITING: upload.waits}
        return upload.state in self.states or any(stands_for.get(word, False) for word in self.states)


def states_of(text: str) -> list[str]:
    """Return the states of a list that is separated by commas."""
    return [state.strip() for state in text.split(",") if state.strip()]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of uploads. The next page starts with those older than ``before``; None: this is the last page."""

    uploads: list[Overview]
    before: str | None


class Listing:
    """Reads a store's uploads for display.

    :param may_see: whether the user may see an upload.
    """

    def __init__(
        self, store: UploadStore, statuses: Statuses, may_see: Callable[[Overview], bool] = lambda upload: True
    ) -> None:
        self.store = store
        self.statuses = statuses
        self.may_see = may_see

    def page(self, wanted: Filter, size: int, before: str = "", seconds: float = float("inf")) -> Page:
        """Return up to ``size`` matching uploads, newest first.

        Stops after ``seconds`` with what it has found, so that a filter with few matches does not read a whole store.
        """
        deadline = time.monotonic() + seconds
        keys = self.store.keys(before, wanted.since)
        found: list[Overview] = []
        with ThreadPoolExecutor(READER_THREADS) as readers:
            while batch := list(islice(keys, size)):
                names = self.store.names(batch)
                for upload in readers.map(self.read, batch, (names[key] for key in batch)):
                    if upload and self.may_see(upload) and wanted.takes(upload):
                        found.append(upload)
                        if len(found) == size:
                            return Page(uploads=found, before=self._goes_on(keys, batch, upload))
                if time.monotonic() > deadline:
                    return Page(uploads=found, before=self._goes_on(keys, batch, None))
        return Page(uploads=found, before=None)

    def read(self, key: str, names: Sequence[str] | None = None) -> Overview | None:
        """Return one upload, None if its record is gone.

        :param names: those of its files, as ``UploadStore.names`` returns them, if they are known.
        """
        try:
            return Overview.of(self.store.read_listed(key, names), self.statuses)
        except UploadUnknown:
            # Its record was removed, perhaps by a life-cycle rule.
            return None
        except UploadStoreError as error:
            # A permission error here concerns this file only: the folder could be listed.
            if not isinstance(error, UploadRecordUnreadable) and not isinstance(error.__cause__, PermissionError):
                raise
            log.warning("%s", error)
            return Overview.unreadable(key)

    def _goes_on(self, keys: Iterator[str], batch: list[str], last: Overview | None) -> str | None:
        """Return where the next page starts, None if nothing is left."""
        reached = last.key if last else batch[-1]
        return reached if reached != batch[-1] or next(keys, None) else None
