"""Made-up contacts with the text that breaks careless code: commas, quotes, newlines, non-ASCII."""

from __future__ import annotations

import csv
import random
from pathlib import Path

COLUMNS = ("EMAIL", "FIRST_NAME", "LAST_NAME", "CITY", "NOTE", "BIRTHDAY", "POINTS")

_FIRST = ("Anaïs", "Zoë", "José", "Ümit", "Ola", "王小明", "Priya", "Søren", "محمد", "Łucja", "O'Neil", "🙂 Sam")
_LAST = ("Müller", "O'Brien", "Nguyễn", "de la Cruz", 'Smith "Smitty"', "Иванова", "Þórsson", "Lee, Jr.")
_CITIES = ("Mumbai", "São Paulo", "Zürich", "Washington, D.C.", "Kraków", "東京", "Fort St. John")
_NOTES = ("", "likes, commas", 'said "hello"', "two\nlines", "tab\there", "trailing space ", "=1+1", "ends with \\")


def write_contacts(path: Path, count: int, seed: int = 1) -> None:
    """Write a CSV of this many contacts, the same ones for the same seed."""
    pick = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(count):
            birthday = f"{pick.randint(1940, 2008)}-{pick.randint(1, 12):02}-{pick.randint(1, 28):02}"
            names = (pick.choice(_FIRST), pick.choice(_LAST), pick.choice(_CITIES), pick.choice(_NOTES))
            writer.writerow((f"contact{number}@example.com", *names, birthday, pick.randint(0, 9999)))
