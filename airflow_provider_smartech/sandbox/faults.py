"""What the sandbox does wrong on demand."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

# A request asks for faults by this parameter in the query of its CSV's URL, since it controls nothing else.
FAULT_PARAMETER = "sandbox_fault"


class Fault(StrEnum):
    """One thing that goes wrong."""

    INVALID_KEY = "invalid_key"
    """HTTP 200 with ``{"result": "Invalid API key"}``; nothing is loaded."""
    INVALID_KEY_401 = "invalid_key_401"
    """The same with HTTP 401."""
    NO_REQUESTID = "no_requestid"
    """Success without a requestid; the file is loaded."""
    ERROR_500 = "error_500"
    """HTTP 500; nothing is loaded."""
    HTML = "html"
    """HTTP 200 with a page instead of JSON; nothing is loaded."""
    HANG = "hang"
    """No answer; nothing is loaded."""
    CUT_BEFORE = "cut_before"
    """The connection is cut before the upload is accepted; nothing is loaded."""
    CUT_AFTER = "cut_after"
    """The connection is cut after the upload was accepted; the file is loaded."""
    ANSWER_LATE = "answer_late"
    """The upload is accepted and loaded at once, but the answer comes after a while."""
    NO_PINGBACK = "no_pingback"
    PINGBACK_ONCE = "pingback_once"
    """A ping-back that is not taken is not sent again, whatever the sandbox does otherwise."""
    PINGBACK_TWICE = "pingback_twice"
    PINGBACK_FIRST = "pingback_first"
    """The ping-back comes before the answer."""
    PINGBACK_LATE = "pingback_late"
    """The ping-back comes after a while, or when ``SandboxServer.release()`` is called."""
    PINGBACK_FORM = "pingback_form"
    """The ping-back is form-encoded."""
    PINGBACK_UNREADABLE = "pingback_unreadable"
    """The ping-back is neither JSON nor a form nor UTF-8."""
    STATUS_FAILED = "status_failed"
    STATUS_UNKNOWN = "status_unknown"
    STATUS_IN_PROGRESS = "status_in_progress"
    """A ping-back "in progress" comes before the last one."""
    ROWS_REJECTED = "rows_rejected"
    """Every tenth row is rejected; the upload completes all the same."""


def faults_of(path: str) -> frozenset[Fault]:
    """Return the faults that the CSV's URL asks for; an unknown name raises ValueError."""
    return read_faults(parse_qs(urlsplit(path).query).get(FAULT_PARAMETER, []))


def read_faults(lists: Iterable[str]) -> frozenset[Fault]:
    """Return the faults named in comma-separated lists; an unknown name raises ValueError."""
    return frozenset(Fault(name) for names in lists for name in names.split(",") if name)
