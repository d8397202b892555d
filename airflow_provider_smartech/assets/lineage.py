"""The source and the target of contacts, for Airflow's hook lineage and for OpenLineage."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.sdk import Asset

from airflow_provider_smartech.assets.contact_list import SCHEME, convert_asset_to_openlineage, uri_of
from airflow_provider_smartech.redaction import without_queries

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import BaseHook

    from airflow_provider_smartech.api.account import Account
    from airflow_provider_smartech.uploads.upload import Upload


def collect(hook: BaseHook, source: str, account: Account, listid: int | None) -> None:
    """Report to Airflow's hook lineage that a file goes to a list; ``source`` is the file's URL."""
    collector = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
    # Not every URL can be an asset's URI: some are too long.
    with suppress(ValueError):
        collector.add_input_asset(context=hook, uri=without_queries(source))
    if listid:
        names = {"idc": account.idc, "account": account.name, "listid": listid}
        collector.add_output_asset(context=hook, scheme=SCHEME, asset_kwargs=names)


def of_hosted(url: str) -> OperatorLineage[Any, Any]:
    """Return a hosted file as OpenLineage's input: the host and the path."""
    parts = urlsplit(without_queries(url))
    return of_files(f"{parts.scheme}://{parts.netloc}", [parts.path.lstrip("/")])


def of_files(namespace: str, names: Iterable[str]) -> OperatorLineage[Any, Any]:
    """Return files as OpenLineage's inputs; for those in S3, ``s3://`` with the bucket, and their keys."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(inputs=[Dataset(namespace, name or "/") for name in names])


def list_datasets(uploads: Iterable[Upload]) -> list[Dataset]:
    """Return the lists that uploads went to as OpenLineage's datasets, each once."""
    uris = {uri for uri in map(uri_of, uploads) if uri}
    return [convert_asset_to_openlineage(Asset(uri), None) for uri in sorted(uris)]
