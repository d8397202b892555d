"""``python -m airflow_provider_smartech.receiver``: the receiver alone, if Smartech cannot reach Airflow."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

import uvicorn

from airflow_provider_smartech.errors import SmartechConfigurationError, UploadStoreError
from airflow_provider_smartech.receiver.app import create_app
from airflow_provider_smartech.receiver.environment import receiver_store


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the receiver alone; Airflow need not be installed."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_smartech.receiver", description="Receive Smartech's ping-backs."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="port to listen on (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        store = receiver_store()
        store.check()
    except (SmartechConfigurationError, UploadStoreError) as error:
        # Printed, with the exit code 1.
        raise SystemExit(str(error)) from None
    _log_to_stderr()
    print(f"Smartech ping-backs: http://{options.host}:{options.port}/, stored in {store.shown_url}", flush=True)  # noqa: T201
    # No access log: it would show the upload ids.
    uvicorn.run(create_app(store), host=options.host, port=options.port, access_log=False)


def _log_to_stderr() -> None:
    """Show this provider's messages, such as those of ping-backs that are kept, but not those of other libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("airflow_provider_smartech")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False


if __name__ == "__main__":
    main()
