"""The web app of the uploads page, which the plugin mounts into Airflow's API server."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, count, takewhile
from typing import Annotated
from urllib.parse import urlencode

from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    UploadRecordUnreadable,
    UploadStoreError,
    UploadUnknown,
)
from airflow_provider_smartech.links import UPLOADS_PAGE
from airflow_provider_smartech.uploads.listing import Filter, Listing
from airflow_provider_smartech.uploads.overview import UNREADABLE, Overview, events
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import KEY, State
from airflow_provider_smartech.uploads_page.access import MaySee, MaySeeDep
from airflow_provider_smartech.uploads_page.chart import last_days
from airflow_provider_smartech.uploads_page.pages import DESCRIPTIONS, STYLE, render, render_chart

ROWS = 25
# A filter that takes few looks through this many seconds of the past, then offers to look further.
PATIENCE = 1.0

HASH = "^[0-9a-f]{40}$"
Word = Annotated[str | None, Query(max_length=250)]


def create_app(store: UploadStore) -> FastAPI:
    """Return the app that shows the uploads of a store.

    ``GET /`` lists them, ``GET /<key>`` shows one; ``/task/…`` and ``/requestid?requestid=…`` lead there from a task.
    Whoever has not logged in is sent to Airflow's login, and sees only uploads of tasks that Airflow's permissions
    show.
    """
    app = FastAPI(title="Smartech uploads", docs_url=None, redoc_url=None, openapi_url=None)

    # Plain functions: they run in threads, because the store blocks.
    @app.get("/")
    def uploads(
        may_see: MaySeeDep,
        state: Word = None,
        listid: Word = None,
        dag_id: Word = None,
        text: Word = None,
        before: Annotated[str, Query(pattern=f"^({KEY.pattern})?$")] = "",
    ) -> Response:
        # A form sends what is not filled in as an empty text.
        fields = {"state": state or "", "listid": listid or "", "dag_id": dag_id or "", "text": text or ""}
        wanted = Filter(
            state=state or None, listid=_number(listid), dag_id=dag_id or None, text=(text or "").strip() or None
        )
        page = _listing(store, may_see).page(wanted, ROWS, before, PATIENCE)
        older = urlencode({**_filled(fields), "before": page.before}) if page.before else None
        return render(
            "uploads.html",
            uploads=page.uploads,
            filter=fields,
            states=[*map(str, State), UNREADABLE],
            is_full=len(page.uploads) == ROWS,
            older=older,
            newest=urlencode(_filled(fields)) if before else None,
        )

    @app.get("/task/{instance}")
    def task(request: Request, may_see: MaySeeDep, instance: Annotated[str, Path(pattern=HASH)]) -> Response:
        found = _of_task(_listing(store, may_see), instance)
        if len(found) == 1:
            return _see_other(f"{_base(request)}{found[0].key}")
        return render("task.html", uploads=found, base=_base(request))

    @app.get("/requestid")
    def requestid(may_see: MaySeeDep, requestid: str) -> Response:
        settings = Settings.load()
        found = [store.read(requestid)] if KEY.fullmatch(requestid) else store.all_with(requestid)
        seen = [upload for upload in (Overview.of(one, settings) for one in found) if may_see(upload)]
        if not seen:
            raise HTTPException(404)
        return _see_other(seen[0].key) if len(seen) == 1 else render("requestid.html", uploads=seen)

    @app.get("/chart.svg")
    def chart(may_see: MaySeeDep) -> Response:
        return render_chart(last_days(_listing(store, may_see)))

    @app.get("/style.css")
    def style() -> Response:
        return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    @app.get("/{key}")
    def upload(may_see: MaySeeDep, key: str) -> Response:
        if not KEY.fullmatch(key):
            raise HTTPException(404)
        settings, found = Settings.load(), store.read(key)
        overview = Overview.of(found, settings)
        if not may_see(overview):
            raise HTTPException(404)
        return render(
            "upload.html",
            upload=overview,
            record=found.record,
            description=DESCRIPTIONS[overview.state],
            events=events(found, settings),
        )

    @app.exception_handler(StarletteHTTPException)
    def not_shown(request: Request, error: StarletteHTTPException) -> Response:
        if error.status_code == 401:
            # The login of whichever auth manager Airflow has, and back to where the reader came in.
            here = f"{request.url.path}?{request.url.query}".rstrip("?")
            airflow = request.scope["root_path"].removesuffix(f"/{UPLOADS_PAGE}")
            return _see_other(f"{airflow}/api/v2/auth/login?" + urlencode({"next": here}))
        if error.status_code == 403:
            return _message(request, "Airflow does not let you see this", 403)
        if error.status_code == 405:
            return _message(request, "This page is only for reading", 405)
        return _message(request, "No such upload, or it was removed, or you may not see the DAG that submitted it", 404)

    @app.exception_handler(RequestValidationError)
    def not_understood(request: Request, error: RequestValidationError) -> Response:
        return _message(request, "This address is not one that this page gives", 422)

    @app.exception_handler(UploadUnknown)
    def unknown(request: Request, error: UploadUnknown) -> Response:
        return _message(request, "No such upload, or it was removed, or you may not see the DAG that submitted it", 404)

    @app.exception_handler(UploadRecordUnreadable)
    def unreadable(request: Request, error: UploadRecordUnreadable) -> Response:
        return _message(request, str(error), 500)

    @app.exception_handler(UploadStoreError)
    def unavailable(request: Request, error: UploadStoreError) -> Response:
        return _message(request, str(error), 503)

    @app.exception_handler(SmartechConfigurationError)
    def misconfigured(request: Request, error: SmartechConfigurationError) -> Response:
        return _message(request, str(error), 500)

    return app


def _listing(store: UploadStore, may_see: MaySee) -> Listing:
    return Listing(store, Settings.load(), may_see)


def _of_task(listing: Listing, instance: str) -> list[Overview]:
    """Return what all tries of a task instance submitted, the newest first."""
    store = listing.store
    keys = store.keys_of_task(instance)
    first = next((upload for upload in map(listing.read, keys) if upload and upload.task), None)
    if first and first.task:
        # The other uploads of a task that makes several are kept by names of their own.
        others = (store.keys_of_task(first.task.for_part(part).instance()) for part in count(1))
        keys += chain.from_iterable(takewhile(bool, others))
    found = map(listing.read, sorted(keys, reverse=True))
    return [upload for upload in found if upload and listing.may_see(upload)]


def _number(text: str | None) -> int | None:
    # A list that is no number takes nothing, rather than everything.
    return None if not text else int(text) if text.strip().isdecimal() else -1


def _filled(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value}


def _see_other(url: str) -> Response:
    return RedirectResponse(url, 303)


def _message(request: Request, text: str, status: int) -> Response:
    return render("message.html", status=status, message=text, base=_base(request))


def _base(request: Request) -> str:
    """Return what leads from an address of the page to that of the list."""
    path: str = request.scope["path"].removeprefix(request.scope["root_path"])
    return "../" * (path.count("/") - 1)
