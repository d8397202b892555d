"""``python -m airflow_provider_smartech.sandbox``: run the sandbox until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Sequence

from airflow_provider_smartech.sandbox.faults import Fault, read_faults
from airflow_provider_smartech.sandbox.server import SandboxServer


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sandbox."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_smartech.sandbox", description="A stand-in for Smartech's bulk upload API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8095, help="port to listen on, 0 for any free port (default: %(default)s)"
    )
    parser.add_argument(
        "--api-key",
        default=os.environ.get("SANDBOX_API_KEY", "sandbox-api-key"),
        help="the API key that it accepts (default: SANDBOX_API_KEY of the environment, else sandbox-api-key)",
    )
    parser.add_argument("--primary-key", default="EMAIL", help="attribute to upsert by (default: %(default)s)")
    parser.add_argument("--database", default=":memory:", help="SQLite file for contacts (default: in memory)")
    parser.add_argument(
        "--repeats", type=int, default=0, help="how often to repeat a ping-back that failed (default: %(default)s)"
    )
    parser.add_argument(
        "--repeat-seconds", type=float, default=10.0, help="the pause before each repeat (default: %(default)s)"
    )
    parser.add_argument(
        "--late-seconds", type=float, default=30.0, help="delay of late answers and ping-backs (default: %(default)s)"
    )
    parser.add_argument("--faults", default="", help=f"faults to simulate: {', '.join(Fault)} (comma-separated)")
    options = parser.parse_args(arguments)
    try:
        faults = read_faults([options.faults])
    except ValueError:
        parser.error(f"unknown fault in {options.faults!r}; choose from {', '.join(Fault)}")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        sandbox = SandboxServer(
            options.host,
            options.port,
            api_key=options.api_key,
            primary_key=options.primary_key,
            faults=faults,
            database=options.database,
            late_seconds=options.late_seconds,
            repeats=options.repeats,
            repeat_seconds=options.repeat_seconds,
        )
    except OSError as error:
        parser.error(f"cannot listen on {options.host}:{options.port}: {error.strerror}")
    with sandbox:
        print(f"Smartech sandbox: page {sandbox.url}/, API key {sandbox.api_key}, API {sandbox.api_url}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
