"""Files served over HTTP on loopback, as a company's web server would host its CSVs."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


class ServerThread:
    """Runs an HTTP server in a thread; a context manager that starts and stops it."""

    def __init__(self, server: HTTPServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name=type(self).__name__)
        self.port = server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class HandlerServer(ServerThread):
    """Serves what a handler gives."""

    def __init__(self, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), handler))


class FileServer(HandlerServer):
    """Serves a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(functools.partial(_Handler, directory=str(folder)))


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write no access log: it would show the queries of links."""
