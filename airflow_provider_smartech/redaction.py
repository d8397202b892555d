"""Keeps secrets out of logs and stored data: URLs without their queries, texts without their secrets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from airflow_provider_smartech.json_values import object_of

HIDDEN = "***"

# Short values ("us-east-1", "86400") are ordinary words, and hiding them would make every log unreadable.
SHORTEST_SECRET_VALUE = 16

# So many hexadecimal digits of a signature are enough to hide: nobody can guess them.
LENGTH_OF_A_KEY = 20


def _written(character: str) -> str:
    """Return a pattern for a character: plain, percent-encoded any number of times, or as a JSON escape."""
    code = f"{ord(character):02x}"
    return rf"(?:{re.escape(character)}|%(?:25)*{code}|(?:\\|%(?:25)*5c)u00{code})"


# Every pattern is bounded or possessive, so a hostile text costs linear time.
_SLASH = re.compile(_written("/"), re.IGNORECASE)
_EQUALS = re.compile(_written("="), re.IGNORECASE)
_QUERY = re.compile(_written("?"), re.IGNORECASE)
_RAW_QUERY = re.compile(r"\?")
_END = re.compile(f"{_written('?')}|{_written('#')}", re.IGNORECASE)
_ESCAPED_SLASH = rf"(?:(?:\\|%(?:25)*5c){{0,4}}{_written('/')})"
_SCHEME = re.compile(rf"https?{_written(':')}{_ESCAPED_SLASH}{{2}}", re.IGNORECASE)
# In the address of an object, such as s3://bucket/key, an encoded "?" is part of the key.
_STORAGE = re.compile(r"(?!http)[a-z][a-z0-9+.-]{0,30}://", re.IGNORECASE)
_LOGIN = re.compile(rf"({_SCHEME.pattern})(?:(?!{_written('/')}|{_written('@')})\S)*+{_written('@')}", re.IGNORECASE)
# What may be or contain a link: a form value that is encoded as a whole (the next value is kept), or any word.
_ENCODED_WORD = re.compile(r"(?<![^\s\"<>&=])[^\s\"<>&=/?]++(?![=/?])")
_WORD = re.compile(r"[^\s\"<>]+")

# Names of secrets: the first ones with any value, the second ones only with a value long enough to be a secret.
_SURE = (
    r"api[ _-]?key|x-(?:amz|goog)-[a-z0-9-]{1,40}|awsaccesskeyid|googleaccessid|key-pair-id|signature"
    r"|(?:(?<![a-z0-9])|(?<=[%05][0-9a-f]{2}))(?:sig|policy)"
)
_LIKELY = r"token|secret|password|passwd|pwd|credentials?|auth|authorization|session"


@cache
def _name(names: str) -> re.Pattern[str]:
    """Return a pattern for a text that ends in a name."""
    return re.compile(rf"(?:{names})\s*\Z", re.IGNORECASE)


# Compiled at first use: DAG files import this module but scrub nothing.
@cache
def _field(names: str, shortest: int) -> re.Pattern[str]:
    """Return a pattern for a name and its value, in a query, in JSON or in a header, encoded or not."""
    blank, quote = r"\s{0,20}", r"\\{0,4}[\"']"
    character = r"(?!%(?P=depth)(?:26|22))[^\s\"'<>&]"
    long = rf"(?=[^\s\"'<>&]{{{SHORTEST_SECRET_VALUE}}})"
    return re.compile(
        rf"(?P<name>{names})"
        rf"(?:(?P<quoted>{quote}{blank}:{blank}\")(?P<text>(?:\\.|[^\"\\]){{{shortest},}}+)"
        rf"|(?P<sign>{blank}={blank}{quote}?|{quote}{blank}:{blank}(?:{quote})?|:{blank}(?:(?:bearer|basic)\s)?{long}"
        rf"|%(?P<depth>(?:25)*)(?:3d|5cu003d|22%(?:25)*3a(?:%(?:25)*20)?(?:%(?:25)*22)?))"
        rf"(?:{character}){{{shortest},}}+)",
        re.IGNORECASE | re.DOTALL,
    )


# An API key in plain text or other markup: a long word directly after its name.
_TOLD_KEY = re.compile(r"(api[\s_.-]?key(?:\W{1,20}(?:value|is|was)\b)?\W{1,20})[\w.+/=-]{16,}", re.IGNORECASE)

# Amazon's names for credentials in requests and answers.
_CREDENTIALS = re.compile("SecretAccessKey|SessionToken|Security-Token|WebIdentityToken|SAMLAssertion", re.IGNORECASE)

# Characters that some JSON writers escape although they do not have to.
_NEEDLESS_ESCAPE = re.compile(r"\\u00(2[67bf]|3[c-f])", re.IGNORECASE)


# After so many calls that mask secrets, Python forgets the patterns that it remembers.
FORGET_AFTER = 50
_masked = count(1)


class SecretUrl:
    """A URL whose text form has no login, query or fragment; ``get_secret_value()`` returns the full URL."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def get_secret_value(self) -> str:
        """Return the full URL, to send it."""
        return self._url

    def secrets(self) -> list[str]:
        """Return what a log must not show: the query, and each of its longer values."""
        query = urlsplit(self._url).query
        values = [value for _, value in parse_qsl(query) if len(value) >= SHORTEST_SECRET_VALUE]
        return [query, *values] if query else []

    def keys(self) -> list[str]:
        """Return those of its secrets without which the others are of no use: for a URL that is signed, few.

        Airflow's masker takes longer with each secret that it knows: too long with all of a thousand URLs.
        """
        query = dict(parse_qsl(urlsplit(self._url).query))
        signature = query.get("X-Amz-Signature", "")[:LENGTH_OF_A_KEY]
        # The token is the same in all URLs of a task.
        return list(filter(None, [signature, query.get("X-Amz-Security-Token")])) if signature else self.secrets()

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
    """Return the text with every link cut before its query, in any encoding.

    A link is a URL, or a path that has a query of names and values.
    """
    return _WORD.sub(_cut, _ENCODED_WORD.sub(_cut, text))


