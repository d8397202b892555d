"""What happens, for those who wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

_began = time.monotonic()


def say(text: str) -> None:
    """Print a progress message."""
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Print what is begun, and how long it took."""
    say(f"{text} …")
    began = time.monotonic()
    yield
    say(f"{text}: {time.monotonic() - began:.1f} s")
