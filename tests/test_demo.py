"""``make demo``, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.servers import eventually

pytestmark = [pytest.mark.airflow, pytest.mark.once]


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the demo with its files in a folder, and end it if the test did not."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        # As a script starts it in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def said(process: subprocess.Popen[str], words: str) -> str:
    """Return what the demo says, up to a line with these words."""
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def left_over(folder: Path) -> list[str]:
    """Return the command lines of processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AIRFLOW_HOME", "").startswith(str(folder)):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_the_demo_shows_the_whole_path_can_be_looked_at_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path, "--keep") as process:
        output = said(process, "still running")
        assert re.search(r"^requestid   [0-9a-f]{32}$", output, re.MULTILINE)
        assert re.search(r"^requestids  [0-9a-f]{32}, [0-9a-f]{32}, [0-9a-f]{32}$", output, re.MULTILINE)
        assert re.search(r"^requestids  [0-9a-f]{32}$", output, re.MULTILINE)
        assert output.count("state       completed (DAG run: success)") == 3
        for words in (
            "wait: deferred",
            "sync: deferred",
            "12,000 on list 33",
            "sent        112,848 of 112,848 rows",
            "112,848 on list 34",
            "left out    1,152 rows",
            "sent        1,300 of 112,948 rows, 0.1 MB",
            "113,148 on list 34",
        ):
            assert words in output
        table = dict(re.findall(r"^(\w+) +([\d,]+ +[\d,]+)$", output, re.MULTILINE))
        assert {name: numbers.split() for name, numbers in table.items() if name != "bytes"} == {
            "rows": ["112,848", "112,948"],
            "sent": ["112,848", "1,300"],
            "new": ["112,848", "300"],
            "changed": ["0", "1,000"],
            "unchanged": ["0", "111,648"],
            "removed": ["0", "200"],
        }
        parts = re.search(r"Airflow (\S+) \(user (\w+), password (\w+)\), sandbox (\S+)", output)
        assert parts
        airflow, user, password, sandbox = parts.groups()
        answer = httpx.post(f"{airflow}/auth/token", json={"username": user, "password": password}, trust_env=False)
        assert answer.json()["access_token"]
        assert "Contacts: 1" in httpx.get(sandbox, trust_env=False).text
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert left_over(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_while_airflow_starts_stops_everything(
    tmp_path: Path, number: signal.Signals
) -> None:
    with demo(tmp_path) as process:
        said(process, "waiting until Airflow is healthy")
        eventually(lambda: len(left_over(tmp_path)) > 2, 60)
        process.send_signal(number)
        assert process.wait(60) == 130
    assert left_over(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
