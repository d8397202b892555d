"""The second part of ``make bench``: how long the uploads page takes with few and with many uploads."""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import httpx

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.uploads.listing import READER_THREADS, Filter, Listing
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, PingBack, Record, TaskTry
from airflow_provider_smartech.uploads_page import access
from airflow_provider_smartech.uploads_page.app import create_app
from airflow_provider_smartech.uploads_page.routes import ROWS_PER_PAGE
from bench.progress import say
from bench.s3_stand_in import moto, use_s3
from tests.support.servers import AppServer

REPORT = Path(__file__).with_name("pages.md")
FEW, MANY = 100, 10_000
WANTED_SECONDS = 2.0
WANTED_RATIO = 1.5
PAGES = {
    "the newest uploads": "",
    "the chart": "chart.svg",
    "uploads to one list": "?listid=33",
    "uploads of a state that few are in": "?state=unrecognised",
    "a search without luck": "?text=no+such+file",
}


def main() -> None:
    """Measure every page and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    measured: dict[tuple[str, int], dict[str, float]] = {}
    requests: dict[int, int] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartech-bench-")))
        use_s3(stack.enter_context(moto(folder)), *(f"uploads-{uploads}" for uploads in (FEW, MANY)))
        for uploads in (FEW, MANY):
            for kind, url in (
                ("a folder", f"file://{folder}/{uploads}"),
                ("S3", f"s3://bench_s3@uploads-{uploads}/smartech"),
            ):
                say(f"storing {uploads:,} uploads in {kind}")
                store = open_upload_store(url)
                fill(store, uploads)
                measured[kind, uploads] = _open_all(store, rounds)
                say(f"{kind}, {uploads:,} uploads: {measured[kind, uploads]}")
            requests[uploads] = _requests_of_newest(store, folder / "s3.log")
    REPORT.write_text("\n".join(_report(measured, requests, rounds)) + "\n", "utf-8")


def fill(store: UploadStore, uploads: int) -> None:
    """Store uploads of the last sixty days, of three DAGs and lists; nearly all of them completed."""
    # Durability is not needed here.
    with patch("os.fsync"):
        now = datetime.now(UTC)
        for number in range(uploads):
            at = now - timedelta(days=60) * number / uploads
            random = hashlib.sha256(str(number).encode()).hexdigest()
            key = f"{at:%Y%m%dT%H%M%S}-{random[:40]}"
            dag_id = ("nightly_contacts", "churn_scores", "loyalty_points")[number % 3]
            task = TaskTry(dag_id=dag_id, run_id=f"scheduled__{at:%Y-%m-%d}", task_id="sync", try_number=1, max_tries=2)
            path = f"https://bucket.s3.amazonaws.com/contacts/{random[:32]}/contacts-00001.csv"
            listid = 33 + number % 3
            store.create(
                Record(key=key, at=at, path=path, listid=listid, smartech_conn_id="c", tracked=True, task=task)
            )
            store.answered(key, Answer(at=at + timedelta(seconds=1), outcome="accepted", requestid=random[32:]))
            word = "hibernating" if number % 997 == 996 else "completed"
            pinged = at + timedelta(minutes=5 + number % 50)
            store.add_pingback(key, PingBack(at=pinged, payload={"status": word, "total": 1000 + number}))


def _requests_of_newest(store: UploadStore, log: Path) -> int:
    """Return how many requests the newest uploads take, according to the log of the stand-in for S3."""
    listing, before = Listing(store, Settings.load().statuses), _lines(log)
    listing.page(Filter(), ROWS_PER_PAGE)
    return _lines(log) - before


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n")


def _open_all(store: UploadStore, rounds: int) -> dict[str, float]:
    """Return the median seconds of each page, over HTTP; without Airflow's login."""
    app = create_app(store)
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server, httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client:
        # The first request fetches the connection and creates the file system.
        client.get("/").raise_for_status()
        return {name: statistics.median(_times(client, path, rounds)) for name, path in PAGES.items()}


def _times(client: httpx.Client, path: str, rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        began = time.perf_counter()
        client.get(f"/{path}").raise_for_status()
        yield time.perf_counter() - began


def _report(measured: dict[tuple[str, int], dict[str, float]], requests: dict[int, int], rounds: int) -> Iterator[str]:
    columns = list(measured)
    yield "# The uploads page"
    yield ""
    yield (
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores, which the stand-in for S3 "
        "shares. Seconds of one page over HTTP, without Airflow's login; medians of "
        f"{rounds} rounds. A filter with few matches searches for a second, then offers to search further."
    )
    yield ""
    yield "| page | " + " | ".join(f"{kind}, {uploads:,} uploads" for kind, uploads in columns) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for page in PAGES:
        yield f"| {page} | " + " | ".join(f"{measured[column][page]:.3f}" for column in columns) + " |"
    yield ""
    yield "| what | wanted | measured |"
    yield "| --- | ---: | ---: |"
    few, many = (measured["a folder", uploads]["the newest uploads"] for uploads in (FEW, MANY))
    yield f"| seconds until {MANY:,} uploads are open, in a folder | at most {WANTED_SECONDS:.0f} | {many:.2f} |"
    yield f"| the newest of {MANY:,} / of {FEW:,}, in a folder | at most {WANTED_RATIO} | {many / few:.2f} |"
    ratio = requests[MANY] / requests[FEW]
    yield f"| requests to S3 for the newest of {MANY:,} / of {FEW:,} | at most {WANTED_RATIO} | {ratio:.2f} |"
    yield ""
    yield (
        f"The newest uploads take {requests[MANY]} requests to S3, {READER_THREADS} at a time. The stand-in answers "
        f"one request at a time, and scans all of its keys, also those of {MANY:,} uploads, for each listing: this "
        "takes most of its time."
    )


if __name__ == "__main__":
    main()
