"""The upload store: whether this process can use it, and how fast it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from airflow_provider_smartech.doctor.finding import Finding, broken, ok, warning
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import key_of, new_probe_id

LINK = "upload store"
SLOW_SECONDS = 2.0


def store_link(store: UploadStore) -> Iterator[Finding]:
    """Write, read, list and remove a probe, and yield how long each took."""
    key = str(key_of(new_probe_id()))

    def write() -> bool:
        store.create_probe(key)
        return True

    def remove() -> bool:
        store.remove_probe(key)
        return key not in store.probe_keys()

    steps: dict[str, Callable[[], bool]] = {
        "write": write,
        "read": lambda: store.has(key),
        "list": lambda: key in store.probe_keys(),
        "remove": remove,
    }
    took: dict[str, float] = {}
    try:
        for step, do in steps.items():
            began = time.monotonic()
            try:
                is_done = do()
            except UploadStoreError as error:
                yield broken(LINK, f"cannot {step}: {error}", _so_far(took))
                return
            took[step] = time.monotonic() - began
            if not is_done:
                yield broken(
                    LINK,
                    f"{store.shown_url}: what was just written is not seen by the next call ({step})",
                    "Use a storage without a cache between its users. A shared folder must not cache file attributes.",
                )
                return
    finally:
        with suppress(UploadStoreError):
            store.remove_probe(key)
    yield _speed(store, took)


def _speed(store: UploadStore, took: dict[str, float]) -> Finding:
    local = ", a folder that all of Airflow's components must share" if store.shown_url.startswith("file:") else ""
    seen = f"{store.shown_url}{local}: {_times(took)}"
    if max(took.values()) > SLOW_SECONDS:
        return warning(LINK, seen, "It is slow: ping-backs and waits depend on it. Use one that is near Airflow.")
    return ok(LINK, seen)


def _so_far(took: dict[str, float]) -> str:
    return f"Before that: {_times(took)}." if took else ""


def _times(took: dict[str, float]) -> str:
    return ", ".join(f"{step} {seconds:.3f} s" for step, seconds in took.items())
