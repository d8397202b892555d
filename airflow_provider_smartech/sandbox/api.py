"""Parses a request as the vendor's page "Add Bulk Contact" describes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hmac import compare_digest
from urllib.parse import parse_qsl, urlsplit

FORM = "application/x-www-form-urlencoded"
INVALID_KEY = "Invalid API key"


class RequestRefused(Exception):
    """The API does not accept the request.

    ``status_code`` is the HTTP status, ``result`` the text of the answer. Only that of an invalid key is documented.
    """

    def __init__(self, result: str, status_code: int = 400) -> None:
        super().__init__(result)
        self.result = result
        self.status_code = status_code


@dataclass(frozen=True)
class UploadRequest:
    """A request that the API accepts; ``in_query`` has the names of the parameters in the URL."""

    path: str
    listid: int | None
    callback: str | None
    in_query: frozenset[str]


def read_request(target: str, content_type: str, body: bytes, api_key: str) -> UploadRequest:
    """Parse a POST request.

    The vendor's table puts ``path`` and ``listid`` into the body, the sample puts everything into the query; both are
    accepted.

    :raises RequestRefused: the API would not accept it.
    """
    query = _parameters(urlsplit(target).query)
    if not compare_digest(query.get("apikey", "").encode(), api_key.encode()):
        raise RequestRefused(INVALID_KEY, 200)
    if (query.get("type"), query.get("activity")) != ("contact", "bulkupload"):
        raise RequestRefused("type must be contact and activity bulkupload, both in the query")
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise RequestRefused(f"Content-Type must be {FORM}")
    form = _parameters(body.decode("ascii", errors="replace"))
    if doubled := query.keys() & form.keys():
        raise RequestRefused(f"given twice: {', '.join(sorted(doubled))}")
    given = query | form
    return UploadRequest(
        path=_url(given, "path") or _missing("path"),
        listid=_listid(given.get("listid")),
        callback=_url(given, "callback"),
        in_query=frozenset(query),
    )


def _parameters(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    if len(pairs) > len(dict(pairs)):
        raise RequestRefused("a parameter is given twice")
    return dict(pairs)


def _url(given: dict[str, str], name: str) -> str | None:
    url = given.get(name)
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise RequestRefused(f"{name} must be a complete URL")
    return url


def _listid(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", text):
        raise RequestRefused("listid must be an integer")
    return int(text)


def _missing(name: str) -> str:
    raise RequestRefused(f"{name} is required")
