"""``python -m airflow_provider_smartech.receiver``: the receiver alone, if Smartech cannot reach Airflow."""

from __future__ import annotations

import argparse
import logging.config
from collections.abc import Sequence

import uvicorn

from airflow_provider_smartech.errors import SmartechConfigurationError, UploadStoreError
from airflow_provider_smartech.receiver.app import create_app
from airflow_provider_smartech.receiver.environment import receiver_judge, receiver_store
from airflow_provider_smartech.receiver.json_lines import LOGGING


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
    logging.config.dictConfig(LOGGING)
    print(f"Smartech ping-backs: http://{options.host}:{options.port}/, stored in {store.shown_url}", flush=True)  # noqa: T201
    # No access log: it would show the upload ids.
    app = create_app(store, receiver_judge())
    uvicorn.run(app, host=options.host, port=options.port, access_log=False, log_config=LOGGING)


if __name__ == "__main__":
    main()
