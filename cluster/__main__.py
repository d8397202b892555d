"""``make cluster``: starts the services of docker-compose.yaml as processes, and leaves them running until Ctrl-C."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from cluster.local import Cluster
from tests.support.airflow_api import DemoError

_began = time.monotonic()


def main() -> int:
    """Run the cluster and return the exit status."""
    parser = argparse.ArgumentParser(prog="make cluster")
    parser.add_argument("--profile", help="a profile of docker-compose.yaml to start as well, such as receiver")
    profile = parser.parse_args().profile
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="smartech-cluster-"))
    try:
        with Cluster(folder, profile=profile, say=say) as cluster:
            _show(cluster)
            signal.pause()
    except DemoError as error:
        say(f"FAILED: {error}; its files are kept in {folder}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
    shutil.rmtree(folder)
    return 0


def say(text: str) -> None:
    """Print a progress message."""
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


def _show(cluster: Cluster) -> None:
    user, password = cluster.login()
    say("everything is up")
    print(f"Airflow   {cluster.url} (user {user}, password {password})")
    print(f"sandbox   {cluster.address('sandbox')}/")
    print(f"a CSV     {cluster.address('s3')}/my-company-staging/contacts.csv")
    print(f"logs      {cluster.folder}")
    print("Ctrl-C stops everything and removes them.", flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A second signal must not leave processes running.
    signal.signal(number, signal.SIG_IGN)
    say("stopping …")
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
