"""The receiver as an AWS Lambda function behind a function URL: each call of ``handler`` is one HTTP request.

``make lambda`` makes its zip, and ``deploy/aws/template.yaml`` the function. Not by the library Mangum, which logs the
path of each request, and so the id of the upload; and which warns when it is imported, on some versions of Python.

See https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html for the requests and answers.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.receiver.app import create_app
from airflow_provider_smartech.receiver.environment import receiver_store

log = logging.getLogger(__name__)

# Once for each environment that Lambda starts, and not for each call.
logging.getLogger("airflow_provider_smartech").setLevel(logging.INFO)
_STORE = receiver_store()
_APP = create_app(_STORE)
# One event loop for all calls. Between them it stands still; a timer that was due meanwhile runs in the next call.
_RUNNER = asyncio.Runner()
with suppress(UploadStoreError):
    # Connects to S3 now, because Lambda gives a start more CPU than a call.
    _STORE.check_lately()


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Answer one request to the function URL."""
    return _RUNNER.run(_answer(event))


async def _answer(event: Mapping[str, Any]) -> dict[str, Any]:
    said = (event.get("body") or "").encode()
    body = base64.b64decode(said) if event.get("isBase64Encoded") else said
    status, headers, answered = 500, {"content-type": "application/json"}, b'{"detail":"Internal Server Error"}'

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, headers, answered
        if message["type"] == "http.response.start":
            status, answered = message["status"], b""
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        else:
            answered += message.get("body", b"")

    try:
        await _APP(_scope(event), receive, send)
    except Exception as error:  # noqa: BLE001 - Lambda would log its text, which may quote the ping-back
        lines = "".join(traceback.format_tb(error.__traceback__))
        log.error("A call failed with %s, at\n%s", type(error).__name__, lines)
    return {"statusCode": status, "headers": headers, "body": answered.decode(), "isBase64Encoded": False}


def _scope(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request as ASGI has it; see https://asgi.readthedocs.io/en/latest/specs/www.html."""
    path = event["rawPath"]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": event["requestContext"]["http"]["method"],
        "scheme": "https",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": event.get("rawQueryString", "").encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in event["headers"].items()],
    }
