"""How many uploads there were on each day that is over, so that a chart need not list and read them again.

::

    days/<day>_<uploads>_<milliseconds>   so many uploads, of which Smartech took so long; ``none`` if not known

All of it is in the names, so one listing is enough for a month.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime

from airflow_provider_smartech.uploads.folder import Folder

NAME = re.compile(r"(20[0-9]{6})_([0-9]+)_([0-9]+|none)")


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day: the number of ``uploads``, and the median ``seconds`` of its newest completed ones, if there are any."""

    date: date
    uploads: int
    seconds: float | None


class DayStore:
    """The days in the upload store; all methods block, and raise ``UploadStoreError``."""

    def __init__(self, files: Folder) -> None:
        self._files = files

    def all(self) -> dict[date, Day]:
        """Return the days that are stored."""
        forms = filter(None, map(NAME.fullmatch, self._files.names("days")))
        return {day.date: day for day in map(_day, forms)}

    def add(self, day: Day) -> None:
        """Store a day, of which nothing will change any more."""
        took = "none" if day.seconds is None else round(day.seconds * 1000)
        self._files.write(f"days/{day.date:%Y%m%d}_{day.uploads}_{took}", b"{}")


def _day(form: re.Match[str]) -> Day:
    seconds = None if form[3] == "none" else int(form[3]) / 1000
    return Day(
        date=datetime.strptime(form[1], "%Y%m%d").replace(tzinfo=UTC).date(), uploads=int(form[2]), seconds=seconds
    )
