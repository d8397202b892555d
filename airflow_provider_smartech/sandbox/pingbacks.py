"""The sandbox's ping-backs. Smartech documents neither their fields nor their words; these are the sandbox's own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

import requests

from airflow_provider_smartech.sandbox.faults import Fault
from airflow_provider_smartech.sandbox.loader import Load

SECONDS = 30
UNREADABLE = b"\xff\xfe\x00 no status in here \x9c"


def payload(requestid: str, load: Load, reason: str | None, faults: Collection[Fault]) -> dict[str, Any]:
    """Return what the last ping-back of an upload says."""
    status = "completed"
    if reason or Fault.STATUS_FAILED in faults:
        status, reason = "failed", reason or "requested by the fault"
    elif Fault.STATUS_UNKNOWN in faults:
        status = "hibernating"
    said = {"requestid": requestid, "status": status, **asdict(load)}
    return said | {"reason": reason} if reason else said


def send(callback: str, said: Any, faults: Collection[Fault]) -> str:
    """Call the ping-back URL and return what became of it."""
    try:
        if Fault.PINGBACK_UNREADABLE in faults:
            answer = requests.post(callback, data=UNREADABLE, timeout=SECONDS)
        elif isinstance(said, bytes) or Fault.PINGBACK_FORM in faults:
            answer = requests.post(callback, data=said, timeout=SECONDS)
        else:
            answer = requests.post(callback, json=said, timeout=SECONDS)
    except requests.RequestException as error:
        return type(error).__name__
    return f"HTTP {answer.status_code}"


def may_be_taken_later(answer: str) -> bool:
    """Whether what became of a ping-back is a reason to send it again."""
    return not answer.startswith(("HTTP 2", "HTTP 3", "HTTP 4"))
