"""The name of a service's host, as its container has it; here all of them are on one."""

from __future__ import annotations

import os


def hostname() -> str:
    """Return what Airflow is to call this process's host."""
    return os.environ["HOSTNAME"]
