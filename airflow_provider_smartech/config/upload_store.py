"""The upload store of the deployment's settings, opened with Airflow's connections."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow.sdk import BaseHook, ObjectStoragePath

from airflow_provider_smartech.config.settings import upload_store_url
from airflow_provider_smartech.uploads.folder import Folder
from airflow_provider_smartech.uploads.store import UploadStore


def configured_upload_store() -> UploadStore:
    """Return the store that ``[smartech] upload_store`` names."""
    return open_upload_store(upload_store_url())


def open_upload_store(url: str) -> UploadStore:
    """Return the store in a folder, given in ``ObjectStoragePath``'s form, such as ``s3://aws_default@bucket/prefix``.

    A connection in the URL is fetched at the first request, which must not happen on an event loop.
    """
    return UploadStore(Folder(url.rstrip("/"), _root))


def _root(url: str) -> ObjectStoragePath:
    # A missing connection must not mean anonymous access, as it does in the Amazon provider's file system.
    if conn_id := urlsplit(url).username:
        BaseHook.get_connection(conn_id)
    return ObjectStoragePath(url)
