"""The line on top of the list: how many uploads of the last day are waiting, and how many did not go well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from airflow_provider_smartech.uploads.ended import outcome_in
from airflow_provider_smartech.uploads.listing import READER_THREADS, Listing
from airflow_provider_smartech.uploads.overview import NEED_ATTENTION, WAITING, Overview
from airflow_provider_smartech.uploads.upload import State

HOURS = 24
# A store with more uploads in a day is looked at only so far.
MOST = 1000
# What is always said, also if there are none.
ALWAYS = (WAITING, State.FAILED.value, State.UNRECOGNISED.value)


@dataclass(frozen=True, kw_only=True)
class Lately:
    """How many of the uploads that were submitted lately are in each of the states that matter now.

    ``is_all``: whether all of them were looked at, and not only the newest.
    """

    counts: Mapping[str, int]
    is_all: bool


def lately(listing: Listing, seconds: float) -> Lately:
    """Count the uploads of the last day that the user may see, by state; for so many seconds, the newest first.

    Most have completed. The names of their files say so: only the others are read.
    """
    deadline = time.monotonic() + seconds
    keys = list(islice(listing.store.keys(since=datetime.now(UTC) - timedelta(hours=HOURS)), MOST + 1))
    names = listing.store.names(keys[:MOST])
    unclear = [key for key, files in names.items() if not _completed(files)]
    counts, is_all = dict.fromkeys(ALWAYS, 0), len(keys) <= MOST
    with ThreadPoolExecutor(READER_THREADS) as readers:
        for start in range(0, len(unclear), READER_THREADS):
            some = unclear[start : start + READER_THREADS]
            if start and time.monotonic() > deadline:
                is_all = False
                break
            for upload in readers.map(listing.read, some, (names[key] for key in some)):
                if upload and listing.may_see(upload) and (word := _word(upload)):
                    counts[word] = counts.get(word, 0) + 1
    return Lately(counts=counts, is_all=is_all)


def _completed(names: list[str]) -> bool:
    outcome = outcome_in(names)
    return outcome is not None and outcome.state == State.COMPLETED


def _word(upload: Overview) -> str | None:
    """Return what a filter calls the uploads that it belongs to, None if it went well."""
    if upload.waits:
        return WAITING
    return upload.state if upload.state in NEED_ATTENTION else None
