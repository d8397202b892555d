"""The third part of ``make bench``: what waiting costs one triggerer process, with few and with many triggers."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from asgiref.sync import sync_to_async

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import configured_upload_store, open_folder, open_upload_store
from airflow_provider_smartech.triggers import SmartechBulkUploadTrigger
from airflow_provider_smartech.uploads.folder import Folder
from airflow_provider_smartech.uploads.local_folder import LocalFolder
from airflow_provider_smartech.uploads.s3_folder import S3Folder
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Answer, PingBack, Record, key_of, new_upload_id
from bench.pages import fill
from bench.progress import say
from bench.s3_stand_in import moto, use_s3

REPORT = Path(__file__).with_name("waiting.md")
INTERVAL = 10.0
WAITING = (1, 100, 1_000, 5_000)
OLD_UPLOADS = 100_000
PINGBACKS = 100
# The seconds in which requests and CPU are measured, and those for the lag, whose measurement needs CPU itself.
WINDOW, LAG_WINDOW = 30.0, 10.0
LAG_STEP = 0.01
BUCKET = "waiting"


class SelfPollingTrigger(SmartechBulkUploadTrigger):
    """Waits like triggers that each poll separately: check, sleep, check again; each check is one request."""

    async def run(self) -> AsyncIterator[Any]:
        """Wait."""
        folder, key = open_folder(Settings.load().upload_store), self.keys[0]
        # Spread over time, like tasks that were deferred one after the other.
        await asyncio.sleep(random.uniform(0, INTERVAL))
        while True:
            names = await sync_to_async(folder.names, thread_sensitive=False)(f"uploads/{key[:8]}/{key}")
            if any(name.startswith("pingback-") for name in names):
                break
            await asyncio.sleep(INTERVAL)
        yield self.keys


# The number of requests before a trigger sleeps for the first time: a listing, the record and the answer.
FIRST_LOOK = {SmartechBulkUploadTrigger: 3, SelfPollingTrigger: 1}
KINDS = {"one shared look": SmartechBulkUploadTrigger, "each polls by itself": SelfPollingTrigger}


def main() -> None:
    """Measure every number of waiting triggers, each in a separate process, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.waiting")
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "WAITING"), help="measure one number, in this process")
    parser.add_argument("--old-uploads", type=int, default=OLD_UPLOADS)
    options = parser.parse_args()
    if options.measure:
        kind, waiting = options.measure
        print(json.dumps(asyncio.run(_measure(KINDS[kind], int(waiting)))))
        return
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartech-bench-")))
        use_s3(stack.enter_context(moto(folder)), BUCKET)
        old = f"a folder with {options.old_uploads:,} old uploads"
        say(f"storing {options.old_uploads:,} old uploads")
        with patch("airflow_provider_smartech.uploads.local_folder._sync", lambda folder: None), patch("os.fsync"):
            filled = open_upload_store(f"file://{folder}/old")
            fill(filled, options.old_uploads)
        # As triggerers leave it after they have seen all ping-backs.
        filled.sweep(filled.arrivals())
        shared, alone = KINDS
        cases = [(shared, "a folder", f"file://{folder}/{waiting}", waiting) for waiting in WAITING]
        cases += [(shared, "S3", f"s3://bench_s3@{BUCKET}/{waiting}", waiting) for waiting in (WAITING[0], WAITING[-2])]
        cases.append((shared, old, f"file://{folder}/old", WAITING[-1]))
        # At the same time, because they need almost no CPU; the others one after the other.
        with ThreadPoolExecutor(len(cases)) as threads:
            rows += threads.map(lambda case: _row(*case), cases)
        rows += [_row(alone, "a folder", f"file://{folder}/alone-{waiting}", waiting) for waiting in WAITING]
    REPORT.write_text("\n".join(_report(rows)) + "\n", "utf-8")


