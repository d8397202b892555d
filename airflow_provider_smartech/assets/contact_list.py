"""Smartech's lists as Airflow's assets, ``smartech://<idc>/<listid>``.

If the connection names its account, the name is part of the URI: ``smartech://<idc>/<account>/<listid>``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from airflow_provider_smartech.api.data_centres import ACCOUNT_NAME, DATA_CENTRES

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset

    from airflow_provider_smartech.uploads.upload import Upload

SCHEME = "smartech"


def create_asset(*, idc: str, listid: int, account: str | None = None, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of a list; ``idc`` is ``us``, ``in`` or ``eu``, ``account`` the account's name."""
    return Asset(uri="/".join([f"{SCHEME}:/", idc, *([account] if account else []), str(listid)]), extra=extra)


def list_uri(idc: str | None, account: str | None, listid: int | None) -> str | None:
    """Return the URI of a list's asset; None if there is no list, or if the data centre is not known."""
    return create_asset(idc=idc, account=account, listid=listid).uri if idc in DATA_CENTRES and listid else None


def uri_of(upload: Upload) -> str | None:
    """Return the URI of the list that an upload is for; None if it is for no list."""
    record = upload.record
    return list_uri(record.idc, record.account_name, record.listid)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return a list's URI in its canonical form; Airflow calls this for each asset of the scheme.

    :raises ValueError: it is not of the form ``smartech://<idc>/<listid>`` or ``smartech://<idc>/<account>/<listid>``.
    """
    idc = uri.netloc.lower()
    form = re.fullmatch(rf"/+(?:({ACCOUNT_NAME.pattern})/+)?0*([1-9][0-9]{{0,17}})", uri.path)
    if idc not in DATA_CENTRES or not form or uri.query:
        raise ValueError(
            f"an asset's URI must be smartech://<{'|'.join(DATA_CENTRES)}>/[<account>/]<number of the list>"
        )
    return uri._replace(netloc=idc, path="/".join(["", *([form[1]] if form[1] else []), form[2]]))


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Dataset:
    """Return the list as OpenLineage's dataset: the name is its number, the namespace is the URI before it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, _, name = asset.uri.rpartition("/")
    return Dataset(namespace=namespace, name=name)
