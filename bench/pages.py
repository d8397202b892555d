"""The second part of ``make bench``: how long the uploads page takes with few and with many uploads."""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from botocore.client import BaseClient
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.uploads.days import Day
from airflow_provider_smartech.uploads.ended import digest_of
from airflow_provider_smartech.uploads.listing import Filter, Listing
from airflow_provider_smartech.uploads.s3_folder import S3Folder
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, Conclusion, PingBack, Record, TaskTry, Upload
from airflow_provider_smartech.uploads_page import access
from airflow_provider_smartech.uploads_page.app import create_app
from airflow_provider_smartech.uploads_page.chart import DAYS, last_days
from airflow_provider_smartech.uploads_page.lately import lately
from bench.progress import say
from bench.s3_stand_in import moto, use_s3
from tests.support.servers import AppServer

REPORT = Path(__file__).with_name("pages.md")
FEW, MANY = 100, 10_000
# So many more are only counted: the stand-in for S3 would take hours for them.
MOST = 100_000
NEWEST = 50
WANTED_REQUESTS = {"the newest 50 uploads": 60, "the line on top": 20, "the chart": 35}
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
    requests: dict[int, dict[str, int]] = {}
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
    for uploads in (MANY, MOST):
        say(f"counting the requests for {uploads:,} uploads in S3")
        requests[uploads] = _requests(uploads)
    REPORT.write_text("\n".join(_report(measured, requests, rounds)) + "\n", "utf-8")


def fill(store: UploadStore, uploads: int, whole: int | None = None) -> None:
    """Store uploads of the last sixty days, of three DAGs and lists; nearly all of them completed.

    :param whole: of so many, the newest, everything is stored; of the others only the record.
    """
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
            is_whole = whole is None or number < whole
            record = Record(
                key=key,
                at=at,
                path=path,
                listid=listid,
                smartech_conn_id="c",
                tracked=True,
                task=task if is_whole else None,
            )
            store.create(record)
            if is_whole:
                _complete(store, record, number, random[32:])


def _complete(store: UploadStore, record: Record, number: int, requestid: str) -> None:
    """Store all of a completed upload, without reading anything of it, which takes the stand-in for S3 long."""
    key, at = record.key, record.at
    answer = Answer(at=at + timedelta(seconds=1), outcome="accepted", requestid=requestid)
    word = "hibernating" if number % 997 == 996 else "completed"
    pinged = at + timedelta(minutes=5 + number % 50)
    pingback = PingBack(at=pinged, payload={"status": word, "total": 1000 + number}, name="pingback")
    conclusion = Conclusion(pingbacks=(pingback.name,))
    with _written(store) as names:
        store.answered(key, answer)
        store.add_pingback(key, pingback)
        store.concluded(key, conclusion)
    of_upload = ["record.json", *(Path(name).name for name in names if name.startswith("uploads/"))]
    store.ended(
        Upload(
            record=record,
            answer=answer,
            pingbacks=(pingback,),
            conclusions=(conclusion,),
            digest=digest_of(of_upload),
        ),
        Settings.load().statuses,
    )


@contextmanager
def _written(store: UploadStore) -> Iterator[list[str]]:
    """Note the names of all files that are written."""
    names, write = list[str](), store._files.write

    def noting(name: str, content: bytes) -> None:
        names.append(name)
        write(name, content)

    with patch.object(store._files, "write", noting):
        yield names


def _requests(uploads: int) -> dict[str, int]:
    """Return how many requests to S3 a list and the chart take."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        use_s3(f"http://{host}:{port}", f"uploads-{uploads}")
        store = open_upload_store(f"s3://bench_s3@uploads-{uploads}/smartech")
        with patch.object(S3Folder, "write", _written_at_once):
            # All of the last days, which the chart has to read; the others are as an earlier chart has left them.
            fill(store, uploads, uploads // 20)
            today = datetime.now(UTC).date()
            for age in range(2, DAYS):
                day, many = today - timedelta(days=age), uploads // 60
                store.days.add(Day(date=day, uploads=many, seconds=1800.0, states={"completed": many}))
        listing, asked = Listing(store, Settings.load().statuses), 0
        ask = BaseClient._make_api_call

        def count(self: BaseClient, operation: str, arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            return ask(self, operation, arguments)

        with patch.object(BaseClient, "_make_api_call", count):
            counted = {}
            for what, show in (
                ("the newest 50 uploads", lambda: listing.page(Filter(), NEWEST)),
                ("the line on top", lambda: lately(listing, 60.0)),
                ("the chart", lambda: last_days(listing)),
            ):
                asked = 0
                show()
                counted[what] = asked
        return counted
    finally:
        server.stop()


def _written_at_once(folder: S3Folder, name: str, content: bytes) -> None:
    where = folder._at(name)
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(where["Bucket"], where["Key"], content)


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


def _report(
    measured: dict[tuple[str, int], dict[str, float]], requests: dict[int, dict[str, int]], rounds: int
) -> Iterator[str]:
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
    for uploads, counted in requests.items():
        for what, number in counted.items():
            yield f"| requests to S3 for {what}, of {uploads:,} | at most {WANTED_REQUESTS[what]} | {number} |"
    yield ""
    yield (
        "The stand-in for S3 answers one request at a time, and scans all of its keys, also those of "
        f"{MANY:,} uploads, for each listing: this takes most of its time. The first chart of all also reads some "
        "uploads of each day that is over; from then on these days are in the store."
    )


if __name__ == "__main__":
    main()
