"""The receiver of Smartech's ping-backs: a small web app, mounted by the plugin or run alone.

``python -m airflow_provider_smartech.receiver --host 0.0.0.0 --port 8090`` runs it alone, for deployments whose
Airflow cannot be reached from outside.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from airflow_provider_smartech import __version__
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.redaction import scrub_json
from airflow_provider_smartech.store import UploadStore
from airflow_provider_smartech.uploads import PingBack, key_of

LARGEST_PINGBACK = 64 * 1024
DEEPEST_PAYLOAD = 32
RETRY_AFTER = "60"


def create_app(store: UploadStore) -> FastAPI:
    """Return the app that keeps ping-backs in this store.

    ``POST /pingback/<upload id>`` takes JSON, a form or any text of up to 64 KiB and answers 200 only after it is
    stored; 404 for an id that is unknown or has not the form of one; 413 when it is too large; 503 with
    ``Retry-After`` when the store cannot be reached. ``GET /health`` answers a JSON object whose ``service`` is
    ``airflow-provider-smartech``, with 503 when the store cannot be reached.
    """
    app = FastAPI(title="Smartech ping-backs", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(UploadStoreError)
    def unavailable(request: Request, error: UploadStoreError) -> JSONResponse:
        return JSONResponse({"detail": "try again later"}, 503, {"Retry-After": RETRY_AFTER})

    # Plain functions: they run in threads, because the store blocks.
    @app.post("/pingback/{upload_id}")
    def keep(
        key: Annotated[str, Depends(_key)], upload_id: str, payload: Annotated[Any, Depends(_payload)]
    ) -> dict[str, str]:
        if not store.has(key):
            raise HTTPException(404)
        store.add_pingback(key, PingBack(payload=scrub_json(payload, [upload_id])))
        return {"status": "stored"}

    @app.get("/health")
    def health(response: Response) -> dict[str, str]:
        status = "ok"
        try:
            store.check()
        except UploadStoreError:
            response.status_code, status = 503, "upload store not reached"
        return {"service": "airflow-provider-smartech", "version": __version__, "status": status}

    return app


def _key(upload_id: str) -> str:
    key = key_of(upload_id)
    if key is None:
        raise HTTPException(404)
    return key


async def _payload(request: Request, key: Annotated[str, Depends(_key)]) -> Any:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_PINGBACK:
            raise HTTPException(413)
    return read_payload(bytes(body))


def read_payload(body: bytes) -> Any:
    """Return what a ping-back carries as a JSON value: JSON, else a form's fields, else the text itself.

    Whatever its content type says, because Smartech documents none. Bytes that are not UTF-8 are shown as escapes,
    and JSON that is nested too deeply is kept as text.
    """
    text = body.decode(errors="backslashreplace").strip()
    try:
        return _storable(json.loads(text, parse_constant=str), DEEPEST_PAYLOAD)
    except (ValueError, RecursionError):
        return _storable(_form(text) or text, DEEPEST_PAYLOAD)


def _form(text: str) -> dict[str, Any]:
    if not re.fullmatch(r"[^\s=&]+=\S*", text):
        return {}
    values: dict[str, list[str]] = parse_qs(text, keep_blank_values=True, errors="backslashreplace")
    return {name: several[0] if len(several) == 1 else several for name, several in values.items()}


def _storable(value: Any, depth: int) -> Any:
    """Return a JSON value as one that every JSON writer takes: no lone surrogates, no infinite numbers."""
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_storable(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_storable(key, depth): _storable(item, depth - 1) for key, item in value.items()}
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the receiver alone, with the store that Airflow's configuration names."""
    import uvicorn

    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_smartech.receiver", description="Receive Smartech's ping-backs."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="port to listen on (default: %(default)s)")
    options = parser.parse_args(arguments)
    # No access log: it would show the upload ids.
    uvicorn.run(create_app(UploadStore.configured()), host=options.host, port=options.port, access_log=False)


if __name__ == "__main__":
    main()
