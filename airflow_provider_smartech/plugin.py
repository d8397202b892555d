"""The Airflow plugin: mounts the receiver of ping-backs and the uploads page into Airflow's API server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from importlib import import_module
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_smartech.links import UPLOADS_PAGE

Message = MutableMapping[str, Any]


class MountedApp:
    """A web app over the upload store, created at its first request.

    Every Airflow process imports its plugins, but only the API server needs FastAPI.

    :param module: the module whose ``create_app`` creates it.
    :param more: returns what else is given to ``create_app``.
    """

    def __init__(self, module: str, more: Callable[[], dict[str, Any]] = dict) -> None:
        self.module = module
        self.more = more

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    @cached_property
    def _app(self) -> Any:
        from airflow_provider_smartech.config.upload_store import configured_upload_store

        return import_module(self.module).create_app(configured_upload_store(), **self.more())


def _counting() -> dict[str, Any]:
    """Return how the receiver knows and counts what ping-backs say."""
    from airflow_provider_smartech.config.settings import configured_judge
    from airflow_provider_smartech.metrics import pingback_kept

    return {"judge": configured_judge(), "count": pingback_kept}


class SmartechPlugin(AirflowPlugin):
    """Tells Airflow which web apps to mount, and adds the uploads page to the Browse menu."""

    name = "smartech"
    fastapi_apps = [  # noqa: RUF012
        {
            "name": "Smartech ping-backs",
            "app": MountedApp("airflow_provider_smartech.receiver.app", _counting),
            "url_prefix": "/smartech",
        },
        {
            "name": "Smartech uploads",
            "app": MountedApp("airflow_provider_smartech.uploads_page.app"),
            "url_prefix": f"/{UPLOADS_PAGE}",
        },
    ]
    external_views = [  # noqa: RUF012
        {
            "name": "Smartech uploads",
            # Relative, so that it works behind a path prefix.
            "href": f"{UPLOADS_PAGE}/",
            "url_route": UPLOADS_PAGE,
            "destination": "nav",
            "category": "browse",
        }
    ]
