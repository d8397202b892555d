"""The commands of the package: run in this process, or in one of their own, which takes some seconds."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from typing import NamedTuple
from unittest.mock import patch

from packaging.version import Version

from airflow_provider_smartech.cli.definition import main

MODULE = (sys.executable, "-m", "airflow_provider_smartech")
# Providers bring commands from Airflow 3.2 on.
HAS_GROUPS = Version(version("apache-airflow-core")) >= Version("3.2")
GROUP = (sys.executable, "-m", "airflow", "smartech") if HAS_GROUPS else MODULE
BOTH = list(dict.fromkeys((GROUP, MODULE)))


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str


def called(*arguments: str, typed: str = "") -> Done:
    """Run a command in this process; its log is not in ``stderr``."""
    stdout, stderr, status = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(stdout), redirect_stderr(stderr), patch("sys.stdin", io.StringIO(typed)):
        try:
            main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                stderr.write(f"{end.code}\n")
    return Done(status, stdout.getvalue(), stderr.getvalue())


def started(*arguments: str, command: tuple[str, ...] = GROUP, typed: str = "", **environment: str) -> Done:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [*command, *arguments],
        input=typed,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)
