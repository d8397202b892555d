"""``make simulate``: many histories with a new seed; a history that fails is printed as a script."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test

STEPS = 25
# A history of syncs, which has several tasks, takes as long as several others.
SYNCS_SHARE = 5
REPORT = Path(__file__).parents[2] / "bench" / "histories.md"


def run(
    histories: int, number: int, *, of_syncs: bool = False, steps: int = STEPS, shrink: bool = True
) -> Counter[str]:
    """Run so many histories from a seed, and return what was seen in them.

    :param of_syncs: histories of syncs that upload only what changed.
    :raises AssertionError: a promise was broken; its notes are the history as a script.
    """
    # Here, because they import Airflow, which reads its home once.
    from tests.histories.machine import History
    from tests.histories.syncs import SyncHistory
    from tests.histories.world import World

    machine = SyncHistory if of_syncs else History

    checks = settings(
        # Of several, Hypothesis makes most by repeating parts of another one.
        max_examples=1,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
    )
    seeds = random.Random(number)
    with World() as machine.world:
        while machine.seen["history"] < histories:
            try:
                run_state_machine_as_test(seed(seeds.randrange(2**31))(machine), settings=checks)
            except FlakyStrategyDefinition:
                # Threads of the real parts took another turn when the same steps were tried again; no promise broke.
                machine.seen["history begun anew"] += 1
                if machine.seen["history begun anew"] > 1 + histories // 100:
                    raise
    return machine.seen


def main(arguments: Sequence[str] | None = None) -> None:
    """Share the histories among processes, one for each core, and keep what they have seen.

    Of syncs, a fifth as many are run besides.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.histories")
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--no-shrink", action="store_true", help="show the first history that fails as it is")
    parser.add_argument("--alone", action="store_true", help="run them in this process, and keep nothing")
    options = parser.parse_args(arguments)
    if options.alone:
        kinds = {"tasks": (options.histories, False), "syncs": (options.histories // SYNCS_SHARE, True)}
        seen = {
            kind: run(histories, options.seed, of_syncs=of_syncs, shrink=not options.no_shrink)
            for kind, (histories, of_syncs) in kinds.items()
        }
        print(json.dumps(seen))
        return
    print(
        f"{options.histories:,} histories of tasks from seed {options.seed}, in {options.processes} processes",
        flush=True,
    )
    began, share = time.monotonic(), -(-options.histories // options.processes)
    command = [sys.executable, "-m", "tests.histories", "--alone", "--histories", str(share)]
    command += ["--no-shrink"] if options.no_shrink else []
    with tempfile.TemporaryDirectory(prefix="smartech-simulate-") as folder:
        started = [_start(command, options.seed + n, Path(folder) / str(n)) for n in range(options.processes)]
        finished = [_finish(process, log) for process, log in started]
    if None in finished:
        raise SystemExit("A promise was broken; the history is printed above.")
    total = {kind: sum((Counter(one[kind]) for one in finished if one), Counter[str]()) for kind in ("tasks", "syncs")}
    report = "\n".join(_report(options.seed, time.monotonic() - began, total))
    REPORT.write_text(f"{report}\n", "utf-8")
    print(report)


def _start(command: list[str], number: int, home: Path) -> tuple[subprocess.Popen[bytes], Path]:
    home.mkdir()
    log = home / "log"
    with log.open("wb") as file:
        environment = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        process = subprocess.Popen(
            [*command, "--seed", str(number)], env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    return process, log


def _finish(process: subprocess.Popen[bytes], log: Path) -> dict[str, dict[str, int]] | None:
    process.wait()
    text = log.read_text("utf-8", errors="replace")
    if process.returncode == 0:
        seen: dict[str, dict[str, int]] = json.loads(text.splitlines()[-1])
        return seen
    print(text[-20_000:])
    return None


def _report(number: int, seconds: float, total: dict[str, Counter[str]]) -> Iterator[str]:
    yield "# Histories"
    yield ""
    yield (
        f"Made by `make simulate` on {datetime.now(UTC):%Y-%m-%d}: histories of up to {STEPS} steps, "
        f"from seed {number}, in {seconds / 60:.0f} minutes. Every promise of `tests/histories/` held after every step."
    )
    for kind, seen in total.items():
        yield ""
        yield f"## {seen.pop('history'):,} histories of {kind}"
        yield ""
        yield "| what happened in them | times |"
        yield "| --- | ---: |"
        for what, times in seen.most_common():
            yield f"| {what} | {times:,} |"


if __name__ == "__main__":
    main()
