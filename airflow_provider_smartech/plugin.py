"""The Airflow plugin: it mounts the receiver of ping-backs at ``/smartech`` of Airflow's API server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

Message = MutableMapping[str, Any]


class MountedReceiver:
    """The receiver as an ASGI app that is made at its first request.

    Every Airflow process imports its plugins, but only the API server needs FastAPI.
    """

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    @cached_property
    def _app(self) -> Any:
        from airflow_provider_smartech.receiver import create_app
        from airflow_provider_smartech.store import UploadStore

        return create_app(UploadStore.configured())


class SmartechPlugin(AirflowPlugin):
    """Tells Airflow where to mount the receiver."""

    name = "smartech"
    fastapi_apps = [{"name": "Smartech ping-backs", "app": MountedReceiver(), "url_prefix": "/smartech"}]  # noqa: RUF012
