"""A stand-in for AWS Lambda: a function behind a function URL, run by Lambda's own runtime client from its zip.

See https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

# Made by the Makefile.
_NAME = f"smartech-receiver-lambda-{sys.version_info.major}.{sys.version_info.minor}-{platform.machine()}.zip"
ZIP = Path(os.environ.get("LAMBDA_ZIP", Path(__file__).parents[2] / "dist" / _NAME))
RUNTIME_PACKAGES = ("awslambdaric", "simplejson", "snapshot-restore-py")
START_SECONDS = 60.0
# Bodies of other types come in base64.
TEXT = ("text/", "application/json", "application/xml", "application/javascript")


@dataclass
class _Invocation:
    event: dict[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: queue.Queue[dict[str, Any] | None] = field(default_factory=queue.Queue)


class LambdaFunction:
    """One environment of a function, and its URL; a context manager.

    As in Lambda, the process stands still between two calls, and its files are read-only.

    :param folder: an empty folder, for the unpacked zip and the log.
    :param handler: the handler's name.
    :param settings: environment variables.
    :param timeout: after so many seconds a call has failed.
    """

    def __init__(self, folder: Path, handler: str, settings: Mapping[str, str], timeout: float) -> None:
        self.log = folder / "log"
        self._folder = folder
        self._handler = handler
        self._settings = settings
        self._timeout = timeout
        self._waiting: queue.Queue[_Invocation | None] = queue.Queue()
        self._running: dict[str, _Invocation] = {}
        self._one_at_a_time = threading.Lock()
        self._ready = threading.Event()
        self._runtime, self._front = self._server(_RuntimeApi), self._server(_FunctionUrl)
        self.url = _address(self._front)
        self.errors: list[dict[str, Any]] = []
        """What the function reported instead of an answer."""
        self.start_seconds = 0.0
        self.process = psutil.Process()
        """The function's, once it has started."""

    def __enter__(self) -> Self:
        task, client = self._folder / "task", self._folder / "client"
        with zipfile.ZipFile(ZIP) as archive:
            archive.extractall(task)
        _link_runtime_client(client)
        environment = {
            **self._settings,
            "AWS_LAMBDA_RUNTIME_API": _address(self._runtime).removeprefix("http://"),
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_LEVEL": "INFO",
            "PYTHONPATH": f"{task}{os.pathsep}{client}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_PROXY": "127.0.0.1",
        }
        # -S: without the packages of the tests, so without Airflow.
        command = [sys.executable, "-S", "-m", "awslambdaric", self._handler]
        began = time.monotonic()
        with self.log.open("wb") as log:
            self._started = subprocess.Popen(command, env=environment, cwd=task, stdout=log, stderr=log)
        self.process = psutil.Process(self._started.pid)
        while not self._ready.wait(0.01) and self._started.poll() is None:
            assert time.monotonic() - began < START_SECONDS, self.log.read_text("utf-8")
        self.start_seconds = time.monotonic() - began
        return self

    def __exit__(self, *error: object) -> None:
        self._started.kill()
        self._started.wait()
        self._waiting.put(None)
        for server in (self._runtime, self._front):
            server.shutdown()
            server.server_close()

    def call(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Give the function an event and return its answer, None if it has none."""
        invocation = _Invocation(event)
        with self._one_at_a_time:
            self._waiting.put(invocation)
            try:
                return invocation.answer.get(timeout=self._timeout)
            except queue.Empty:
                self._started.kill()
                return None

    def next(self) -> _Invocation | None:
        """Return the next call when there is one; until then the process is frozen."""
        self._ready.set()
        self.process.send_signal(signal.SIGSTOP)
        invocation = self._waiting.get()
        if invocation:
            self.process.send_signal(signal.SIGCONT)
            self._running[invocation.id] = invocation
        return invocation

    def ended(self, invocation_id: str, answer: dict[str, Any] | None) -> None:
        """Hand over what the function answered."""
        self._running.pop(invocation_id).answer.put(answer)

    def _server(self, handler: type[_Handler]) -> ThreadingHTTPServer:
        bound = type(handler.__name__, (handler,), {"function": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name=handler.__name__, daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    function: LambdaFunction

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Lambda's own servers write nothing into the function's log."""


class _RuntimeApi(_Handler):
    def do_GET(self) -> None:
        assert self.path == "/2018-06-01/runtime/invocation/next", self.path
        invocation = self.function.next()
        if invocation is None:
            return
        deadline = str(int((time.time() + 60) * 1000))
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": deadline,
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:receiver",
        }
        self.respond(200, headers, json.dumps(invocation.event).encode())

    def do_POST(self) -> None:
        said = json.loads(self.body())
        place, _, kind = self.path.removeprefix("/2018-06-01/runtime/").rpartition("/")
        if kind == "error":
            self.function.errors.append(said)
        if place != "init":
            self.function.ended(place.rpartition("/")[2], said if kind == "response" else None)
        self.respond(202, {}, b"{}")


class _FunctionUrl(_Handler):
    def answer(self) -> None:
        given = self.function.call(event_of(self.command, self.path, dict(self.headers.items()), self.body()))
        if given is None:
            self.respond(502, {"Content-Type": "application/json"}, b'{"Message":"Internal Server Error"}')
            return
        assert given.keys() == {"statusCode", "headers", "body", "isBase64Encoded"}, given
        body = base64.b64decode(given["body"]) if given["isBase64Encoded"] else given["body"].encode()
        self.respond(given["statusCode"], given["headers"], body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815


def event_of(method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the event that a function URL makes of a request, in the payload format 2.0."""
    parts = urlsplit(path)
    lowered = {name.lower(): value for name, value in headers.items()}
    is_text = lowered.get("content-type", "text/").lower().startswith(TEXT)
    host = "abc.lambda-url.us-east-1.on.aws"
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": {**lowered, "host": host, "x-forwarded-proto": "https"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "domainName": host,
            "http": {"method": method, "path": parts.path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"},
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": bool(body) and not is_text,
    }
    if body:
        event["body"] = body.decode("utf-8", "replace") if is_text else base64.b64encode(body).decode()
    return event


def _address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def _link_runtime_client(folder: Path) -> None:
    """Make a folder with Lambda's runtime client and what it needs, of all the tests' packages."""
    folder.mkdir()
    for package in RUNTIME_PACKAGES:
        found = distribution(package)
        for top in {Path(str(file)).parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            (folder / top).symlink_to(Path(str(found.locate_file(top))))
