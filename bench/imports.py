"""The fifth part of ``make bench``: what importing the operators and sensors costs at each parse of a DAG."""

from __future__ import annotations

import compileall
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import airflow_provider_smartech
from bench.progress import say

REPORT = Path(__file__).with_name("imports.md")
ROUNDS = 7
WANTED_MS = 20.0
# Already imported when a DAG is parsed.
FIRST = "from airflow.sdk import BaseOperator, BaseSensorOperator, DAG"
# A module that nothing else imports: the modules after it in the list are counted.
MARK = "tabnanny"
MODULES = {
    "this provider: operators, sensors": "airflow_provider_smartech.operators, airflow_provider_smartech.sensors",
    "this provider: transfers as well": (
        "airflow_provider_smartech.operators, airflow_provider_smartech.sensors, airflow_provider_smartech.transfers"
    ),
    "census: operator, sensor": "airflow_provider_census.operators.census, airflow_provider_census.sensors.census",
    "dbt-cloud: operators, sensors": (
        "airflow.providers.dbt.cloud.operators.dbt, airflow.providers.dbt.cloud.sensors.dbt"
    ),
}


def main() -> None:
    """Measure every provider in turn and write the report."""
    # As pip does when it installs a package; this one is installed in place.
    compileall.compile_dir(Path(airflow_provider_smartech.__file__).parent, quiet=1)
    found: dict[str, list[float]] = {name: [] for name in MODULES}
    for _ in range(ROUNDS):
        for name, modules in MODULES.items():
            found[name].append(_milliseconds(modules))
    say(str(found))
    REPORT.write_text("\n".join(_report(found)) + "\n", "utf-8")


def _milliseconds(modules: str) -> float:
    """Return the time of importing these in addition to Airflow's base classes, as measured by Python."""
    code = f"{FIRST}\nimport {MARK}\nimport {modules}"
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, _, after = done.stderr.partition(f"| {MARK}\n")
    assert after, before
    return sum(_top_level(after)) / 1000


def _top_level(lines: str) -> Iterator[int]:
    """Yield the microseconds of each module that no other one of these imported."""
    for line in lines.splitlines():
        if found := re.fullmatch(r"import time: +\d+ \| +(\d+) \| (\S.*)", line):
            yield int(found[1])


def _report(found: dict[str, list[float]]) -> Iterator[str]:
    yield "# Imports"
    yield ""
    yield (
        f"Made by `make bench` on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores: what importing a provider's "
        "modules adds to a process that has Airflow's `BaseOperator` and `BaseSensorOperator`, by `python -X "
        f"importtime`; medians of {ROUNDS} runs in turn. Every parse of a DAG file pays it."
    )
    yield ""
    yield "| modules | milliseconds |"
    yield "| --- | ---: |"
    for name, milliseconds in found.items():
        yield f"| {name} | {statistics.median(milliseconds):.1f} |"
    ours = statistics.median(next(iter(found.values())))
    yield ""
    yield "| what | wanted | measured |"
    yield "| --- | ---: | ---: |"
    yield f"| this provider: operators, sensors | at most {WANTED_MS:.0f} ms | {ours:.1f} ms |"


if __name__ == "__main__":
    main()
