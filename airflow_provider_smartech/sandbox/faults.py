"""The faults that the sandbox can simulate."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

# A request asks for faults with this parameter in the query of its CSV's URL, because it controls nothing else.
FAULT_PARAMETER = "sandbox_fault"


class Fault(StrEnum):
    """One fault."""

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
    """The upload is accepted and loaded at once, but the answer comes late."""
    ANSWER_UNKNOWN_WORD = "answer_unknown_word"
    """The file is loaded, but the answer's ``result`` is "Request accepted"."""
    ANSWER_CONFLICT = "answer_conflict"
    """HTTP 409 with ``{"result": "already in progress"}``, while the file is loaded."""
    NUMERIC_REQUESTID = "numeric_requestid"
    """The requestid is a JSON number, in the answer and in the ping-backs."""
    NO_PINGBACK = "no_pingback"
    """No ping-back ever comes."""
    PINGBACK_ONCE = "pingback_once"
    """A ping-back that fails is not sent again, even if the sandbox is set to repeat it."""
    PINGBACK_TWICE = "pingback_twice"
    """The same ping-back comes twice."""
    PINGBACK_FIRST = "pingback_first"
    """The ping-back comes before the answer."""
    PINGBACK_LATE = "pingback_late"
    """The ping-back comes late, or when ``SandboxServer.release()`` is called."""
    PINGBACK_FORM = "pingback_form"
    """The ping-back is form-encoded."""
    PINGBACK_UNREADABLE = "pingback_unreadable"
    """The ping-back is neither JSON nor a form nor UTF-8."""
    PINGBACK_ECHO = "pingback_echo"
    """The ping-back only repeats the answer: ``{"result": "Success", "requestid": …}``."""
    PINGBACK_EMPTY = "pingback_empty"
    """A ping-back with an empty body comes before the last one, like a probe of the URL."""
    PINGBACK_FOREIGN = "pingback_foreign"
    """The ping-back names the requestid of another upload."""
    PINGBACK_ERROR = "pingback_error"
    """The ping-back has an ``error`` next to "completed"."""
    PINGBACK_UNSUCCESSFUL = "pingback_unsuccessful"
    """The ping-back has ``"success": false`` next to "completed"."""
    PINGBACK_CONTRADICTED = "pingback_contradicted"
    """The last ping-back is followed at once by one that says "failed"."""
    PINGBACK_IN_QUERY = "pingback_in_query"
    """The ping-back's body is empty, and its words are in the URL's query."""
    STATUS_FAILED = "status_failed"
    """The ping-back says "failed", although the file was loaded."""
    STATUS_UNKNOWN = "status_unknown"
    """The ping-back says "hibernating"."""
    STATUS_IN_PROGRESS = "status_in_progress"
    """A ping-back "in progress" comes before the last one."""
    STATUS_OBJECT = "status_object"
    """The status is an object that names failures: ``{"state": "completed", "failed": 2}``."""
    ROWS_REJECTED = "rows_rejected"
    """Every tenth row is rejected; the upload still completes."""
    ALL_ROWS_REJECTED = "all_rows_rejected"
    """Every row is rejected; the upload still completes."""
    NO_COUNTS = "no_counts"
    """The ping-back has no row counts."""
    ROWS_LOST = "rows_lost"
    """Every second row is lost, and missing from the total in the ping-back."""


def faults_of(path: str) -> frozenset[Fault]:
    """Return the faults that the CSV's URL asks for; an unknown name raises ValueError."""
    return read_faults(parse_qs(urlsplit(path).query).get(FAULT_PARAMETER, []))


def read_faults(lists: Iterable[str]) -> frozenset[Fault]:
    """Return the faults named in comma-separated lists; an unknown name raises ValueError."""
    return frozenset(Fault(name) for names in lists for name in names.split(",") if name)
