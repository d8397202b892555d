"""A company's web server that tells its files apart by a token alone."""

from __future__ import annotations

from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.file_server import HandlerServer


class HostedByToken(HandlerServer):
    """Serves the contacts of each token as a CSV, whatever the path."""

    def __init__(self, contacts: dict[str, list[str]]) -> None:
        super().__init__(partial(_Handler, contacts))


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, contacts: dict[str, list[str]], *arguments: Any) -> None:
        self._contacts = contacts
        # The base class serves at once.
        super().__init__(*arguments)

    def do_GET(self) -> None:
        emails = self._contacts[parse_qs(urlsplit(self.path).query)["token"][0]]
        content = "".join(f"{line}\n" for line in ["EMAIL", *emails]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write no access log."""
