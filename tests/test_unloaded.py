"""What engines really write in parallel is what Smartech loads: every value of every contact, once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest

from airflow_provider_smartech.sandbox import SandboxServer
from tests.support.tasks import run
from tests.support.transfers import from_s3

pytestmark = pytest.mark.usefixtures("receiver")

JOB = Path(__file__).parent.parent / "example_dags" / "unload" / "smartech_spark_contacts.py"
# What CSV and its writers stumble over.
NAMES = (
    'said "hi"',
    "a,b",
    " between blanks ",
    "two\nlines",
    "Zoë 王小明",
    "",
    None,
    "back\\slash",
    'a\\"b',
    "'",
    "NULL",
)


def contacts(rows: int) -> pa.Table:
    names = [NAMES[number % len(NAMES)] for number in range(rows)]
    return pa.table(
        {
            "email": [f"c{number:05}@example.com" for number in range(rows)],
            "first_name": pa.array(names, pa.string()),
            "city": ["São Paulo"] * rows,
        }
    )


def are_loaded(sandbox: SandboxServer, table: pa.Table) -> None:
    """The sandbox has these contacts; it knows no NULL."""
    rows = [{name.upper(): value or "" for name, value in row.items()} for row in table.to_pylist()]
    assert sandbox.state.count(33) == len(rows)
    assert sandbox.state.contacts(len(rows)) == rows


def test_what_arrow_writes_to_s3_from_several_threads_is_loaded(
    sandbox: SandboxServer, s3: Any, bucket: str, moto: str
) -> None:
    table = contacts(2000)
    where = pyarrow.fs.S3FileSystem(
        endpoint_override=urlsplit(moto).netloc,
        scheme="http",
        access_key="test",
        secret_key="test-secret",
        region="us-east-1",
    )
    pyarrow.dataset.write_dataset(
        table.rename_columns([name.upper() for name in table.column_names]),
        f"{bucket}/arrow",
        format="csv",
        filesystem=where,
        max_rows_per_file=300,
        max_rows_per_group=100,
    )
    result = run(from_s3(bucket, s3_key=None, s3_prefix="arrow/", primary_key="EMAIL", wait_for_completion=True))
    # Arrow also writes an object for the folder.
    assert (len(result["requestids"]), result["accepted"], result["empty"]) == (7, 2000, 1)
    are_loaded(sandbox, table)


@pytest.mark.once
def test_what_the_example_job_makes_spark_write_is_loaded(
    sandbox: SandboxServer, s3: Any, bucket: str, tmp_path: Path
) -> None:
    table = contacts(1200)
    (tmp_path / "lake").mkdir()
    for part in range(4):
        pyarrow.parquet.write_table(table.slice(part * 300, 300), tmp_path / "lake" / f"{part}.parquet")
    pyarrow.parquet.write_table(table.slice(0, 0), tmp_path / "lake" / "none.parquet")
    spark(tmp_path / "lake", tmp_path / "written")
    # Without Hadoop's client of S3, Spark writes a folder.
    written = sorted(path for path in (tmp_path / "written").iterdir() if path.suffix != ".crc")
    for path in written:
        s3.upload_file(str(path), bucket, f"spark/{path.name}")
    assert [path.name for path in written if not path.name.startswith("part-")] == ["_SUCCESS"]
    for selection in ({"s3_wildcard": "spark/part-*.csv"}, {"s3_prefix": "spark/"}):
        task = from_s3(bucket, s3_key=None, primary_key="EMAIL", wait_for_completion=True, **selection)
        task.task_id = next(iter(selection))
        result = run(task)
        assert result["accepted"] == 1200
        assert len(result["files"]) > 1, "it was written in parallel"
    are_loaded(sandbox, table)


def spark(source: Path, target: Path) -> None:
    """Run the example's job on two cores, a file for each task."""
    settings = {
        "spark.master": "local[2]",
        "spark.sql.files.openCostInBytes": str(128 << 20),
        "spark.ui.enabled": "false",
    }
    options = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    environment = {
        **os.environ,
        "PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    done = subprocess.run(
        [os.environ["SPARK_PYTHON"], str(JOB), f"file://{source}", f"file://{target}"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
