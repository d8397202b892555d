"""The pipelines from PostgreSQL to S3. Each runs in its own process: ``python -m bench.pipelines <pipeline> <table>``.

Prints a JSON object with the wall time and the CPU time of the pipeline itself in seconds, without imports, and the
peak memory of the whole process in MB.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import boto3

from airflow_provider_smartech.extracts.postgres import CopyExtract
from airflow_provider_smartech.staging.staged_query import StagedQuery
from airflow_provider_smartech.transfers import SqlToSmartechOperator
from tests.support.tasks import FakeTaskInstance, context

BUCKET = "bench"
WARM_UP = "contacts_10"
PART = 8 << 20


def run_operator(connect: Callable[[], Any], table: str, copy: bool = True) -> None:
    """Run this provider's operator with a driver."""
    hook = type("Hook", (), {"get_conn": staticmethod(connect)})()
    StagedQuery.database = lambda self: hook  # type: ignore[method-assign]
    if not copy:
        CopyExtract.suits = staticmethod(lambda connection: False)  # type: ignore[method-assign]
    task = SqlToSmartechOperator(
        task_id="bench",
        sql=query(table),
        conn_id="bench",
        s3_bucket=BUCKET,
        s3_prefix="operator",
        primary_key="email",
        listid=1,
    )
    task.execute(context(FakeTaskInstance(run_id=uuid.uuid4().hex)))


def copy_psycopg2(table: str) -> None:
    """SqlToSmartechOperator, COPY through psycopg2."""
    run_operator(_psycopg2, table)


def copy_psycopg(table: str) -> None:
    """SqlToSmartechOperator, COPY through psycopg 3."""
    import psycopg

    run_operator(lambda: psycopg.connect(os.environ["BENCH_URI"]), table)


def arrow_adbc(table: str) -> None:
    """SqlToSmartechOperator, Arrow batches through ADBC."""
    import adbc_driver_postgresql.dbapi

    run_operator(lambda: adbc_driver_postgresql.dbapi.connect(os.environ["BENCH_URI"]), table)


def rows_psycopg2(table: str) -> None:
    """SqlToSmartechOperator, rows as from any DB-API driver."""
    run_operator(_psycopg2, table, copy=False)


def sql_to_s3_pandas(table: str) -> None:
    """SqlToS3Operator with pandas."""
    _sql_to_s3(table, "pandas")


def sql_to_s3_polars(table: str) -> None:
    """SqlToS3Operator with polars."""
    _sql_to_s3(table, "polars")


def _sql_to_s3(table: str, frames: Any) -> None:
    from airflow.providers.amazon.aws.transfers.sql_to_s3 import SqlToS3Operator

    task = SqlToS3Operator(
        task_id="bench",
        query=query(table),
        sql_conn_id="bench",
        s3_bucket=BUCKET,
        s3_key="peer.csv",
        replace=True,
        file_format="csv",
        df_type=frames,
    )
    task.execute(context(FakeTaskInstance()))


class BareFile:
    """The minimum for writing COPY's rows as parts of an object; two parts are sent at a time."""

    def __init__(self) -> None:
        self.client = s3_client()
        self.upload = self.client.create_multipart_upload(Bucket=BUCKET, Key="bare.csv")["UploadId"]
        self.buffer = bytearray()
        self.threads = ThreadPoolExecutor(2)
        self.sending: deque[Future[Any]] = deque()
        self.parts: list[Any] = []

    def write(self, row: bytes) -> None:
        self.buffer += row
        if len(self.buffer) >= PART:
            self.send()

    def send(self) -> None:
        if len(self.sending) >= 2:
            self.parts.append(self.sending.popleft().result())
        number = len(self.parts) + len(self.sending) + 1
        self.sending.append(self.threads.submit(self.part, number, self.buffer))
        self.buffer = bytearray()

    def part(self, number: int, body: bytearray) -> dict[str, Any]:
        named = {"Bucket": BUCKET, "Key": "bare.csv", "UploadId": self.upload, "PartNumber": number}
        return {"ETag": self.client.upload_part(**named, Body=body)["ETag"], "PartNumber": number}

    def complete(self) -> None:
        self.send()
        parts = {"Parts": self.parts + [future.result() for future in self.sending]}
        named = {"Bucket": BUCKET, "Key": "bare.csv", "UploadId": self.upload}
        self.client.complete_multipart_upload(**named, MultipartUpload=parts)


def bare_psycopg2(table: str) -> None:
    """Bare loop of COPY and multipart upload, psycopg2."""
    file = BareFile()
    with closing(_psycopg2()) as connection, connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ({query(table)}) TO STDOUT (FORMAT csv, HEADER)", file)
    file.complete()


def bare_psycopg(table: str) -> None:
    """Bare loop of COPY and multipart upload, psycopg 3."""
    import psycopg

    file = BareFile()
    statement = f"COPY ({query(table)}) TO STDOUT (FORMAT csv, HEADER)"
    with (
        closing(psycopg.connect(os.environ["BENCH_URI"])) as connection,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        for row in copy:
            file.write(bytes(row))
    file.complete()


def raw_upload(table: str) -> None:
    """Upload of the finished file: the limit of S3."""
    s3_client().upload_file(f"{os.environ['BENCH_FOLDER']}/{table}.csv", BUCKET, "raw.csv")


def copy_to_nowhere(table: str) -> None:
    """COPY to nowhere: the limit of the database."""
    with closing(_psycopg2()) as connection, connection.cursor() as cursor:
        cursor.execute(f"COPY ({query(table)}) TO '/dev/null' (FORMAT csv)")


def _psycopg2() -> Any:
    # Imported late, as by Airflow's hooks: a pipeline's memory must not include the drivers of the others.
    import psycopg2

    return psycopg2.connect(os.environ["BENCH_URI"])


PIPELINES: list[Callable[[str], None]] = [
    copy_to_nowhere,
    raw_upload,
    bare_psycopg2,
    copy_psycopg2,
    bare_psycopg,
    copy_psycopg,
    arrow_adbc,
    rows_psycopg2,
    sql_to_s3_polars,
    sql_to_s3_pandas,
]


def query(table: str) -> str:
    """Return the query of all pipelines."""
    return f"SELECT * FROM {table}"


def s3_client() -> Any:
    """Return a client for the stand-in for S3."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("s3", endpoint_url=os.environ["BENCH_S3"], region_name="us-east-1", **keys)


def main() -> None:
    """Run one pipeline and print its measurements."""
    pipeline = next(pipeline for pipeline in PIPELINES if pipeline.__name__ == sys.argv[1])
    # Imports and first connections happen here, and are not measured.
    pipeline(WARM_UP)
    began, cpu = time.perf_counter(), time.process_time()
    pipeline(sys.argv[2])
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak}))


if __name__ == "__main__":
    main()
