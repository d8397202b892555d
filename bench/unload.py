"""The sixth part of ``make bench``: checking and submitting what a warehouse has written to S3 as many files."""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from botocore.client import BaseClient

from airflow_provider_smartech.transfers import S3ToSmartechOperator
from bench.pipelines import s3_client
from bench.progress import say
from bench.services import Services, services
from tests.support.tasks import FakeTaskInstance, context

REPORT = Path(__file__).with_name("unload.md")
BUCKET, STORE = "unloaded", "uploads"
OBJECTS = (1, 100, 1_000)
ROWS = 10_000
WAYS = {
    "own": "S3ToSmartechOperator",
    "bare": "bare loop: sign each, POST it",
}
WANTED_MEMORY = 1.1

Runs = dict[tuple[str, int], dict[str, float]]


def main() -> None:
    """Measure both ways with each number of objects, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.unload")
    parser.add_argument("--objects", type=int, nargs="+", default=list(OBJECTS))
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "OBJECTS"), help="for the process of one run")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(*options.measure)))
        return
    runs: Runs = {}
    with services() as running:
        _write_objects(max(options.objects))
        for objects in options.objects:
            for way in WAYS:
                runs[way, objects] = _run(running, way, objects)
                say(f"{way:5} {objects:>6,} objects: {runs[way, objects]}")
    REPORT.write_text("\n".join(_report(runs, options.objects)) + "\n", "utf-8")


def _write_objects(objects: int) -> None:
    say(f"writing {objects:,} objects of {ROWS:,} rows")
    client = s3_client()
    for name in (BUCKET, STORE):
        client.create_bucket(Bucket=name)
    for number in range(objects):
        rows = "".join(f"contact{number}-{row}@example.com,Somebody,Mumbai\n" for row in range(ROWS))
        client.put_object(Bucket=BUCKET, Key=_key(number), Body=f"EMAIL,FIRST_NAME,CITY\n{rows}".encode())


def _key(number: int) -> str:
    return f"unload/part-{number:05}.csv"


def _run(running: Services, way: str, objects: int) -> dict[str, float]:
    # The store is in S3 as well, as where several hosts share it.
    store = {"AIRFLOW__SMARTECH__UPLOAD_STORE": f"s3://aws_default@{STORE}/{uuid.uuid4().hex}"}
    running.environment.update(store)
    return running.measure("-m", "bench.unload", "--measure", way, str(objects))


def _measured(way: str, objects: str) -> dict[str, float]:
    """Submit so many objects, and return what it took: seconds, requests and peak memory in MB."""
    asked = {"s3": 0, "smartech": 0}
    _count(asked)
    keys = [_key(number) for number in range(int(objects))]
    submit = _own if way == "own" else _bare
    # Imports and the first connections are not measured.
    submit(keys[:1])
    asked.update(s3=0, smartech=0)
    began = time.perf_counter()
    submit(keys)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, **asked, "peak_mb": peak}


def _own(keys: list[str]) -> None:
    task = S3ToSmartechOperator(task_id="bench", s3_bucket=BUCKET, s3_key=keys, primary_key="EMAIL", listid=1)
    task.execute(context(FakeTaskInstance(run_id=uuid.uuid4().hex)))


def _bare(keys: list[str]) -> None:
    """The least that submits them: nothing is checked, recorded or sent only once."""
    client, session = s3_client(), requests.Session()
    host = json.loads(os.environ["AIRFLOW_CONN_SMARTECH_DEFAULT"])["host"]
    for key in keys:
        url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})
        session.post(host, data={"path": url, "listid": 1}).raise_for_status()


def _count(asked: dict[str, int]) -> None:
    """Count all requests of this process."""
    call, send = BaseClient._make_api_call, requests.Session.send

    def calling(self: Any, *arguments: Any) -> Any:
        asked["s3"] += 1
        return call(self, *arguments)

    def sending(self: Any, *arguments: Any, **named: Any) -> Any:
        asked["smartech"] += 1
        return send(self, *arguments, **named)

    BaseClient._make_api_call = calling
    requests.Session.send = sending  # type: ignore[method-assign]


def _report(runs: Runs, objects: list[int]) -> list[str]:
    lines = [
        "# What a warehouse has unloaded to S3",
        "",
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, in one run on {os.cpu_count()} cores, which the "
        f"stand-ins for S3 and Smartech share. Each object has {ROWS:,} rows. Until all are submitted: seconds, "
        "requests, and the peak memory of the whole process, including Airflow. The upload store is in S3, and its "
        "stand-in answers one request at a time.",
        "",
        "| objects | way | seconds | requests to S3 | to Smartech | peak MB |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for number in objects:
        for way, name in WAYS.items():
            run = runs[way, number]
            cells = [f"{run['seconds']:.2f}", f"{run['s3']:,}", f"{run['smartech']:,}", f"{run['peak_mb']:.0f}"]
            lines.append(f"| {number:,} | {name} | {' | '.join(cells)} |")
    few, many = runs["own", min(objects)], runs["own", max(objects)]
    per_object = (many["s3"] - few["s3"]) / max(1, max(objects) - min(objects))
    lines += [
        "",
        "| what | wanted | measured |",
        "| --- | ---: | ---: |",
        f"| memory with {max(objects):,} objects / with {min(objects):,} | at most {WANTED_MEMORY} "
        f"| {many['peak_mb'] / few['peak_mb']:.2f} |",
        f"| requests to S3 for each further object | | {per_object:.1f} |",
    ]
    return lines


if __name__ == "__main__":
    main()
