"""The sandbox's ping-backs. Smartech documents neither their fields nor their words; these are the sandbox's own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

import requests

from airflow_provider_smartech.sandbox.faults import Fault
from airflow_provider_smartech.sandbox.loader import Load

TIMEOUT_SECONDS = 30
UNREADABLE = b"\xff\xfe\x00 no status in here \x9c"
# What faults change in the last ping-back.
CHANGES: dict[Fault, dict[str, Any]] = {
    Fault.PINGBACK_FOREIGN: {"requestid": "f" * 32},
    Fault.PINGBACK_ERROR: {"error": "the file was not read to its end"},
    Fault.PINGBACK_UNSUCCESSFUL: {"success": False},
    Fault.STATUS_OBJECT: {"status": {"state": "completed", "failed": 2}},
}


def status(reason: str | None, faults: Collection[Fault]) -> str:
    """Return the status word of an upload that ended; ``reason`` is why it failed, if it did."""
    if reason or Fault.STATUS_FAILED in faults:
        return "failed"
    return "hibernating" if Fault.STATUS_UNKNOWN in faults else "completed"


def payload(requestid: str | int, load: Load, reason: str | None, faults: Collection[Fault]) -> dict[str, Any]:
    """Return the content of an upload's last ping-back."""
    if Fault.PINGBACK_ECHO in faults:
        return {"result": "Success", "requestid": requestid}
    word = status(reason, faults)
    said = {"requestid": requestid, "status": word}
    if Fault.NO_COUNTS not in faults:
        said |= asdict(load)
    if word == "failed":
        said["reason"] = reason or "requested by the fault"
    for fault, change in CHANGES.items():
        said |= change if fault in faults else {}
    return said


def send(callback: str, said: Any, faults: Collection[Fault]) -> str:
    """Call the ping-back URL and return the result."""
    try:
        if Fault.PINGBACK_UNREADABLE in faults:
            answer = requests.post(callback, data=UNREADABLE, timeout=TIMEOUT_SECONDS)
        elif Fault.PINGBACK_IN_QUERY in faults and not isinstance(said, bytes):
            answer = requests.post(f"{callback}?{urlencode(said)}", timeout=TIMEOUT_SECONDS)
        elif isinstance(said, bytes) or Fault.PINGBACK_FORM in faults:
            answer = requests.post(callback, data=said, timeout=TIMEOUT_SECONDS)
        else:
            answer = requests.post(callback, json=said, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        return type(error).__name__
    return f"HTTP {answer.status_code}"


def may_be_taken_later(answer: str) -> bool:
    """Whether a ping-back with this result should be sent again."""
    return not answer.startswith(("HTTP 2", "HTTP 3", "HTTP 4"))
