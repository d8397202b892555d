"""``make bench``: measures the pipelines from PostgreSQL to S3 and writes a table and a plot next to this file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import report
from bench.pipelines import BUCKET, PIPELINES, s3_client
from bench.progress import say
from bench.s3_stand_in import moto
from tests.support.postgres import PostgresServer
from tests.support.servers import answering

ANSWER = b'{"requestid": "00000000000000000000000000000000", "result": "Success"}'

CONTACTS = r"""
CREATE TABLE contacts_{rows} AS SELECT
    i AS id,
    'contact' || i || '@example.com' AS email,
    (ARRAY['Anaïs', 'Zoë', 'O''Neil', '王小明', 'Priya', ''])[1 + i % 6] AS first_name,
    CASE WHEN i % 7 = 0 THEN NULL ELSE 'Smith "Smitty", Jr. ' || i END AS last_name,
    (ARRAY['Mumbai', 'Washington, D.C.', 'São Paulo'])[1 + i % 3] AS city,
    CASE WHEN i % 11 = 0 THEN E'two\nlines' ELSE 'a longer note about the person number ' || i END AS note,
    DATE '1950-01-01' + (i % 20000) AS birthday,
    CASE WHEN i % 3 = 0 THEN NULL ELSE i % 1000 END AS points,
    ((i % 100000) / 100.0)::numeric(12, 2) AS balance,
    i % 2 = 0 AS active,
    TIMESTAMPTZ '2024-01-01 00:00:00+00' + i * INTERVAL '1.5 seconds' AS seen_at,
    i * 0.37::float8 AS score
FROM generate_series(1, {rows}) AS i
"""


def main() -> None:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each pipeline with the smallest table")
    parser.add_argument("--pipelines", nargs="+", default=[pipeline.__name__ for pipeline in PIPELINES])
    options = parser.parse_args()
    measured: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartech-bench-")))
        postgres = stack.enter_context(PostgresServer())
        s3 = stack.enter_context(moto(folder))
        smartech, _ = stack.enter_context(answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", ANSWER))
        environment = {**os.environ, **environment_of(folder, postgres, s3, smartech)}
        os.environ["BENCH_S3"] = s3
        s3_client().create_bucket(Bucket=BUCKET)
        for rows in (10, *options.rows):
            say(f"making {rows:,} contacts")
            postgres.execute(CONTACTS.format(rows=rows), f"VACUUM ANALYZE contacts_{rows}")
            _write_file(postgres, folder, f"contacts_{rows}")
        for rows in options.rows:
            # In turn, so that a slow minute of the machine affects all of them; in alternating order, because the
            # previous run also has an effect.
            for number in range(options.rounds if rows == min(options.rows) else 1):
                for pipeline in options.pipelines if number % 2 else options.pipelines[::-1]:
                    result = _measure(pipeline, f"contacts_{rows}", environment)
                    measured[pipeline, rows].append(result)
                    say(f"{pipeline:18} {rows:>9,} rows: {result['seconds']:6.2f} s, {result['peak_mb']:6.0f} MB")
                    empty_bucket()
    report.write(measured, options.rows, _machine())


def _measure(pipeline: str, table: str, environment: dict[str, str]) -> dict[str, float]:
    return run_measured([sys.executable, "-m", "bench.pipelines", pipeline, table], environment)


def run_measured(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a command that prints its measurements as JSON in the last line, and return them."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[2:])} failed:\n{done.stderr[-3000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def environment_of(folder: Path, postgres: PostgresServer, s3: str, smartech: str) -> dict[str, str]:
    """Return the settings and connections for the process of a pipeline."""
    aws = {"conn_type": "aws", "login": "test", "password": "test", "extra": {"endpoint_url": s3}}
    aws["extra"]["region_name"] = "us-east-1"  # type: ignore[index]
    return {
        "AIRFLOW_HOME": f"{folder}/airflow",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__SMARTECH__UPLOAD_STORE": f"file://{folder}/uploads",
        "AIRFLOW__SMARTECH__CALLBACK_BASE_URL": "http://127.0.0.1:9/smartech",
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW_CONN_BENCH": json.dumps(postgres.connection),
        "AIRFLOW_CONN_SMARTECH_DEFAULT": json.dumps({"conn_type": "smartech", "password": "key", "host": smartech}),
        "BENCH_FOLDER": str(folder),
        "BENCH_S3": s3,
        "BENCH_URI": postgres.uri,
    }


def _write_file(postgres: PostgresServer, folder: Path, table: str) -> None:
    import psycopg2

    connection = psycopg2.connect(postgres.uri)
    try:
        with connection.cursor() as cursor, (folder / f"{table}.csv").open("wb") as file:
            cursor.copy_expert(f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT csv, HEADER)", file)
    finally:
        connection.close()


def empty_bucket() -> None:
    """Remove all objects."""
    client = s3_client()
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])


def _machine() -> dict[str, Any]:
    from importlib.metadata import version

    names = [
        "apache-airflow",
        "apache-airflow-providers-amazon",
        "psycopg2-binary",
        "psycopg",
        "pyarrow",
        "pandas",
        "polars",
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return {"cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


if __name__ == "__main__":
    main()
