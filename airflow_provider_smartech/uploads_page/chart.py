"""A small chart: how many uploads there were on each day, and how long Smartech took."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain, takewhile
from statistics import median

from airflow_provider_smartech.uploads.listing import READER_THREADS, Listing
from airflow_provider_smartech.uploads.overview import Overview
from airflow_provider_smartech.uploads.upload import State

DAYS = 30
# Enough for nightly syncs. Reading every upload of a busy month would take many seconds on S3.
READ_PER_DAY = 5


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day: the number of ``uploads``, and the median ``seconds`` of its newest completed ones, if there are any."""

    date: date
    uploads: int
    seconds: float | None


def last_days(listing: Listing) -> list[Day]:
    """Return the last days, oldest first; all uploads are counted, but only a few of each day are read."""
    today = datetime.now(UTC).date()
    dates = [today - timedelta(days=age) for age in reversed(range(DAYS))]
    keys: dict[str, list[str]] = {f"{day:%Y%m%d}": [] for day in dates}
    for key in takewhile(lambda key: key[:8] >= min(keys), listing.store.keys()):
        keys.setdefault(key[:8], []).append(key)
    looked_at = [day_keys[:READ_PER_DAY] for day_keys in keys.values()]
    with ThreadPoolExecutor(READER_THREADS) as readers:
        read = dict(zip(chain(*looked_at), readers.map(listing.read, chain(*looked_at)), strict=True))
    return [
        Day(
            date=day,
            uploads=len(keys[f"{day:%Y%m%d}"]),
            seconds=_median([read[key] for key in keys[f"{day:%Y%m%d}"][:READ_PER_DAY]]),
        )
        for day in dates
    ]


def _median(uploads: Sequence[Overview | None]) -> float | None:
    took = [upload.seconds for upload in uploads if upload and upload.state == State.COMPLETED]
    return median(seconds for seconds in took if seconds is not None) if took else None
