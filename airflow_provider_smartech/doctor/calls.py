"""One HTTP call as a server of Smartech's would make it: no login, no redirects, and failures in words."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError, ProxyError, ReadTimeoutError

from airflow_provider_smartech import __version__
from airflow_provider_smartech.json_values import read_json
from airflow_provider_smartech.redaction import SecretUrl, scrub

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
LARGEST_BYTES = 64 * 1024
TITLE_CHARACTERS = 80
CLOCK_TOLERANCE = timedelta(seconds=60)


class NoAnswer(Exception):
    """There was no answer; the message says why, without the URL."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer: its status, its headers, the beginning of its body, and when and how soon it came.

    ``secrets`` are what a message about it must not show.
    """

    url: str
    secrets: tuple[str, ...] = field(repr=False)
    status: int
    headers: dict[str, str]
    body: bytes
    at: datetime
    seconds: float

    @property
    def json(self) -> Any:
        """Its body if that is a JSON object, else an empty one."""
        try:
            value = read_json(self.body.decode())
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def redirects_to(self) -> str | None:
        """Where it redirects to, without the query; None if it does not."""
        target = self.headers.get("location")
        if not target or not 300 <= self.status < 400:
            return None
        return scrub(str(SecretUrl(urljoin(self.url, target))), self.secrets)

    @property
    def shown(self) -> str:
        """What it is, in a few words."""
        if self.redirects_to:
            return f"HTTP {self.status}, a redirect to {self.redirects_to}"
        named = f" {self._title!r}" if self._title else ""
        if self._is_html:
            return f"HTTP {self.status}, an HTML page{named}"
        return f"HTTP {self.status}, {'JSON' if self.json else 'neither JSON nor HTML'}"

    @property
    def _is_html(self) -> bool:
        beginning = self.body[:1000].lower()
        return "html" in self.headers.get("content-type", "") or b"<html" in beginning or b"<title" in beginning

    @property
    def _title(self) -> str:
        text = self.body.decode(errors="replace")
        title = re.search(r"<title[^>]{0,100}>(.{1,300}?)</title>", text, re.DOTALL | re.IGNORECASE)
        # Scrubbed first: a secret that is cut would not be found.
        return scrub(" ".join(unescape(title[1]).split()), self.secrets)[:TITLE_CHARACTERS] if title else ""

    @property
    def clock_difference(self) -> timedelta | None:
        """How far the clock of the server is ahead of this machine's, to the second; None if it does not say."""
        try:
            there = parsedate_to_datetime(self.headers["date"])
        except (KeyError, ValueError):
            return None
        return clock_difference(there, self.at)


def clock_difference(there: datetime, here: datetime) -> timedelta:
    """Return how far another clock is ahead of this machine's, without a fraction of a second."""
    return timedelta(seconds=round((there.astimezone(UTC) - here).total_seconds()))


def call(method: str, url: str, json: Any = None, secrets: Iterable[str] = ()) -> Answer:
    """Send one request.

    :param secrets: what a message about the answer must not show, such as parts of the URL.
    :raises NoAnswer: there was none.
    """
    why: str
    began = time.monotonic()
    try:
        with requests.Session() as session:
            # Smartech has no login, but requests would take one from a .netrc file.
            session.auth = _without_login
            headers = {"User-Agent": f"airflow-provider-smartech/{__version__}"}
            timeouts = (CONNECT_SECONDS, READ_SECONDS)
            with session.request(
                method, url, json=json, headers=headers, timeout=timeouts, allow_redirects=False, stream=True
            ) as response:
                body = response.raw.read(LARGEST_BYTES, decode_content=True)
                return Answer(
                    url=url,
                    secrets=tuple(secrets),
                    status=response.status_code,
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=body,
                    at=datetime.now(UTC),
                    seconds=time.monotonic() - began,
                )
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        why = _why(error, urlsplit(url).hostname or "")
    # Raised outside the handler: requests' exception holds the URL, and must not be chained.
    raise NoAnswer(why)


def _without_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _why(error: BaseException, host: str) -> str:
    """Return in words why there was no answer."""
    causes = list(_causes(error))
    for kinds, why in (
        (ssl.SSLCertVerificationError, "the certificate of {host} is not trusted ({detail})"),
        (ssl.SSLError, "{host} was reached, but it does not speak TLS there ({detail})"),
        (ProxyError, "the proxy of this machine's environment did not let the call through"),
        (socket.gaierror, "the name {host} is not known here (DNS)"),
        (requests.ConnectTimeout, f"no connection to {{host}} within {CONNECT_SECONDS:.0f} seconds"),
        ((ReadTimeoutError, requests.ReadTimeout), f"no answer from {{host}} within {READ_SECONDS:.0f} seconds"),
        (ConnectionRefusedError, "{host} refused the connection: nothing listens on that port"),
    ):
        if cause := next((one for one in causes if isinstance(one, kinds)), None):
            detail = getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or type(cause).__name__
            return why.format(host=host, detail=detail)
    return f"no answer came from {host} ({type(error).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was made of."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.append(one)
        yield one
        inner = [
            *one.args,
            getattr(one, "reason", None),
            getattr(one, "original_error", None),
            one.__cause__,
            one.__context__,
        ]
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]
