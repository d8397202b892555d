"""The receiver alone, in an environment without Airflow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.support.processes import free_ports
from tests.support.servers import eventually

# Made by the Makefile.
_DEFAULT = Path(__file__).parents[2] / ".venv-receiver" / "bin" / "python"
RECEIVER_PYTHON = os.environ.get("RECEIVER_PYTHON", str(_DEFAULT))


@contextmanager
def receiver_alone(settings: Mapping[str, str], log: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run it with these environment variables; gives its URL and its process."""
    [port] = free_ports(1)
    with log.open("wb") as output:
        process = subprocess.Popen(receiver_command(port), env=settings, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: process.poll() is not None or _answers(url), 60)
        assert process.poll() is None, log.read_text("utf-8")
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def receiver_command(port: int) -> list[str]:
    """Return the command that runs it on a port."""
    return [RECEIVER_PYTHON, "-m", "airflow_provider_smartech.receiver", "--port", str(port)]


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False
