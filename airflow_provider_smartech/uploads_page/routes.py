"""The routes of the uploads page."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain, count, takewhile
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import StringConstraints

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.uploads.listing import Filter, Listing, states_of
from airflow_provider_smartech.uploads.overview import Overview, events
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import KEY
from airflow_provider_smartech.uploads_page.access import MaySee, MaySeeDep
from airflow_provider_smartech.uploads_page.chart import last_days
from airflow_provider_smartech.uploads_page.lately import HOURS, lately
from airflow_provider_smartech.uploads_page.pages import (
    STYLE,
    base_of,
    render,
    render_chart,
    see_other,
)

ROWS_PER_PAGE = 25
# A filter with few matches searches for this many seconds, then offers to search further.
PATIENCE_SECONDS = 1.0
# A narrow screen asks for another one.
CHART_WIDTH = 720

HASH = "^[0-9a-f]{40}$"
Word = Annotated[str | None, Query(max_length=250)]
Words = Annotated[list[Annotated[str, StringConstraints(max_length=250)]] | None, Query(max_length=20)]


def _store(request: Request) -> UploadStore:
    store: UploadStore = request.app.state.store
    return store


StoreDep = Annotated[UploadStore, Depends(_store)]

router = APIRouter()


# Plain functions: they run in threads, because the store blocks.
@router.get("/")
def uploads(
    store: StoreDep,
    may_see: MaySeeDep,
    state: Words = None,
    listid: Word = None,
    dag_id: Word = None,
    text: Word = None,
    hours: Annotated[str, Query(pattern="^([1-9][0-9]{0,4})?$")] = "",
    before: Annotated[str, Query(pattern=f"^({KEY.pattern})?$")] = "",
) -> Response:
    """List the uploads, newest first."""
    states = states_of(",".join(state or []))
    # A form sends empty fields as empty texts.
    fields = {"state": ",".join(states), "listid": listid or "", "dag_id": dag_id or "", "text": text or ""}
    fields["hours"] = hours
    wanted = Filter(
        states=frozenset(states),
        listid=_number(listid),
        dag_id=dag_id or None,
        text=(text or "").strip() or None,
        since=datetime.now(UTC) - timedelta(hours=int(hours)) if hours else None,
    )
    listing = _listing(store, may_see)
    with ThreadPoolExecutor(1) as beside:
        line = beside.submit(lately, listing, PATIENCE_SECONDS)
        page = listing.page(wanted, ROWS_PER_PAGE, before, PATIENCE_SECONDS)
    older = urlencode({**_filled(fields), "before": page.before}) if page.before else None
    return render(
        "uploads.html",
        uploads=page.uploads,
        lately=line.result(),
        hours=HOURS,
        filter=fields,
        is_full=len(page.uploads) == ROWS_PER_PAGE,
        older=older,
        newest=urlencode(_filled(fields)) if before else None,
    )


@router.get("/task/{instance}")
def task(
    request: Request, store: StoreDep, may_see: MaySeeDep, instance: Annotated[str, Path(pattern=HASH)]
) -> Response:
    """Redirect to the upload of a task instance, or list its uploads."""
    found = _of_task(_listing(store, may_see), instance)
    if len(found) == 1:
        return see_other(f"{base_of(request)}{found[0].key}")
    return render("task.html", uploads=found, base=base_of(request))


@router.get("/requestid")
def requestid(store: StoreDep, may_see: MaySeeDep, requestid: str) -> Response:
    """Redirect to the upload with this requestid, or list all uploads that have it."""
    statuses = Settings.load().statuses
    found = [store.read(requestid)] if KEY.fullmatch(requestid) else store.all_with(requestid)
    seen = [upload for upload in (Overview.of(one, statuses) for one in found) if may_see(upload)]
    if not seen:
        raise HTTPException(404)
    return see_other(seen[0].key) if len(seen) == 1 else render("requestid.html", requestid=requestid, uploads=seen)


@router.get("/chart.svg")
def chart(store: StoreDep, may_see: MaySeeDep, width: Annotated[int, Query(ge=200, le=2000)] = CHART_WIDTH) -> Response:
    """Show how many uploads there were on each day."""
    return render_chart(last_days(_listing(store, may_see)), width)


@router.get("/style.css")
def style() -> Response:
    """Return the style of all pages."""
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.get("/{key}")
def upload(store: StoreDep, may_see: MaySeeDep, key: str) -> Response:
    """Show one upload."""
    if not KEY.fullmatch(key):
        raise HTTPException(404)
    statuses, found = Settings.load().statuses, store.read(key)
    overview = Overview.of(found, statuses)
    if not may_see(overview):
        raise HTTPException(404)
    return render(
        "upload.html",
        upload=overview,
        record=found.record,
        reason=found.answer and found.answer.reason,
        events=events(found, statuses),
    )


def _listing(store: UploadStore, may_see: MaySee) -> Listing:
    return Listing(store, Settings.load().statuses, may_see)


def _of_task(listing: Listing, instance: str) -> list[Overview]:
    """Return what all tries of a task instance submitted, newest first."""
    store = listing.store
    keys = store.keys_of_task(instance)
    first = next((upload for upload in map(listing.read, keys) if upload and upload.task), None)
    if first and first.task:
        # If a task makes several uploads, the others are stored under other names.
        others = (store.keys_of_task(first.task.for_part(part).instance()) for part in count(1))
        keys += chain.from_iterable(takewhile(bool, others))
    found = map(listing.read, sorted(keys, reverse=True))
    return [upload for upload in found if upload and listing.may_see(upload)]


def _number(text: str | None) -> int | None:
    # A list that is not a number matches nothing, instead of everything.
    return None if not text else int(text) if text.strip().isdecimal() else -1


def _filled(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}
