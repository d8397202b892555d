"""The upload store of the deployment's settings, opened with Airflow's connections."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook, ObjectStoragePath

from airflow_provider_smartech.config.settings import upload_store_url
from airflow_provider_smartech.uploads import local_folder, s3_folder
from airflow_provider_smartech.uploads.folder import Folder
from airflow_provider_smartech.uploads.fsspec_folder import FsspecFolder
from airflow_provider_smartech.uploads.store import UploadStore


def configured_upload_store() -> UploadStore:
    """Return the store that ``[smartech] upload_store`` names."""
    return open_upload_store(upload_store_url())


def open_upload_store(url: str) -> UploadStore:
    """Return the store in a folder, given in ``ObjectStoragePath``'s form, such as ``s3://aws_default@bucket/prefix``.

    A connection in the URL is fetched at the first request, which must not happen on an event loop.
    """
    return UploadStore(open_folder(url))


def open_folder(url: str) -> Folder:
    """Return a folder in the storage that fits its URL."""
    scheme = url.rpartition("://")[0]
    if scheme in local_folder.SCHEMES:
        return local_folder.LocalFolder(url)
    if scheme in s3_folder.SCHEMES:
        return s3_folder.S3Folder(url, _s3_client)
    return FsspecFolder(url, _root)


def _s3_client(conn_id: str | None) -> Any:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.config import Config

    _check_connection(conn_id)
    hook = S3Hook(aws_conn_id=conn_id)
    config = hook.config.merge(Config(max_pool_connections=s3_folder.MOST_CONNECTIONS))
    return hook.get_client_type(region_name=hook.region_name, config=config)


def _root(url: str) -> ObjectStoragePath:
    _check_connection(urlsplit(url).username)
    return ObjectStoragePath(url)


def _check_connection(conn_id: str | None) -> None:
    """Check that there is such a connection: Airflow's hooks and file systems go on without credentials if not."""
    if conn_id:
        BaseHook.get_connection(conn_id)
