"""Servers in threads, for tests over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import uvicorn
from fastapi import FastAPI

from airflow_provider_smartech.plugin import MountedApp
from airflow_provider_smartech.receiver.app import create_app
from airflow_provider_smartech.uploads.store import UploadStore


class AppServer:
    """A web app on a free port."""

    def __init__(self, app: FastAPI | MountedApp) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="app")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class ReceiverServer(AppServer):
    """The receiver on a free port."""

    def __init__(self, store: UploadStore) -> None:
        super().__init__(create_app(store))


@contextmanager
def answering(*parts: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A raw server that answers every request with these bytes and closes; gives its URL and what it was sent."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                seen.append(client.recv(65536))
                for part in parts:
                    client.sendall(part)
                # Closing with something unread would reset the connection, and perhaps undo the answer.
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is so; fail if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


async def eventually_on_loop(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Do the same without blocking the event loop."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0.01)


def http(status: str, body: bytes, *headers: bytes) -> bytes:
    """Return an answer as it goes over the wire."""
    head = [b"HTTP/1.1 " + status.encode(), b"Connection: close", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body
