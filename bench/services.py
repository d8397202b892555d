"""What the pipelines are measured with: PostgreSQL with contacts, and stand-ins for S3 and Smartech."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.pipelines import BUCKET, s3_client
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


@dataclass(frozen=True)
class Services:
    """The running services: a ``folder`` for files, and the ``environment`` of the processes that are measured."""

    folder: Path
    postgres: PostgresServer
    environment: dict[str, str]

    def make_contacts(self, rows: int) -> str:
        """Make a table with so many contacts, and return its name."""
        say(f"making {rows:,} contacts")
        self.postgres.execute(CONTACTS.format(rows=rows), f"VACUUM ANALYZE contacts_{rows}")
        return f"contacts_{rows}"

    def measure(self, *command: str) -> dict[str, float]:
        """Run Python with these arguments, which prints its measurements as JSON in the last line, and return them."""
        done = subprocess.run([sys.executable, *command], env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        _empty_bucket()
        return result


@contextmanager
def services() -> Iterator[Services]:
    """Start them, and stop them again."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartech-bench-")))
        postgres = stack.enter_context(PostgresServer())
        s3 = stack.enter_context(moto(folder))
        smartech, _ = stack.enter_context(answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", ANSWER))
        os.environ["BENCH_S3"] = s3
        s3_client().create_bucket(Bucket=BUCKET)
        yield Services(folder, postgres, {**os.environ, **_environment(folder, postgres, s3, smartech)})


def _environment(folder: Path, postgres: PostgresServer, s3: str, smartech: str) -> dict[str, str]:
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


def _empty_bucket() -> None:
    client = s3_client()
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])
