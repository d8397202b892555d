"""Made-up contacts with the text that breaks careless code: commas, quotes, newlines, non-ASCII."""

from __future__ import annotations

import csv
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

COLUMNS = ("EMAIL", "FIRST_NAME", "LAST_NAME", "CITY", "NOTE", "BIRTHDAY", "POINTS")

# Small enough to be compared as it is.
CSV = b'EMAIL,NAME\na@example.com,"M\xc3\xbcller, Ana"\nb@example.com,\n'

_FIRST = ("Anaïs", "Zoë", "José", "Ümit", "Ola", "王小明", "Priya", "Søren", "محمد", "Łucja", "O'Neil", "🙂 Sam")
_LAST = ("Müller", "O'Brien", "Nguyễn", "de la Cruz", 'Smith "Smitty"', "Иванова", "Þórsson", "Lee, Jr.")
_CITIES = ("Mumbai", "São Paulo", "Zürich", "Washington, D.C.", "Kraków", "東京", "Fort St. John")
_NOTES = ("", "likes, commas", 'said "hello"', "two\nlines", "tab\there", "trailing space ", "=1+1", "ends with \\")


def write_contacts(path: Path, count: int) -> None:
    """Write a CSV of this many contacts, the same ones each time."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_contacts(count))


def write_warehouse(path: Path, count: int) -> None:
    """Write a SQLite database with a table of this many contacts, the same ones each time.

    Every 20th has not agreed, and of every 99th there is no address.
    """
    rows = [
        (None if number % 99 == 1 else email, *rest, int(number % 20 != 0))
        for number, (email, *rest) in enumerate(_contacts(count))
    ]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE contacts ({', '.join(COLUMNS).lower()}, agreed)")
        database.executemany("INSERT INTO contacts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def change_warehouse(path: Path, *, changed: int, new: int, removed: int) -> None:
    """Change so many of the contacts that agreed and have an address; those that are removed no longer agree."""
    some = "rowid IN (SELECT rowid FROM contacts WHERE agreed AND email IS NOT NULL ORDER BY rowid"
    added = [(f"new{number}@example.com", *rest, 1) for number, (_, *rest) in enumerate(_contacts(new))]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE contacts SET points = points + 1 WHERE {some} LIMIT ?)", (changed,))
        database.execute(f"UPDATE contacts SET agreed = 0 WHERE {some} DESC LIMIT ?)", (removed,))
        database.executemany("INSERT INTO contacts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", added)


def agreed_contacts(path: Path) -> dict[str, dict[str, str]]:
    """Return the contacts of a warehouse that agreed and have an address, as Smartech has them, by the address."""
    columns = [column for column in COLUMNS if column != "NOTE"]
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(f"SELECT {', '.join(columns)} FROM contacts WHERE agreed AND email IS NOT NULL")
        return {row[0]: dict(zip(columns, map(str, row), strict=True)) for row in rows}


def _contacts(count: int) -> Iterator[tuple[str | int, ...]]:
    pick = random.Random(1)
    for number in range(count):
        birthday = f"{pick.randint(1940, 2008)}-{pick.randint(1, 12):02}-{pick.randint(1, 28):02}"
        names = (pick.choice(_FIRST), pick.choice(_LAST), pick.choice(_CITIES), pick.choice(_NOTES))
        yield f"contact{number}@example.com", *names, birthday, pick.randint(0, 9999)
