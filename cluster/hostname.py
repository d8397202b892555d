"""The host name of a service, as in its container; here all services run on one host."""

from __future__ import annotations

import os


def hostname() -> str:
    """Return the host name that Airflow uses for this process."""
    return os.environ["HOSTNAME"]
