"""The error pages of the uploads page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    UploadRecordUnreadable,
    UploadStoreError,
    UploadUnknown,
)
from airflow_provider_smartech.links import UPLOADS_PAGE
from airflow_provider_smartech.uploads_page.pages import base_of, render, see_other

NOT_FOUND = "This upload does not exist, was removed, or belongs to a DAG that you may not see"
SAID = {403: "You do not have permission to see this page", 405: "This page is read-only"}


def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 401:
        # To the login page of Airflow's auth manager, which then redirects the user back to this address.
        here = f"{request.url.path}?{request.url.query}".rstrip("?")
        airflow = request.scope["root_path"].removesuffix(f"/{UPLOADS_PAGE}")
        return see_other(f"{airflow}/api/v2/auth/login?" + urlencode({"next": here}))
    return _page(request, error, text=SAID.get(status, NOT_FOUND), status=status if status in SAID else 404)


def _page(request: Request, error: Exception, *, text: str | None = None, status: int) -> Response:
    return render("message.html", status=status, message=text or str(error), base=base_of(request))


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    HTTPException: _http_error,
    RequestValidationError: partial(_page, text="This address is not valid", status=422),
    UploadUnknown: partial(_page, text=NOT_FOUND, status=404),
    UploadRecordUnreadable: partial(_page, status=500),
    UploadStoreError: partial(_page, status=503),
    SmartechConfigurationError: partial(_page, status=500),
}
"""The handlers of these exceptions."""
