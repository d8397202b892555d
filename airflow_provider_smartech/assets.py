"""Smartech's lists as Airflow's assets, ``smartech://<idc>/<listid>``, and the news that one was updated."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.definitions.asset import AssetNameRef, AssetUniqueKey, AssetUriRef
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

from airflow_provider_smartech.connection_form import IDCS
from airflow_provider_smartech.errors import SmartechInvalidParameter

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_smartech.uploads import Upload

log = logging.getLogger(__name__)

SCHEME = "smartech"


def create_asset(*, idc: str, listid: int, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of a list; ``idc`` is ``us``, ``in`` or ``eu``."""
    return Asset(uri=f"{SCHEME}://{idc}/{listid}", extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return a list's URI in its one form; Airflow calls this for each asset of the scheme.

    :raises ValueError: it is not of the form ``smartech://<idc>/<listid>``.
    """
    idc, number = uri.netloc.lower(), re.fullmatch(r"/+0*([1-9][0-9]{0,17})", uri.path)
    if idc not in IDCS or not number or uri.query:
        raise ValueError(f"an asset's URI must be smartech://<{'|'.join(IDCS)}>/<number of the list>")
    return uri._replace(netloc=idc, path=f"/{number[1]}")


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Dataset:
    """Return the list as OpenLineage's dataset: the namespace is the data centre, the name the list's number."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, _, name = asset.uri.rpartition("/")
    return Dataset(namespace=namespace, name=name)


def lists_of(outlets: Iterable[object]) -> dict[str, Asset | AssetUriRef]:
    """Return those of a task's outlets that are lists of Smartech, by their URIs.

    A reference by name does not tell what it is.
    """
    assets = [outlet for outlet in outlets if isinstance(outlet, Asset | AssetUriRef)]
    return {Asset(asset.uri).uri: asset for asset in assets if asset.uri.startswith(f"{SCHEME}://")}


def check_outlets(outlets: Iterable[object], updated: Iterable[tuple[str | None, int | None]]) -> None:
    """See that no outlet is a list that is not updated: Airflow emits its event if the task succeeds, come what may.

    :param updated: the data centres and numbers of the lists that are.
    :raises SmartechInvalidParameter: an outlet is another list.
    """
    uris = [create_asset(idc=idc, listid=listid).uri for idc, listid in updated if idc in IDCS and listid]
    if wrong := [uri for uri in lists_of(outlets) if uri not in uris]:
        raise SmartechInvalidParameter(
            "outlets",
            f"{wrong[0]} is not what this task uploads to ({', '.join(uris) or 'no list'}), and its event would say "
            "that it was updated. Mend the outlet; you need none: the task emits the event of its list by itself.",
        )


def announce_updates(context: Context, task: BaseOperator, uploads: Iterable[Upload]) -> None:
    """Emit one asset event for each list that these uploads have updated and that Airflow knows; they are complete.

    Airflow knows an asset that an ``Asset`` in a DAG names. The event's extra names the ``requestids``. Airflow keeps
    it only if the task succeeds.
    """
    updated: dict[str, list[str]] = {}
    for upload in uploads:
        record = upload.record
        if record.idc in IDCS and record.listid:
            uri = create_asset(idc=record.idc, listid=record.listid).uri
            updated.setdefault(uri, []).append(upload.requestid)
    named = lists_of(task.outlets) | _by_name(context, task.outlets)
    for uri, requestids in updated.items():
        outlet = named.get(uri) or AssetUriRef(uri)
        # Not by an AssetAlias, which makes unknown ones: of tasks that do so at the same moment, Airflow fails all but
        # one, although they have succeeded.
        if not _is_known(context, outlet):
            log.info("Airflow knows no asset %s, so there is no event: no DAG names Asset(%r).", uri, uri)
            continue
        context["outlet_events"][outlet].extra["requestids"] = list(requestids)
        if uri not in named:
            task.outlets = [*task.outlets, outlet]


def _by_name(context: Context, outlets: Iterable[object]) -> dict[str, AssetNameRef]:
    """Return the outlets that are given by an asset's name alone, by their URIs."""
    found = [outlet for outlet in outlets if isinstance(outlet, AssetNameRef) and _is_known(context, outlet)]
    keys = {outlet: context["outlet_events"][outlet].key for outlet in found}
    return {key.uri: outlet for outlet, key in keys.items() if isinstance(key, AssetUniqueKey)}


def _is_known(context: Context, outlet: Asset | AssetNameRef | AssetUriRef) -> bool:
    try:
        _ = context["outlet_events"][outlet]
    except AirflowRuntimeError as error:
        if error.error.error is not ErrorType.ASSET_NOT_FOUND:
            raise
        return False
    return True
