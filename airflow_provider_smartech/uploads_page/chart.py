"""A small chart: how many uploads there were on each day, in which states, and how long Smartech took."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.days import Day
from airflow_provider_smartech.uploads.ended import outcome_in
from airflow_provider_smartech.uploads.listing import READER_THREADS, Listing
from airflow_provider_smartech.uploads.overview import UNREADABLE, Overview
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.syncs import OVER_AFTER
from airflow_provider_smartech.uploads.upload import State

log = logging.getLogger(__name__)

DAYS = 30
# Of those whose files' names do not say the state. Reading every upload of a busy month would take many seconds on S3.
READ_PER_DAY = 20

GROUPS: dict[str, tuple[str, ...]] = {
    "completed": (State.COMPLETED,),
    "no result yet": (State.SUBMITTING, State.ACCEPTED, State.IN_PROGRESS),
    "unrecognised or unknown": (State.UNRECOGNISED, State.OUTCOME_UNKNOWN, UNREADABLE),
    "failed or not accepted": (State.FAILED, State.NOT_ACCEPTED),
}
"""The states that have a colour of their own, from the bottom of a bar to its top."""

NOT_READ = "not read"
# So much of a bar's height can be seen: one failed upload among thousands must not vanish.
LEAST = 3.0


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a bar: the ``group`` of its uploads, and from where on and how high it is."""

    group: str
    start: float
    height: float


def last_days(listing: Listing) -> list[Day]:
    """Return the last days, oldest first; all uploads are counted, but only a few of each day are read.

    What is shown of a day that is over is stored, so that it need not be read again.
    """
    store, today = listing.store, datetime.now(UTC).date()
    dates = [today - timedelta(days=age) for age in reversed(range(DAYS))]
    days, with_uploads = store.days.all(), set(store.days_with_uploads())
    open_days = [day for day in dates if day not in days and f"{day:%Y%m%d}" in with_uploads]
    with ThreadPoolExecutor(READER_THREADS) as readers:
        names = dict(zip(open_days, readers.map(lambda day: _names(store, day), open_days), strict=True))
        unsaid = {key: names[day][key] for day in open_days for key in _unsaid(names[day])[:READ_PER_DAY]}
        read = dict(zip(unsaid, readers.map(listing.read, unsaid, unsaid.values()), strict=True))
        for day in open_days:
            uploads = [found for key in names[day] if (found := read.get(key))]
            days[day] = _counted(day, names[day], uploads)
            if names[day] and _is_over(today - day, days[day], uploads):
                readers.submit(_keep, store, days[day])
    return [days.get(day) or Day(date=day, uploads=0, seconds=None, states={}) for day in dates]


def stack(day: Day, most: int, height: float) -> Iterator[Segment]:
    """Yield the parts of a day's bar, from its bottom; a bar of ``most`` uploads is as high as ``height``."""
    counted = {group: sum(day.states.get(state, 0) for state in states) for group, states in GROUPS.items()}
    counted[NOT_READ] = day.uploads - sum(counted.values())
    heights = {group: max(LEAST, height * uploads / most) for group, uploads in counted.items() if uploads > 0}
    if heights:
        # The largest gives what the small ones take.
        largest = max(heights, key=lambda group: heights[group])
        heights[largest] -= max(0.0, sum(heights.values()) - max(height * day.uploads / most, LEAST * len(heights)))
    start = 0.0
    for group, high in heights.items():
        yield Segment(group=group, start=start, height=high)
        start += high


def told(day: Day) -> str:
    """Return one line about a day: how many uploads, and of which states."""
    states = [f"{uploads:,} {state}" for state, uploads in sorted(day.states.items(), key=lambda item: -item[1])]
    if unread := day.uploads - sum(day.states.values()):
        states.append(f"{unread:,} {NOT_READ}")
    what = "1 upload" if day.uploads == 1 else f"{day.uploads:,} uploads"
    return f"{day.date}: {what}" + (f" ({', '.join(states)})" if day.uploads else "")


def _names(store: UploadStore, day: date) -> dict[str, list[str]]:
    return store.names(store.keys_of_day(f"{day:%Y%m%d}"))


def _unsaid(names: Mapping[str, list[str]]) -> list[str]:
    """Return the keys of the uploads whose files' names do not say the state, newest first."""
    return [key for key, files in names.items() if not outcome_in(files)]


def _counted(day: date, names: Mapping[str, list[str]], uploads: Sequence[Overview]) -> Day:
    """Return a day by the names of its uploads' files, and by the uploads that were read."""
    said = [outcome for files in names.values() if (outcome := outcome_in(files))]
    every = [*((one.state, one.seconds) for one in said), *((one.state, one.seconds) for one in uploads)]
    took = [seconds for state, seconds in every if state == State.COMPLETED and seconds is not None]
    states = dict(Counter(state for state, _ in every))
    return Day(date=day, uploads=len(names), seconds=median(took) if took else None, states=states)


def _is_over(age: timedelta, day: Day, uploads: Sequence[Overview]) -> bool:
    """Whether nothing will change in what is shown of a day of this age."""
    # The clocks of several hosts differ.
    have_ended = day.uploads == sum(day.states.values()) and all(upload.ended_at for upload in uploads)
    return age > OVER_AFTER or (age > timedelta(days=1) and have_ended)


def _keep(store: UploadStore, day: Day) -> None:
    try:
        store.days.add(day)
    except UploadStoreError as error:
        log.info("The uploads of %s will be read again for the chart. %s", day.date, error)
