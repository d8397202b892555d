"""``make simulate``: many histories with a new seed; prints one that fails as a script."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories.machine import History
from tests.histories.world import World

STEPS = 25


def run(histories: int, number: int, steps: int = STEPS, shrink: bool = True) -> None:
    """Run so many histories from a seed.

    :raises AssertionError: a promise was broken; the notes of it are the history as a script.
    """
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    checks = settings(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
        verbosity=Verbosity.normal,
    )
    with World() as History.world:
        run_state_machine_as_test(seed(number)(History), settings=checks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run them and say what they have seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories")
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--no-shrink", action="store_true", help="show the first failing history as it is")
    options = parser.parse_args(arguments)
    print(f"{options.histories:,} histories, seed {options.seed}", flush=True)
    began = time.monotonic()
    try:
        run(options.histories, options.seed, shrink=not options.no_shrink)
    finally:
        print(f"{time.monotonic() - began:.0f} s; {dict(History.seen.most_common())}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, ".")
    main()
