"""A task's outlets that are Smartech's lists, and the asset events of the lists that it has updated."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.sdk.definitions.asset import AssetNameRef, AssetUniqueKey, AssetUriRef
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

from airflow_provider_smartech.assets.contact_list import SCHEME, uri_of
from airflow_provider_smartech.errors import SmartechInvalidParameter

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_smartech.uploads.upload import Upload

log = logging.getLogger(__name__)

COUNTED = ("accepted", "rejected")


def lists_of(outlets: Iterable[object]) -> dict[str, Asset | AssetUriRef]:
    """Return a task's outlets that are Smartech's lists, by their URIs.

    References by name are left out: a name does not show what the asset is.
    """
    assets = [outlet for outlet in outlets if isinstance(outlet, Asset | AssetUriRef)]
    return {Asset(asset.uri).uri: asset for asset in assets if asset.uri.startswith(f"{SCHEME}://")}


def without_lists(context: Context, outlets: Iterable[object]) -> list[Any]:
    """Return a task's outlets that are not Smartech's lists: if nothing was sent, no list was updated."""
    outlets = list(outlets)
    by_name = [outlet for uri, outlet in _by_name(context, outlets).items() if uri.startswith(f"{SCHEME}://")]
    lists = [*lists_of(outlets).values(), *by_name]
    return [outlet for outlet in outlets if outlet not in lists]


def check_outlets(outlets: Iterable[object], updated: Iterable[str | None]) -> None:
    """Check that no outlet is a list that is not updated: Airflow emits its event whenever the task succeeds.

    :param updated: the URIs of the lists that are updated.
    :raises SmartechInvalidParameter: an outlet is a different list.
    """
    uris = [uri for uri in updated if uri]
    if wrong := [uri for uri in lists_of(outlets) if uri not in uris]:
        raise SmartechInvalidParameter(
            "outlets",
            f"{wrong[0]} is not what this task uploads to ({', '.join(uris) or 'no list'}), and its event would say "
            "that it was updated. Fix or remove the outlet: the task emits the event of its list without an outlet.",
        )


def announce_updates(
    context: Context,
    task: BaseOperator,
    uploads: Sequence[Upload],
    summaries: Sequence[dict[str, Any]],
    *,
    undeclared: bool,
) -> None:
    """Emit one asset event for each list that these completed uploads have updated and that Airflow knows.

    Airflow knows an asset if a DAG uses an ``Asset`` with its URI. The event's extra has the ``requestids``, and the
    total numbers of rows ``accepted`` and ``rejected``, None if a ping-back did not say. Airflow keeps it only if the
    task succeeds.

    :param undeclared: whether also for lists that are none of the task's outlets. If Airflow does not know such a list,
        it logs an error of its own when it is asked.
    """
    updated: dict[str, list[dict[str, Any]]] = {}
    for upload, summary in zip(uploads, summaries, strict=True):
        if uri := uri_of(upload):
            updated.setdefault(uri, []).append(summary)
    named = lists_of(task.outlets) | _by_name(context, task.outlets)
    for uri, several in updated.items():
        if uri not in named and not undeclared:
            continue
        outlet = named.get(uri) or AssetUriRef(uri)
        # No AssetAlias, because that creates unknown assets: if several tasks do so at the same moment, Airflow fails
        # all but one of them, although they have succeeded.
        if not _is_known(context, outlet):
            log.info("Airflow does not know the asset %s, so there is no event: no DAG uses Asset(%r).", uri, uri)
            continue
        extra = {"requestids": [summary["requestid"] for summary in several]}
        context["outlet_events"][outlet].extra.update(extra | {name: total(several, name) for name in COUNTED})
        if uri not in named:
            task.outlets = [*task.outlets, outlet]


def total(summaries: Iterable[dict[str, Any]], name: str) -> int | None:
    """Return the sum of a number of rows over several summaries, None if one of them does not have it."""
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
