"""Fetches a hosted CSV and loads its contacts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from airflow_provider_smartech.sandbox.state import State

BATCH_ROWS = 1000
FETCH_SECONDS = 30


class LoadError(Exception):
    """The file as a whole cannot be loaded; the text says why."""


@dataclass
class Load:
    """How many rows a file had, and how many were accepted and rejected."""

    total: int = 0
    accepted: int = 0
    rejected: int = 0


def load(
    state: State, path: str, listid: int | None, primary_key: str, reject_every: int = 0, lose_every: int = 0
) -> Load:
    """Fetch the CSV at this URL and upsert its contacts.

    A row with a different number of fields than the header, or without a primary key, is rejected, and so is every
    ``reject_every``-th row. Every ``lose_every``-th row is neither loaded nor counted.

    :raises LoadError: the file cannot be fetched, is not UTF-8, or its header is not usable.
    """
    done = Load()
    batch: dict[str, dict[str, str]] = {}
    try:
        for number, (header, row) in enumerate(_rows(path), 1):
            if primary_key not in header:
                raise LoadError(f"no column {primary_key}")
            if lose_every and number % lose_every == 0:
                continue
            done.total += 1
            contact = dict(zip(header, row, strict=False))
            rejected = len(row) != len(header) or not contact[primary_key].strip()
            if rejected or (reject_every and done.total % reject_every == 0):
                done.rejected += 1
                continue
            done.accepted += 1
            batch[contact[primary_key]] = contact
            if len(batch) >= BATCH_ROWS:
                state.upsert(batch, listid)
                batch = {}
    except (requests.RequestException, HTTPError) as error:
        raise LoadError(f"file not fetched ({type(error).__name__})") from None
    except UnicodeDecodeError:
        raise LoadError("file is not UTF-8") from None
    except csv.Error as error:
        raise LoadError(f"file is not CSV ({error})") from None
    state.upsert(batch, listid)
    return done


def _rows(path: str) -> Iterator[tuple[list[str], list[str]]]:
    with requests.get(path, stream=True, timeout=FETCH_SECONDS) as response:
        if not response.ok:
            raise LoadError(f"file not fetched (HTTP {response.status_code})")
        response.raw.decode_content = True
        response.raw.auto_close = False
        raw: Any = response.raw
        reader = csv.reader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""), strict=True)
        header = next(reader, [])
        if not header or not all(name.strip() for name in header) or len(set(header)) < len(header):
            raise LoadError("header is empty, or has a blank or repeated column")
        for row in reader:
            if row:
                yield header, row
