"""The stand-in for S3 that the benchmarks write to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.pipelines import s3_client
from tests.support.processes import free_ports
from tests.support.servers import eventually


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """The stand-in for S3 in a separate process, so that its work is not measured."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(url), 60)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def use_s3(url: str, *buckets: str) -> None:
    """Create buckets, and let this process and its children reach them with the connection ``bench_s3``."""
    os.environ["BENCH_S3"] = url
    extra = {"endpoint_url": url, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "test", "password": "test-secret", "extra": extra}
    os.environ["AIRFLOW_CONN_BENCH_S3"] = json.dumps(connection)
    for bucket in buckets:
        s3_client().create_bucket(Bucket=bucket)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/moto-api/", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
