"""The sandbox as a threaded web server."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_smartech.redaction import without_queries
from airflow_provider_smartech.sandbox import page, pingbacks
from airflow_provider_smartech.sandbox.api import INVALID_KEY, RequestRefused, UploadRequest, read_request
from airflow_provider_smartech.sandbox.faults import Fault, faults_of
from airflow_provider_smartech.sandbox.loader import Load, LoadError, load
from airflow_provider_smartech.sandbox.state import State

REJECTED_ROW_EVERY = 10
LOST_ROW_EVERY = 2


class SandboxServer:
    """The sandbox on its own port; a context manager that starts and stops it.

    :param host: address to listen on.
    :param port: port to listen on; 0 selects a free one.
    :param api_key: the only key that it accepts.
    :param primary_key: the attribute by which contacts are upserted.
    :param faults: the faults of every request.
    :param database: path of a SQLite file; in memory by default.
    :param late_seconds: how long ``Fault.PINGBACK_LATE`` delays a ping-back, and ``Fault.HANG`` and
        ``Fault.ANSWER_LATE`` an answer.
    :param repeats: how often a failed ping-back is sent again. Smartech does not document whether it does this.
    :param repeat_seconds: the pause before each repeat.
    :param new_requestid: makes the requestids; two Smartech accounts may issue the same ones.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        api_key: str = "sandbox-api-key",
        primary_key: str = "EMAIL",
        faults: Iterable[Fault] = (),
        database: str = ":memory:",
        late_seconds: float = 30.0,
        repeats: int = 0,
        repeat_seconds: float = 10.0,
        new_requestid: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self.api_key = api_key
        self.primary_key = primary_key
        self.faults = frozenset(faults)
        self.late_seconds = late_seconds
        self.repeats = repeats
        self.repeat_seconds = repeat_seconds
        self.state = State(database)
        self._new_requestid = new_requestid
        self._callbacks: dict[str, str | None] = {}
        self._next: deque[frozenset[Fault]] = deque()
        self._released = threading.Event()
        self._stopping = threading.Event()
        self._jobs: list[threading.Thread] = []
        self._server = _Server((host, port), _Handler)
        self._server.sandbox = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="sandbox")

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address, for users."""
        return f"http://{self._server.server_address[0]!s}:{self.port}"

    @property
    def api_url(self) -> str:
        """The API's base URL, for a connection's host."""
        return f"{self.url}/apiv2"

    def start(self) -> SandboxServer:
        """Serve in a thread."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving, and end running uploads."""
        self._stopping.set()
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for job in self._jobs:
            job.join()
        self.state.close()

    def fail_next(self, *faults: Fault) -> None:
        """Apply these faults to the next request only; several calls queue up."""
        self._next.append(frozenset(faults))

    def faults_of(self, request: UploadRequest) -> frozenset[Fault]:
        """Return a request's faults: the server's, the queued ones, and those that it asks for."""
        queued = self._next.popleft() if self._next else frozenset()
        return self.faults | queued | faults_of(request.path)

    def release(self) -> None:
        """Send the late ping-backs and answers that are being held."""
        self._released.set()

    def hold(self) -> None:
        """Hold late ping-backs and answers again."""
        self._released.clear()

    def __enter__(self) -> SandboxServer:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def hang(self) -> None:
        """Wait as ``Fault.HANG`` and ``Fault.ANSWER_LATE`` do."""
        self._released.wait(self.late_seconds)

    def accept(self, request: UploadRequest, faults: frozenset[Fault]) -> str:
        """Accept an upload, load it in the background and return its requestid."""
        numeric = Fault.NUMERIC_REQUESTID in faults
        requestid = str(uuid.uuid4().int % 10**15) if numeric else self._new_requestid()
        self._callbacks[requestid] = request.callback
        self.state.add_upload(requestid, without_queries(request.path), request.listid, request.in_query)
        job = threading.Thread(target=self._load, args=(requestid, request, faults), name=f"load-{requestid}")
        self._jobs.append(job)
        job.start()
        if Fault.PINGBACK_FIRST in faults:
            job.join()
        return requestid

    def callback_of(self, requestid: str) -> str | None:
        """Return the ping-back URL that an upload was sent with, None if it had none."""
        return self._callbacks[requestid]

    def settle(self) -> None:
        """Wait until all accepted uploads are loaded and their ping-backs are sent."""
        while self._jobs:
            self._jobs.pop().join()

    def forget(self) -> None:
        """Forget the accepted uploads and the queued faults."""
        self.settle()
        self._callbacks.clear()
        self._next.clear()

    def ping_back(self, requestid: str, said: Any, query: str = "", faults: Iterable[Fault] = ()) -> str:
        """Call an upload's ping-back URL once more, with any content; return the result.

        :param said: the body: a JSON value, or bytes that are sent as they are.
        :param query: the query that is added to the URL.
        """
        callback = self._callbacks[requestid]
        if callback is None:
            raise ValueError(f"upload {requestid} has no callback")
        answer = pingbacks.send(f"{callback}?{query}" if query else callback, said, frozenset(faults))
        self.state.add_pingback(requestid, answer)
        return answer

    def _load(self, requestid: str, request: UploadRequest, faults: frozenset[Fault]) -> None:
        named = shown(requestid, faults)
        if Fault.STATUS_IN_PROGRESS in faults:
            self._ping(requestid, request, {"requestid": named, "status": "in progress"}, faults)
        done, reason = Load(), None
        try:
            reject = (
                1 if Fault.ALL_ROWS_REJECTED in faults else REJECTED_ROW_EVERY if Fault.ROWS_REJECTED in faults else 0
            )
            lose = LOST_ROW_EVERY if Fault.ROWS_LOST in faults else 0
            done = load(self.state, request.path, request.listid, self.primary_key, reject, lose)
        except LoadError as error:
            reason = str(error)
        numbers = {"total": done.total, "accepted": done.accepted, "rejected": done.rejected}
        self.state.set_upload(requestid, state=pingbacks.status(reason, faults), reason=reason, **numbers)
        if Fault.PINGBACK_LATE in faults:
            self._released.wait(self.late_seconds)
        if not self._stopping.is_set() and Fault.NO_PINGBACK not in faults:
            self._ping_at_the_end(requestid, request, pingbacks.payload(named, done, reason, faults), faults)

    def _ping_at_the_end(
        self, requestid: str, request: UploadRequest, said: dict[str, Any], faults: frozenset[Fault]
    ) -> None:
        if Fault.PINGBACK_EMPTY in faults:
            self._ping(requestid, request, b"", faults)
        self._ping(requestid, request, said, faults)
        if Fault.PINGBACK_TWICE in faults:
            self._ping(requestid, request, said, faults)
        if Fault.PINGBACK_CONTRADICTED in faults:
            self._ping(requestid, request, said | {"status": "failed"}, faults)

    def _ping(self, requestid: str, request: UploadRequest, said: Any, faults: frozenset[Fault]) -> None:
        if not request.callback:
            return
        repeats = 0 if Fault.PINGBACK_ONCE in faults else self.repeats
        for left in reversed(range(1 + repeats)):
            answer = pingbacks.send(request.callback, said, faults)
            self.state.add_pingback(requestid, answer)
            if not left or not pingbacks.may_be_taken_later(answer) or self._stopping.wait(self.repeat_seconds):
                return


