"""``make bench``: measures the pipelines from PostgreSQL to S3 and writes a table and a plot next to this file."""

from __future__ import annotations

import argparse
import os
import platform
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench import report
from bench.pipelines import PIPELINES
from bench.progress import say
from bench.services import services
from tests.support.postgres import PostgresServer


def main() -> None:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each pipeline with the smallest table")
    parser.add_argument("--pipelines", nargs="+", default=[pipeline.__name__ for pipeline in PIPELINES])
    options = parser.parse_args()
    measured: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    with services() as running:
        for rows in (10, *options.rows):
            _write_file(running.postgres, running.folder, running.make_contacts(rows))
        for rows in options.rows:
            # In turn, so that a slow minute of the machine affects all of them; in alternating order, because the
            # previous run also has an effect.
            for number in range(options.rounds if rows == min(options.rows) else 1):
                for pipeline in options.pipelines if number % 2 else options.pipelines[::-1]:
                    result = running.measure("-m", "bench.pipelines", pipeline, f"contacts_{rows}")
                    measured[pipeline, rows].append(result)
                    say(f"{pipeline:18} {rows:>9,} rows: {result['seconds']:6.2f} s, {result['peak_mb']:6.0f} MB")
    report.write(measured, options.rows, _machine())


def _write_file(postgres: PostgresServer, folder: Path, table: str) -> None:
    import psycopg2

    connection = psycopg2.connect(postgres.uri)
    try:
        with connection.cursor() as cursor, (folder / f"{table}.csv").open("wb") as file:
            cursor.copy_expert(f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT csv, HEADER)", file)
    finally:
        connection.close()


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
