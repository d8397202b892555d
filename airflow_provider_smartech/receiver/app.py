"""The web app that receives Smartech's ping-backs."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse
from python_multipart.exceptions import FormParserError
from starlette.background import BackgroundTask
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from airflow_provider_smartech import __version__
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.json_values import object_of, storable
from airflow_provider_smartech.redaction import scrub_json
from airflow_provider_smartech.uploads.payloads import read_payload, read_query
from airflow_provider_smartech.uploads.statuses import Verdict
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import KEY, PROBE, PingBack, key_of, secrets_of

log = logging.getLogger(__name__)

LARGEST_PINGBACK_BYTES = 64 * 1024
RETRY_AFTER_SECONDS = "60"
CLIENT_GONE = 400
# How many ping-backs are stored at the same time, and how many more may wait for that.
STORE_THREADS = 8
MOST_WAITING = 500
# Seconds between two messages in the log about refused calls.
LOG_INTERVAL_SECONDS = 60.0
# For how long, and of how many uploads, the receiver remembers that they are recorded.
KNOWN_SECONDS = 600.0
MOST_KNOWN = 10_000


def create_app(
    store: UploadStore,
    judge: Callable[[PingBack], Verdict | None] = lambda _: None,
    count: Callable[[Verdict], None] = lambda _: None,
) -> FastAPI:
    """Return the app that stores ping-backs in this store.

    ``POST /pingback/<upload id>`` accepts JSON, a form or any text of up to 64 KiB, and a query. It answers 200 only
    after the ping-back is stored; 404 for an unknown or malformed id; 413 for a body that is too large; 503 with
    ``Retry-After`` when the store cannot be reached or too many requests wait for it. ``GET /health`` answers a JSON
    object whose ``service`` is ``airflow-provider-smartech``, with 503 when the store cannot be reached.

    Its log has lines with fields for those who count them, such as ``event``, but neither ids nor contents.

    :param judge: called with each ping-back of an upload that was stored; returns what it says, for the log, or None if
        that is not known here.
    :param count: called with what it says, after the answer: it may take its time.
    """
    # Anyone can send calls that read the store: these must not use up the threads of Airflow's own pages.
    threads, health_threads, count_threads = CapacityLimiter(STORE_THREADS), CapacityLimiter(1), CapacityLimiter(1)
    known = _KnownUploads(store)
    app = FastAPI(title="Smartech ping-backs", docs_url=None, redoc_url=None, openapi_url=None)
    app.exception_handler(AnyHTTPException)(_Refusals().answer)

    @app.exception_handler(UploadStoreError)
    def unavailable(request: Request, error: UploadStoreError) -> JSONResponse:
        said = re.sub(KEY.pattern, "…", str(error))
        log.warning("The upload store failed while a call was answered. %s", said, extra={"event": "store_failed"})
        return JSONResponse({"detail": "try again later"}, 503, {"Retry-After": RETRY_AFTER_SECONDS})

    def keep(key: str, call: _Call) -> Verdict | None:
        # The id is looked up before the body is parsed: calls from strangers must be cheap.
        if not known.has(key):
            raise HTTPException(404)
        said = scrub_json([call.payload(), read_query(call.query)], secrets_of(call.upload_id))
        pingback = PingBack(payload=said[0], query=said[1])
        store.add_pingback(key, pingback)
        if key.startswith(PROBE):
            log.info("A ping-back of the doctor was kept.", extra={"event": "probe_kept"})
            return None
        verdict = _judged(judge, pingback)
        _log_kept(len(call.body), verdict)
        return verdict

    async def count_later(verdict: Verdict) -> None:
        await to_thread.run_sync(count, verdict, limiter=count_threads)

    @app.post("/pingback/{upload_id}")
    async def take(
        request: Request, key: Annotated[str, Depends(_key)], upload_id: str, body: Annotated[bytes, Depends(_body)]
    ) -> JSONResponse:
        if threads.statistics().tasks_waiting >= MOST_WAITING:
            raise HTTPException(503, headers={"Retry-After": RETRY_AFTER_SECONDS})
        call = _Call(upload_id, request.url.query, request.headers.get("Content-Type", ""), body)
        verdict = await to_thread.run_sync(keep, key, call, limiter=threads)
        later = BackgroundTask(count_later, verdict) if verdict else None
        return JSONResponse({"status": "stored"}, background=later)

    @app.get("/health")
    async def health(response: Response) -> dict[str, str]:
        status = "ok"
        try:
            await to_thread.run_sync(store.check_lately, limiter=health_threads)
        except UploadStoreError as error:
            log.warning("%s", error)
            response.status_code, status = 503, "upload store not reached"
        return {"service": "airflow-provider-smartech", "version": __version__, "status": status}

    return app


class _KnownUploads:
    """Remembers which uploads are recorded, so that further calls for them do not read their records again.

    Not for long, because ``purge`` removes old ones. Unknown ids are never remembered: there are too many.
    """

    def __init__(self, store: UploadStore) -> None:
        self._store = store
        self._keys: set[str] = set()
        self._until = 0.0

    def has(self, key: str) -> bool:
        """Whether an upload or a probe with this key is recorded."""
        if time.monotonic() >= self._until or len(self._keys) >= MOST_KNOWN:
            self._keys, self._until = set(), time.monotonic() + KNOWN_SECONDS
        if key in self._keys:
            return True
        is_recorded = self._store.has(key)
        # The doctor removes its probes at once.
        if is_recorded and not key.startswith(PROBE):
            self._keys.add(key)
        return is_recorded


class _Refusals:
    """Counts refused calls, and logs their numbers at most once a minute: a flood must not fill the log.

    For one event loop.
    """

    def __init__(self) -> None:
        self._numbers: Counter[int] = Counter()
        self._next = 0.0

    async def answer(self, request: Request, error: AnyHTTPException) -> Response:
        """Answer a call that is refused, and count it."""
        if error.status_code != CLIENT_GONE:
            if not self._numbers:
                asyncio.get_running_loop().call_at(self._next, self._log)
            self._numbers[error.status_code] += 1
        return await http_exception_handler(request, error)

    def _log(self) -> None:
        for status, number in sorted(self._numbers.items()):
            counted = {"event": "calls_refused", "status": status, "calls": number}
            log.info("Refused calls: %s with HTTP %s.", f"{number:,}", status, extra=counted)
        self._numbers.clear()
        self._next = asyncio.get_running_loop().time() + LOG_INTERVAL_SECONDS


def _judged(judge: Callable[[PingBack], Verdict | None], pingback: PingBack) -> Verdict | None:
    try:
        return judge(pingback)
    except Exception as error:  # noqa: BLE001 - the ping-back is stored, and must be answered so
        log.warning("What a ping-back says is not counted: %s.", type(error).__name__)
        return None


def _log_kept(size: int, verdict: Verdict | None) -> None:
    fields: dict[str, Any] = {"event": "pingback_kept", "bytes": size}
    if verdict:
        fields["verdict"] = verdict.slug
    log.info("A ping-back was kept.", extra=fields)


# Async, because FastAPI would run a plain function in another thread.
async def _key(upload_id: str) -> str:
    key = key_of(upload_id)
    if key is None:
        raise HTTPException(404)
    return key


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_PINGBACK_BYTES:
                raise HTTPException(413)
    except ClientDisconnect:
        # The client is gone; without this, the log would fill with errors.
        raise HTTPException(CLIENT_GONE) from None
    return bytes(body)


@dataclass(frozen=True)
class _Call:
    """One call as it was received; ``payload`` parses its body."""

    upload_id: str
    query: str
    content_type: str
    body: bytes

    def payload(self) -> Any:
        kind = self.content_type.lower()
        if kind.startswith("multipart/form-data"):
            # In an event loop of this thread, because the parser is async.
            return storable(asyncio.run(self._multipart()))
        return read_payload(self.body, is_form=kind.startswith("application/x-www-form-urlencoded"))

    async def _multipart(self) -> Any:
        async def stream() -> AsyncGenerator[bytes, None]:
            yield self.body

        try:
            form = await MultiPartParser(Headers({"Content-Type": self.content_type}), stream()).parse()
        except (MultiPartException, FormParserError, ValueError):
            return self.body.decode(errors="backslashreplace")
        fields = object_of([(name, await _text(value)) for name, value in form.multi_items()])
        await form.close()
        return fields


async def _text(value: UploadFile | str) -> str:
    return value if isinstance(value, str) else (await value.read()).decode(errors="backslashreplace")
