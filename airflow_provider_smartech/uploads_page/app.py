"""The web app of the uploads page, which the plugin mounts into Airflow's API server."""

from __future__ import annotations

from fastapi import FastAPI

from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads_page.error_pages import HANDLERS
from airflow_provider_smartech.uploads_page.routes import router


def create_app(store: UploadStore) -> FastAPI:
    """Return the app that shows the uploads of a store.

    ``GET /`` lists them, ``GET /<key>`` shows one; ``/task/…`` and ``/requestid?requestid=…`` redirect there from a
    task. Users who have not logged in are redirected to Airflow's login. Users see only uploads of tasks that Airflow's
    permissions allow.
    """
    app = FastAPI(title="Smartech uploads", docs_url=None, redoc_url=None, openapi_url=None)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.state.store = store
    app.include_router(router)
    return app
