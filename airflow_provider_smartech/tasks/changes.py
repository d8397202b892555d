"""Streaming only what changed in a query's rows since the last sync."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_smartech.changes.comparison import Comparison, OnDuplicateKey
from airflow_provider_smartech.changes.hashing import Hashes
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.staging.area import StagingArea
from airflow_provider_smartech.staging.staged_query import StagedQuery
from airflow_provider_smartech.tasks.sync import TaskSync
from airflow_provider_smartech.uploads.staged_files import StagedFiles
from airflow_provider_smartech.uploads.syncs import Changes

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TaskChanges:
    """Streams a query's changed rows, and keeps what the next sync compares with."""

    sync: TaskSync
    on_duplicate_key: OnDuplicateKey

    def stream(self, query: StagedQuery, area: StagingArea, folder: str) -> StagedFiles:
        """Write the changed rows to files, and record them before anything is sent.

        :raises SmartechError: as ``StagedQuery.stream_changes`` raises; then nothing is kept.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="smartech-") as scratch:
                comparison = self._comparison(area, Path(scratch), sends=True)

                def keep(keys: Hashes, lines: Hashes) -> None:
                    if not (comparison.is_same and self.sync.has_all_settled):
                        self.sync.keep(keys, lines)

                staged = query.stream_changes(area, comparison, keep)
            self._tell(staged.changes, sum(file.rows for file in staged.files))
            if self.sync.has_kept:
                self.sync.begin_sending(folder, staged)
            return staged
        except BaseException:
            with suppress(UploadStoreError):
                self.sync.discard()
            raise

    def count(self, query: StagedQuery, area: StagingArea) -> Changes:
        """Return what the changes are; nothing is written.

        :raises SmartechError: as ``StagedQuery.compare`` raises.
        """
        with tempfile.TemporaryDirectory(prefix="smartech-") as scratch:
            comparison = self._comparison(area, Path(scratch), sends=False)
            changes = query.compare(area, comparison, lambda keys, lines: None)
        self._tell(changes, self.would_send(changes), "would be sent")
        return changes

    def would_send(self, changes: Changes) -> int:
        """Return how many rows a sync sends after a comparison."""
        return changes.rows if self.sync.sends_all else changes.new + changes.changed

    def _comparison(self, area: StagingArea, scratch: Path, *, sends: bool) -> Comparison:
        return Comparison(
            area,
            self.sync.secret,
            scratch,
            lambda columns: self.sync.compare_with(columns, scratch),
            on_duplicate_key=self.on_duplicate_key,
            sends=sends,
        )

    def _tell(self, changes: Changes | None, sent: int, words: str = "are sent") -> None:
        if changes:
            log.info(
                "Sync %s: %s of %s rows %s. New: %s, changed: %s, unchanged: %s; gone from the query: %s.",
                self.sync.name,
                f"{sent:,}",
                f"{changes.rows:,}",
                words,
                *(f"{number:,}" for number in (changes.new, changes.changed, changes.unchanged, changes.removed)),
            )
