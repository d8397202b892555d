"""A small chart: how many uploads there were on each day, and how long Smartech took."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from statistics import median

from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.days import Day
from airflow_provider_smartech.uploads.listing import READER_THREADS, Listing
from airflow_provider_smartech.uploads.overview import Overview
from airflow_provider_smartech.uploads.syncs import OVER_AFTER
from airflow_provider_smartech.uploads.upload import State

log = logging.getLogger(__name__)

DAYS = 30
# Enough for nightly syncs. Reading every upload of a busy month would take many seconds on S3.
READ_PER_DAY = 5


def last_days(listing: Listing) -> list[Day]:
    """Return the last days, oldest first; all uploads are counted, but only a few of each day are read.

    What is shown of a day that is over is stored, so that it need not be read again.
    """
    today = datetime.now(UTC).date()
    dates = [today - timedelta(days=age) for age in reversed(range(DAYS))]
    stored, with_uploads = listing.store.days.all(), set(listing.store.days_with_uploads())

    def day_of(day: date) -> Day:
        if day in stored:
            return stored[day]
        name = f"{day:%Y%m%d}"
        keys = listing.store.keys_of_day(name) if name in with_uploads else []
        uploads = listing.overviews(keys[:READ_PER_DAY])
        found = Day(date=day, uploads=len(keys), seconds=_median(uploads))
        if keys and _is_over(today - day, uploads):
            _keep(listing, found)
        return found

    with ThreadPoolExecutor(READER_THREADS) as readers:
        return list(readers.map(day_of, dates))


def _is_over(age: timedelta, uploads: Sequence[Overview]) -> bool:
    """Whether nothing will change in what is shown of a day of this age."""
    # The clocks of several hosts differ.
    return age > OVER_AFTER or (age > timedelta(days=1) and all(upload.ended_at for upload in uploads))


def _keep(listing: Listing, day: Day) -> None:
    try:
        listing.store.days.add(day)
    except UploadStoreError as error:
        log.info("The uploads of %s will be read again for the chart. %s", day.date, error)


def _median(uploads: Sequence[Overview]) -> float | None:
    took = [upload.seconds for upload in uploads if upload.state == State.COMPLETED]
    return median(seconds for seconds in took if seconds is not None) if took else None