def _cut(word: re.Match[str]) -> str:
    text = word[0]
    slash = _SLASH.search(text)
    if slash is None:
        return text
    is_url = _SCHEME.search(text) is not None
    query = _RAW_QUERY if _STORAGE.match(text) else _QUERY
    end = (_END if is_url else query).search(text, slash.end())
    if end and (is_url or _EQUALS.search(text, end.end())):
        text = text[: end.start()]
    return _LOGIN.sub(r"\1", text) if is_url else text


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return the text without these secrets, in any encoding, and without other secrets.

    Other secrets are the queries of links, and the values that follow a secret's name.
    """
    return _scrub(text, _disguises(secrets))


def _scrub(text: str, forms: Iterable[str]) -> str:
    text = _NEEDLESS_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    lower = text.lower()
    for form in forms:
        # A separate pattern for each secret is slow to compile and rarely needed.
        if not text.isascii() or not form.isascii() or form.lower() in lower:
            text = re.sub(re.escape(form), HIDDEN, text, flags=re.IGNORECASE)
            lower = text.lower()
    text = without_queries(text)
    text = _field(_SURE, 1).sub(_without_value, text)
    text = _TOLD_KEY.sub(rf"\1{HIDDEN}", text)
    return _field(_LIKELY, SHORTEST_SECRET_VALUE).sub(_without_value, text)


def _without_value(field: re.Match[str]) -> str:
    return f"{field['name']}{field['quoted'] or field['sign']}{HIDDEN}"


def scrub_json(value: Any, secrets: Iterable[str]) -> Any:
    """Return a JSON value with all strings scrubbed, keys included, and with the values of secret keys hidden."""
    return _scrub_json(value, _disguises(secrets))


def _scrub_json(value: Any, forms: Sequence[str]) -> Any:
    if isinstance(value, str):
        return _scrub(value, forms)
    if isinstance(value, list):
        told = any(map(_is_name, value))
        return [HIDDEN if told and _is_long(item) else _scrub_json(item, forms) for item in value]
    if isinstance(value, dict):
        # As in {"name": "apikey", "value": …}.
        told = any(map(_is_name, value.values()))
        return object_of(
            (
                _scrub(str(key), forms),
                HIDDEN if _is_secret(str(key), item) or (told and _is_long(item)) else _scrub_json(item, forms),
            )
            for key, item in value.items()
        )
    return value


def _is_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) < 50
        and re.fullmatch(rf"\s*(?:{_SURE})\s*", value, re.IGNORECASE) is not None
    )


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= SHORTEST_SECRET_VALUE


def _is_secret(key: str, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return False
    return bool(_name(_SURE).search(key)) or (
        isinstance(value, str) and len(value) >= SHORTEST_SECRET_VALUE and bool(_name(_LIKELY).search(key))
    )


def hide_api_keys(record: logging.LogRecord) -> bool:
    """Filter for a logger that shows URLs: a URL with an API key is shown without its query.

    Airflow's masker does not reach the root logger of a process that the executor forks.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(
            _END.split(arg, maxsplit=1)[0] if isinstance(arg, str) and "apikey=" in arg else arg for arg in record.args
        )
    return True


def _hide_values(record: logging.LogRecord) -> bool:
    """Filter for a logger whose values are secrets: only messages without values are shown."""
    return not record.args


def _hide_credentials(record: logging.LogRecord) -> bool:
    """Filter for a logger of Amazon requests and answers: messages with credentials are not shown."""
    return not _CREDENTIALS.search(record.getMessage())


# These log values before the masker knows them: the string to sign, the signature, temporary credentials.
logging.getLogger("botocore.auth").addFilter(_hide_values)
for _part in ("botocore.endpoint", "botocore.parsers"):
    logging.getLogger(_part).addFilter(_hide_credentials)


def mask(secrets: Iterable[str]) -> None:
    """Register each secret with Airflow's secrets masker, raw and percent-encoded."""
    # Imported here: the sandbox uses this module without Airflow.
    from airflow.sdk.log import mask_secret

    forms = {form for secret in filter(None, secrets) for form in _forms(secret)}
    for form in forms | set(map(_lower_escapes, forms)):
        mask_secret(form)
    if next(_masked) % FORGET_AFTER == 0:
        # For each secret, Airflow compiles a pattern of all of them, and Python remembers hundreds of these.
        re.purge()


def _disguises(secrets: Iterable[str]) -> list[str]:
    """Return the forms in which the secrets may appear, longer secrets first."""
    ordered = sorted(filter(None, secrets), key=len, reverse=True)
    return [form for secret in ordered for form in sorted(_all_forms(secret), key=len, reverse=True)]


def _all_forms(secret: str) -> set[str]:
    """Return the secret percent-encoded up to three times, and in each form that a JSON writer may use."""
    forms = encoded = _forms(secret)
    for _ in range(2):
        encoded = {quote(form, safe=safe) for form in encoded for safe in ("", "/")}
        forms = forms | encoded
    escaped = {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (True, False)}
    return forms | escaped | {form.replace("/", "\\/") for form in escaped}


def _forms(secret: str) -> set[str]:
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}


def _lower_escapes(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda escape: escape[0].lower(), text)
