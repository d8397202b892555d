"""What the receiver knows of the deployment where Airflow may not be installed: its store, and what words mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from airflow_provider_smartech.errors import SmartechConfigurationError
from airflow_provider_smartech.uploads import local_folder, s3_folder
from airflow_provider_smartech.uploads.statuses import Verdict
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack

VARIABLE = "AIRFLOW__SMARTECH__UPLOAD_STORE"


def receiver_store() -> UploadStore:
    """Return the store of Airflow's configuration, or where Airflow is not installed, that of the environment.

    :raises SmartechConfigurationError: the URL is missing, or needs Airflow.
    """
    if not _has_airflow():
        return _store_at(os.environ.get(VARIABLE, "").strip())
    # Imported here: it needs Airflow.
    from airflow_provider_smartech.config.upload_store import configured_upload_store

    # As in Airflow's own servers, so that the store's connection is found in Airflow's database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    return configured_upload_store()


def receiver_judge() -> Callable[[PingBack], Verdict | None]:
    """Return a function that returns what a ping-back says; where Airflow is not installed, this is not known."""
    if not _has_airflow():
        return lambda pingback: None
    # Imported here: it needs Airflow.
    from airflow_provider_smartech.config.settings import configured_judge

    return configured_judge()


def _has_airflow() -> bool:
    spec = find_spec("airflow")
    # Any folder named airflow in the current one, such as Airflow's home, is a package without a file.
    return spec is not None and spec.origin is not None


def _store_at(url: str) -> UploadStore:
    scheme, _, place = url.rpartition("://")
    if place and scheme in local_folder.SCHEMES:
        return UploadStore(local_folder.LocalFolder(url))
    if not place or scheme not in s3_folder.SCHEMES:
        problem = f"a URL that begins with {scheme}:// needs Airflow" if url else "it is not set"
        raise SmartechConfigurationError(
            f"Set {VARIABLE} to the folder that the tasks use as [smartech] upload_store, such as "
            f"s3://my-bucket/smartech or file:///var/lib/smartech: {problem}."
        )
    folder = s3_folder.S3Folder(url, _client)
    if folder.conn_id:
        raise SmartechConfigurationError(
            f"{VARIABLE} names the connection {folder.conn_id!r}, but Airflow is not installed here. Leave it out, as "
            "in s3://my-bucket/smartech: the credentials come from environment variables such as AWS_ACCESS_KEY_ID, or "
            "from the machine's role."
        )
    return UploadStore(folder)


def _client(conn_id: str | None) -> Any:
    """Return a client of S3 with the credentials that boto3 finds by itself.

    See https://docs.aws.amazon.com/boto3/latest/guide/credentials.html.
    """
    import boto3
    from botocore.config import Config

    # Short, because callers and Lambda do not wait long: better a 503, after which the caller may try again.
    patience = {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 3, "mode": "standard"}}
    return boto3.client("s3", config=Config(max_pool_connections=s3_folder.MOST_CONNECTIONS, **patience))
