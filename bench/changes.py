"""Part of ``make bench``: uploading only what changed, compared with the same way of streaming without it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from airflow_provider_smartech.config.upload_store import configured_upload_store
from airflow_provider_smartech.extracts.postgres import CopyExtract
from airflow_provider_smartech.staging.staged_query import StagedQuery
from airflow_provider_smartech.tasks.submission import task_try
from airflow_provider_smartech.transfers import SqlToSmartechOperator
from bench import pipelines
from bench.progress import say
from bench.services import services
from tests.support.tasks import FakeTaskInstance, context

REPORT = Path(__file__).with_name("changes.md")
WAYS = {
    "copy_psycopg2": "COPY, psycopg2",
    "copy_psycopg": "COPY, psycopg 3",
    "arrow_adbc": "Arrow, ADBC",
    "rows_psycopg2": "fetchmany",
}
ALL, NEW, SOME, NOTHING = "without only_changes", "all new", "1 % changed", "nothing changed"
CASES = (ALL, NEW, SOME, NOTHING)
BASE = "base"
WANTED = {SOME: 1.25, NEW: 1.6}
SAMPLE_SECONDS = 0.02

Runs = dict[tuple[str, int, str], list[dict[str, float]]]


def main() -> None:
    """Measure all ways, cases and sizes, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--large", type=int, default=20_000_000, help="rows of one more run, 0 for none")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each case with the smallest table")
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "TABLE", "CASE"), help="for the process of one run")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(*options.measure)))
        return
    runs = _runs(options)
    REPORT.write_text("\n".join(_report(runs, options.rows, options.large, options.ways)) + "\n", "utf-8")


def _runs(options: argparse.Namespace) -> Runs:
    """Measure all that was asked for."""
    runs: Runs = defaultdict(list)
    with services() as running:

        def measure(way: str, rows: int, case: str) -> dict[str, float]:
            return running.measure("-m", "bench.changes", "--measure", way, f"contacts_{rows}", case)

        def note(way: str, rows: int, case: str) -> None:
            result = measure(way, rows, case)
            runs[way, rows, case].append(result)
            say(f"{way:14} {rows:>10,} rows, {case:20}: {result['seconds']:6.2f} s, {result['private_mb']:5.0f} MB")

        for rows in filter(None, (10, *options.rows, options.large)):
            running.make_contacts(rows)
            measure(options.ways[0], rows, BASE)
        for rows in options.rows:
            for number in range(options.rounds if rows == min(options.rows) else 1):
                for way in options.ways:
                    # In alternating order, because the previous run also has an effect.
                    for case in CASES[:: -1 if number % 2 else 1]:
                        note(way, rows, case)
        if options.large:
            for case in (NEW, SOME):
                note("copy_psycopg2", options.large, case)
    return runs


def _measured(way: str, table: str, case: str) -> dict[str, float]:
    """Stage the rows once, and return what it took; ``BASE`` makes what the other cases compare with."""
    _use(way)
    base, own = Path(os.environ["BENCH_FOLDER"], f"base-{table}"), Path(tempfile.mkdtemp(prefix="smartech-bench-"))
    os.environ["AIRFLOW__SMARTECH__UPLOAD_STORE"] = str(base if case == BASE else own)
    try:
        if case in (SOME, NOTHING):
            # Of its own: what other runs sent would not be trusted.
            shutil.copytree(base, own, dirs_exist_ok=True)
        if case != BASE:
            _stage(pipelines.WARM_UP, case)
        with _private_memory() as peak:
            began = time.perf_counter()
            sent = _stage(table, case)
            seconds = time.perf_counter() - began
        if case == BASE:
            # As if all of it had been loaded.
            syncs = configured_upload_store().syncs
            [run] = syncs.state(table).runs.values()
            syncs.make_base(run)
        return {"seconds": seconds, "private_mb": peak() / 1024, **sent}
    finally:
        shutil.rmtree(own)