def _row(kind: str, where: str, store: str, waiting: int) -> dict[str, Any]:
    environment = {
        **os.environ,
        "AIRFLOW__SMARTECH__UPLOAD_STORE": store,
        "AIRFLOW__SMARTECH__POLL_INTERVAL": str(INTERVAL),
    }
    command = [sys.executable, "-m", "bench.waiting", "--measure", kind, str(waiting)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    say(f"{kind}, {waiting:,} waiting, {where}: {measured}")
    return {"kind": kind, "waiting": waiting, "where": where, **measured}


async def _measure(kind: type[SmartechBulkUploadTrigger], waiting: int) -> dict[str, float]:
    store = configured_upload_store()
    keys = await sync_to_async(_submit, thread_sensitive=False)(store, waiting)
    requests = _count_requests()
    ended: dict[str, float] = {}
    deadline = datetime.now(UTC).timestamp() + 3600
    tasks = {key: asyncio.create_task(_wait_for(kind([key], deadline), key, ended)) for key in keys}
    while requests["n"] < FIRST_LOOK[kind] * waiting:  # noqa: ASYNC110 - counted in other threads
        await asyncio.sleep(1)
    await asyncio.sleep(INTERVAL)
    if kind is SmartechBulkUploadTrigger:
        # Starts in the middle between two rounds, so that the window has whole rounds.
        seen = requests["n"]
        while requests["n"] == seen:  # noqa: ASYNC110 - counted in other threads
            await asyncio.sleep(0.05)
        await asyncio.sleep(INTERVAL / 2)
    began, cpu, counted = time.monotonic(), time.process_time(), requests["n"]
    await asyncio.sleep(WINDOW)
    minutes = (time.monotonic() - began) / 60
    quiet = {
        "requests": (requests["n"] - counted) / minutes,
        "cpu": (time.process_time() - cpu) / minutes,
        "lag": _percentile(await _lags(), 0.99),
    }
    called = await _call_back(store, random.Random(1).sample(keys, min(PINGBACKS, len(keys))))
    await asyncio.gather(*(tasks[key] for key in called))
    for task in tasks.values():
        task.cancel()
    return {**quiet, "detected": _percentile([ended[key] - at for key, at in called.items()], 0.95)}


async def _wait_for(trigger: SmartechBulkUploadTrigger, key: str, ended: dict[str, float]) -> None:
    async for _ in trigger.run():
        ended[key] = time.time()


async def _lags() -> list[float]:
    """Return by how much the event loop resumes later than requested, measured repeatedly."""
    lags, until = list[float](), time.monotonic() + LAG_WINDOW
    while time.monotonic() < until:
        began = time.perf_counter()
        await asyncio.sleep(LAG_STEP)
        lags.append(time.perf_counter() - began - LAG_STEP)
    return lags


async def _call_back(store: UploadStore, keys: list[str]) -> dict[str, float]:
    """Store ping-backs, one after the other during an interval; return when each was stored."""
    called = {}
    for key in keys:
        await sync_to_async(store.add_pingback, thread_sensitive=False)(key, PingBack(payload={"status": "completed"}))
        called[key] = time.time()
        await asyncio.sleep(INTERVAL / len(keys))
    return called


def _submit(store: UploadStore, waiting: int) -> list[str]:
    keys = []
    for number in range(waiting):
        key = str(key_of(new_upload_id()))
        store.create(Record(key=key, path="https://x.example/contacts.csv", smartech_conn_id="c", tracked=True))
        store.answered(key, Answer(outcome="accepted", requestid=f"r{number}"))
        keys.append(key)
    return keys


def _count_requests() -> dict[str, int]:
    """Count the requests of the store to its storage; in S3, each is one request."""
    count = {"n": 0}
    for folder in (LocalFolder, S3Folder):
        for name in ("names", "read"):
            method = getattr(folder, name)

            def counted(self: Folder, what: str, method: Any = method) -> Any:
                count["n"] += 1
                return method(self, what)

            setattr(folder, name, counted)
    return count


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _report(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "# Waiting"
    yield ""
    yield (
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores. Triggers in one process and "
        f"on one event loop, as in a triggerer, with a poll interval of {INTERVAL:.0f} s, when all have "
        "checked once. For comparison, triggers that each poll separately, as in other providers. A request is for "
        "a file or for a listing. The lag is how late the event loop resumes; detection is the time from the stored "
        f"ping-back to the trigger's event, of {PINGBACKS} ping-backs."
    )
    yield ""
    yield "| waiting | store | triggers | requests a minute | CPU seconds a minute | lag p99, ms | detection p95, s |"
    yield "| ---: | --- | --- | ---: | ---: | ---: | ---: |"
    for row in rows:
        yield (
            f"| {row['waiting']:,} | {row['where']} | {row['kind']} | {row['requests']:,.0f} | {row['cpu']:.2f} | "
            f"{row['lag'] * 1000:.1f} | {row['detected']:.1f} |"
        )
    yield ""
    one, many, old = rows[0], rows[len(WAITING) - 1], rows[len(WAITING) + 2]
    yield "| what | wanted | measured |"
    yield "| --- | ---: | ---: |"
    for name, row in ((f"{WAITING[-1]:,} waiting", many), (f"{WAITING[-1]:,} waiting, {old['where']}", old)):
        yield f"| requests, {name} / 1 waiting | at most 1.1 | {row['requests'] / one['requests']:.2f} |"
        yield f"| CPU seconds a minute, {name} | at most 1 | {row['cpu']:.2f} |"
        yield f"| lag p99 in ms, {name} | under 20 | {row['lag'] * 1000:.1f} |"
        yield f"| detection p95 in s, {name} | at most {INTERVAL + 1:.0f} | {row['detected']:.1f} |"


if __name__ == "__main__":
    main()
