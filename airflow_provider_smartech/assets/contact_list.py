"""Smartech's lists as Airflow's assets, ``smartech://<idc>/<listid>``, and the news that one was updated.

Where the connection names its account, that is part of the URI: ``smartech://<idc>/<account>/<listid>``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.definitions.asset import AssetNameRef, AssetUniqueKey, AssetUriRef
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

from airflow_provider_smartech.config.connection_form import ACCOUNT_NAME, IDCS
from airflow_provider_smartech.errors import SmartechInvalidParameter

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_smartech.uploads.upload import Upload

log = logging.getLogger(__name__)

SCHEME = "smartech"
COUNTED = ("accepted", "rejected")


def create_asset(*, idc: str, listid: int, account: str | None = None, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of a list; ``idc`` is ``us``, ``in`` or ``eu``, ``account`` the name that a connection gives."""
    return Asset(uri="/".join([f"{SCHEME}:/", idc, *([account] if account else []), str(listid)]), extra=extra)


def list_uri(idc: str | None, account: str | None, listid: int | None) -> str | None:
    """Return the URI of a list's asset; None where there is no list, or it is in no data centre of Smartech's."""
    return create_asset(idc=idc, account=account, listid=listid).uri if idc in IDCS and listid else None


def uri_of(upload: Upload) -> str | None:
    """Return the URI of the list that an upload is for, if it is for one."""
    record = upload.record
    return list_uri(record.idc, record.account_name, record.listid)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return a list's URI in its one form; Airflow calls this for each asset of the scheme.

    :raises ValueError: it is not of the form ``smartech://<idc>/<listid>`` or ``smartech://<idc>/<account>/<listid>``.
    """
    idc = uri.netloc.lower()
    form = re.fullmatch(rf"/+(?:({ACCOUNT_NAME.pattern})/+)?0*([1-9][0-9]{{0,17}})", uri.path)
    if idc not in IDCS or not form or uri.query:
        raise ValueError(f"an asset's URI must be smartech://<{'|'.join(IDCS)}>/[<account>/]<number of the list>")
    return uri._replace(netloc=idc, path="/".join(["", *([form[1]] if form[1] else []), form[2]]))


def convert_asset_to_openlineage(asset: Asset, lineage_context: object) -> Dataset:
    """Return the list as OpenLineage's dataset: the name is its number, the namespace what comes before it."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, _, name = asset.uri.rpartition("/")
    return Dataset(namespace=namespace, name=name)


def lists_of(outlets: Iterable[object]) -> dict[str, Asset | AssetUriRef]:
    """Return those of a task's outlets that are lists of Smartech, by their URIs.

    A reference by name does not tell what it is.
    """
    assets = [outlet for outlet in outlets if isinstance(outlet, Asset | AssetUriRef)]
    return {Asset(asset.uri).uri: asset for asset in assets if asset.uri.startswith(f"{SCHEME}://")}


def check_outlets(outlets: Iterable[object], updated: Iterable[str | None]) -> None:
    """See that no outlet is a list that is not updated: Airflow emits its event if the task succeeds, come what may.

    :param updated: the URIs of the lists that are.
    :raises SmartechInvalidParameter: an outlet is another list.
    """
    uris = [uri for uri in updated if uri]
    if wrong := [uri for uri in lists_of(outlets) if uri not in uris]:
        raise SmartechInvalidParameter(
            "outlets",
            f"{wrong[0]} is not what this task uploads to ({', '.join(uris) or 'no list'}), and its event would say "
            "that it was updated. Mend the outlet; you need none: the task emits the event of its list by itself.",
        )


def announce_updates(
    context: Context, task: BaseOperator, uploads: Sequence[Upload], summaries: Sequence[dict[str, Any]]
) -> None:
    """Emit one asset event for each list that these uploads have updated and that Airflow knows; they are complete.

    Airflow knows an asset that an ``Asset`` in a DAG names. The event's extra has the ``requestids``, and how many rows
    were ``accepted`` and ``rejected`` in all, None where a ping-back did not say. Airflow keeps it only if the task
    succeeds.
    """
    updated: dict[str, list[dict[str, Any]]] = {}
    for upload, summary in zip(uploads, summaries, strict=True):
        if uri := uri_of(upload):
            updated.setdefault(uri, []).append(summary)
    named = lists_of(task.outlets) | _by_name(context, task.outlets)
    for uri, several in updated.items():
        outlet = named.get(uri) or AssetUriRef(uri)
        # Not by an AssetAlias, which makes unknown ones: of tasks that do so at the same moment, Airflow fails all but
        # one, although they have succeeded.
        if not _is_known(context, outlet):
            log.info("Airflow knows no asset %s, so there is no event: no DAG names Asset(%r).", uri, uri)
            continue
        extra = {"requestids": [summary["requestid"] for summary in several]}
        context["outlet_events"][outlet].extra.update(extra | {name: total(several, name) for name in COUNTED})
        if uri not in named:
            task.outlets = [*task.outlets, outlet]


def total(summaries: Iterable[dict[str, Any]], name: str) -> int | None:
    """Return the sum of a number of rows over several summaries, None where one of them does not know it."""
    numbers = [summary[name] for summary in summaries]
    return None if None in numbers else sum(numbers)


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
