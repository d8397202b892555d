"""How many uploads there were on each day that is over, so that a chart need not list and read them again.

::

    days/<day>_<uploads>_<milliseconds>_<state>-<uploads>_…   so many uploads, of which Smartech took so long;
                                                              ``none`` if not known; and how many are in which state

All of it is in the names, so one listing is enough for a month. The states are those of the time when the day was over.
A name without states was written by an earlier version: that day is counted again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from airflow_provider_smartech.uploads.folder import Folder

NAME = re.compile(r"(20[0-9]{6})_([0-9]+)_([0-9]+|none)((?:_[a-z]+(?:-[a-z]+)*-[0-9]+)*)")


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day: the number of ``uploads``, and the median ``seconds`` of its completed ones, if there are any.

    ``states`` are the numbers of uploads by state; they are fewer than ``uploads`` if not all were read.
    """

    date: date
    uploads: int
    seconds: float | None
    states: Mapping[str, int]


class DayStore:
    """The days in the upload store; all methods block, and raise ``UploadStoreError``."""

    def __init__(self, files: Folder) -> None:
        self._files = files

    def all(self) -> dict[date, Day]:
        """Return the days that are stored with their states."""
        forms = filter(None, map(NAME.fullmatch, self._files.names("days")))
        return {day.date: day for day in map(_day, forms) if day.states}

    def add(self, day: Day) -> None:
        """Store a day, of which nothing will change any more."""
        took = "none" if day.seconds is None else str(round(day.seconds * 1000))
        states = [f"{state.replace(' ', '-')}-{uploads}" for state, uploads in sorted(day.states.items())]
        self._files.write("days/" + "_".join([f"{day.date:%Y%m%d}", str(day.uploads), took, *states]), b"{}")


def _day(form: re.Match[str]) -> Day:
    counts = [part.rpartition("-") for part in form[4].split("_")[1:]]
    return Day(
        date=datetime.strptime(form[1], "%Y%m%d").replace(tzinfo=UTC).date(),
        uploads=int(form[2]),
        seconds=None if form[3] == "none" else int(form[3]) / 1000,
        states={state.replace("-", " "): int(uploads) for state, _, uploads in counts},
    )
