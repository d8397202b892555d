"""Keeping secrets out of whatever is written down: URLs without their queries, texts without their secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from airflow_provider_smartech.payloads import gathered

HIDDEN = "***"

# Short values ("us-east-1", "86400") are ordinary words, and hiding them would make every log unreadable.
SHORTEST_SECRET_VALUE = 16

# Whole URLs, plain, percent-encoded or with the escapes of JSON; they are cut afterwards, so that a hostile text costs
# linear time.
_URL = re.compile(
    r"https?(?::(?:\\?/){2}|(?P<encoded>(?:%3A|:)%2F%2F|%3A//))(?(encoded)[^\s\"<>&]*|[^\s\"<>]*)", re.IGNORECASE
)
_END = re.compile(r"[?#]|%3F|%23|\\u003f|\\u0023", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@]*@")


class SecretUrl:
    """A URL that shows itself without its login, query and fragment; ``get_secret_value()`` gives it whole."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def get_secret_value(self) -> str:
        """Return the whole URL, for sending it."""
        return self._url

    def secrets(self) -> list[str]:
        """Return what a log must not show: the query, and each of its longer values."""
        query = urlsplit(self._url).query
        values = [value for _, value in parse_qsl(query) if len(value) >= SHORTEST_SECRET_VALUE]
        return [query, *values] if query else []

    def __str__(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUrl) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)


def without_queries(text: str) -> str:
    """Return the text with every URL in it cut before its query, percent-encoded URLs included."""
    return _URL.sub(_cut, text)


def _cut(url: re.Match[str]) -> str:
    return _LOGIN.sub("", _END.split(url[0], maxsplit=1)[0])


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return the text with each secret, raw or percent-encoded, replaced, and without the queries of URLs."""
    return _scrub(text, _all_forms(secrets))


def _scrub(text: str, forms: Iterable[str]) -> str:
    for form in forms:
        # A pattern of its own for each secret takes long to compile, and is hardly ever needed.
        if not text.isascii() or not form.isascii() or form.lower() in text.lower():
            text = re.sub(re.escape(form), HIDDEN, text, flags=re.IGNORECASE)
    return without_queries(text)


def scrub_json(value: Any, secrets: Iterable[str]) -> Any:
    """Return a JSON value with every string in it, keys included, scrubbed."""
    return _scrub_json(value, _all_forms(secrets))


def _scrub_json(value: Any, forms: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _scrub(value, forms)
    if isinstance(value, list):
        return [_scrub_json(item, forms) for item in value]
    if isinstance(value, dict):
        return gathered((_scrub(str(key), forms), _scrub_json(item, forms)) for key, item in value.items())
    return value


def hide_api_keys(record: logging.LogRecord) -> bool:
    """Filter for a logger that shows URLs: one that holds an API key is shown without its query.

    Airflow's masker does not reach the root logger of a process that the executor forks.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(
            _END.split(arg, maxsplit=1)[0] if isinstance(arg, str) and "apikey=" in arg else arg for arg in record.args
        )
    return True


def hide_values(record: logging.LogRecord) -> bool:
    """Filter for a logger whose values are secrets: only what it says without any is shown."""
    return not record.args


def mask(secrets: Iterable[str]) -> None:
    """Tell Airflow's secrets masker about each secret, raw and percent-encoded."""
    # Here, because the sandbox, which uses this module too, needs no Airflow.
    from airflow.sdk.log import mask_secret

    forms = {form for secret in filter(None, secrets) for form in _forms(secret)}
    for form in forms | set(map(_lower_escapes, forms)):
        mask_secret(form)


def _all_forms(secrets: Iterable[str]) -> list[str]:
    """Return what secrets may look like, the longer ones first."""
    return [form for secret in sorted(filter(None, secrets), key=len, reverse=True) for form in _forms(secret)]


def _forms(secret: str) -> set[str]:
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}


def _lower_escapes(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda escape: escape[0].lower(), text)