def shown(requestid: str, faults: Collection[Fault]) -> str | int:
    """Return a requestid as it is in the JSON."""
    return int(requestid) if Fault.NUMERIC_REQUESTID in faults else requestid


class _Server(ThreadingHTTPServer):
    # Many tasks may submit at the same moment.
    request_queue_size = 128
    sandbox: SandboxServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not log clients that have disconnected."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        state = self.server.sandbox.state
        match urlsplit(self.path).path:
            case "/":
                self._answer(200, page.render(state).encode(), "text/html; charset=utf-8")
            case "/sandbox/uploads":
                self._json(200, state.uploads())
            case "/sandbox/contacts":
                self._json(200, {"count": state.count(), "lists": state.lists(), "contacts": state.contacts()})
            case _:
                self._json(404, {"result": "Not found"})

    def do_POST(self) -> None:
        sandbox = self.server.sandbox
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match urlsplit(self.path).path:
            case "/apiv2":
                return self._upload(body)
            case "/sandbox/hold":
                sandbox.hold()
            case "/sandbox/release":
                sandbox.release()
            case _:
                return self._json(404, {"result": "Not found"})
        return self._json(200, {"result": "Success"})

    def _upload(self, body: bytes) -> None:
        sandbox = self.server.sandbox
        try:
            request = read_request(self.path, self.headers.get("Content-Type", ""), body, sandbox.api_key)
            faults = sandbox.faults_of(request)
        except RequestRefused as refusal:
            return self._json(refusal.status_code, {"result": refusal.result})
        except ValueError as unknown_fault:
            return self._json(400, {"result": str(unknown_fault)})
        if self._failed_before_acceptance(faults):
            return None
        requestid = sandbox.accept(request, faults)
        if Fault.CUT_AFTER in faults:
            return self._cut()
        if Fault.ANSWER_LATE in faults:
            sandbox.hang()
        if Fault.ANSWER_CONFLICT in faults:
            return self._json(409, {"result": "already in progress"})
        result = "Request accepted" if Fault.ANSWER_UNKNOWN_WORD in faults else "Success"
        answer = {"requestid": shown(requestid, faults), "result": result}
        if Fault.NO_REQUESTID in faults:
            del answer["requestid"]
        return self._json(200, answer)

    def _failed_before_acceptance(self, faults: frozenset[Fault]) -> bool:
        if Fault.HANG in faults:
            self.server.sandbox.hang()
            self._cut()
        elif Fault.CUT_BEFORE in faults:
            self._cut()
        elif Fault.ERROR_500 in faults:
            self._json(500, {"result": "Internal error"})
        elif Fault.HTML in faults:
            self._answer(200, b"<html><body>Under maintenance</body></html>", "text/html")
        elif Fault.INVALID_KEY in faults or Fault.INVALID_KEY_401 in faults:
            self._json(401 if Fault.INVALID_KEY_401 in faults else 200, {"result": INVALID_KEY})
        else:
            return False
        return True

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _json(self, status: int, value: Any) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write no access log: it would show the API key."""