def _use(way: str) -> None:
    """Let the operator read with this driver."""

    def only_connect(connect: Callable[[], Any], table: str, copy: bool = True) -> None:
        hook = type("Hook", (), {"get_conn": staticmethod(connect)})()
        StagedQuery.database = lambda self: hook  # type: ignore[method-assign]
        if not copy:
            CopyExtract.suits = staticmethod(lambda connection: False)  # type: ignore[method-assign]

    pipelines.run_operator = only_connect
    getattr(pipelines, way)(pipelines.WARM_UP)


def _stage(table: str, case: str) -> dict[str, float]:
    """Stream the query into S3 as a task does before it sends anything."""
    arguments: dict[str, Any] = {"only_changes": True, "wait_for_completion": True, "sync_name": table}
    if case == ALL:
        arguments = {}
    changed = "CASE WHEN id % 100 = 0 THEN id END" if case == SOME else "NULL::int"
    task = SqlToSmartechOperator(
        task_id="bench",
        sql=f"SELECT *, {changed} AS changed FROM {table}",
        conn_id="bench",
        s3_bucket=pipelines.BUCKET,
        s3_prefix="operator",
        primary_key="email",
        listid=1,
        **arguments,
    )
    ti = context(FakeTaskInstance(run_id=uuid.uuid4().hex))
    submission = task._submission(ti, task._wait())
    task.hosted(submission)
    [staging] = submission.store.stagings(task_try(ti))
    return {
        "sent_rows": sum(file.rows for file in staging.files),
        "sent_mb": sum(file.bytes for file in staging.files) / 1e6,
    }


@contextmanager
def _private_memory() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the highest private memory so far, in KB: files that are mapped are not in it."""
    highest, over = [_anonymous_kb()], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            highest.append(max(highest.pop(), _anonymous_kb()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: highest[0]
    finally:
        over.set()
        thread.join()


def _anonymous_kb() -> float:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return float(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def _report(runs: Runs, sizes: list[int], large: int, ways: list[str]) -> Iterator[str]:
    yield "# Only what changed"
    yield ""
    yield (
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, in one run on {os.cpu_count()} cores, which PostgreSQL "
        "and the stand-in for S3 share. Seconds until the rows are staged in S3, without imports and without Smartech; "
        f"medians of {max(map(len, runs.values()))} rounds with {min(sizes):,} rows, larger tables ran once. Ratios "
        "are to the same way without only_changes, in the same round. MB are the highest private memory of the "
        "process; files that are mapped into memory are not in it."
    )
    yield ""
    yield "| way | rows | case | seconds | ratio | wanted | MB | rows sent | MB sent |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for way in ways:
        for rows in sizes:
            for case in CASES:
                found = runs[way, rows, case]
                pairs = zip(found, runs[way, rows, ALL], strict=True)
                ratio = median(one["seconds"] / plain["seconds"] for one, plain in pairs)
                wanted = f"at most {WANTED[case]}" if case in WANTED else ""
                cells = [WAYS[way], f"{rows:,}", case, f"{_median(found, 'seconds'):.2f}", f"{ratio:.2f}", wanted]
                cells += [f"{_median(found, 'private_mb'):.0f}", f"{_median(found, 'sent_rows'):,.0f}"]
                cells.append(f"{_median(found, 'sent_mb'):,.1f}")
                yield f"| {' | '.join(cells)} |"
    yield ""
    yield "| what | wanted | measured |"
    yield "| --- | ---: | ---: |"
    small, big = min(sizes), max(sizes)
    for way in ways if big > small else ():
        for case in (NEW, SOME):
            grown = _median(runs[way, big, case], "private_mb") / _median(runs[way, small, case], "private_mb")
            yield f"| private memory: {WAYS[way]}, {case}, {big:,} / {small:,} rows | at most 1.1 | {grown:.2f} |"
    if large:
        for case in (NEW, SOME):
            one, other = runs["copy_psycopg2", large, case], runs["copy_psycopg2", big, case]
            linear = _median(other, "seconds") * large / big
            what = f"seconds: COPY, psycopg2, {case}, {large:,} rows / linear from {big:,}"
            yield f"| {what} | at most 1.2 | {_median(one, 'seconds') / linear:.2f} |"


def _median(found: list[dict[str, float]], what: str) -> float:
    return median(run[what] for run in found)


if __name__ == "__main__":
    main()
