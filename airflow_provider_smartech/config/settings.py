"""The settings of a deployment: the ``[smartech]`` section of Airflow's configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from configparser import InterpolationError
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow.configuration import AIRFLOW_HOME
from airflow.providers.common.compat.sdk import conf

from airflow_provider_smartech.config.options import OPTIONS
from airflow_provider_smartech.errors import SmartechConfigurationError
from airflow_provider_smartech.uploads.statuses import Statuses, Verdict
from airflow_provider_smartech.uploads.upload import PingBack

log = logging.getLogger(__name__)

SECTION = "smartech"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The ``[smartech]`` section.

    ``upload_store``: URL of the folder for upload records, in ``ObjectStoragePath``'s form.
    ``callback_base_url``: URL at which Smartech reaches the receiver, or None if it is not known.
    ``poll_interval``: seconds between two checks for ping-backs.
    ``statuses``: what the ping-backs' words mean, and how many ping-backs end an upload.
    ``asset_events``: whether a task emits events of lists that are none of its outlets.
    """

    upload_store: str
    callback_base_url: str | None
    poll_interval: float
    statuses: Statuses
    asset_events: bool

    @classmethod
    def load(cls) -> Settings:
        """Read the section as it is now.

        :raises SmartechConfigurationError: an option has an invalid value.
        """
        return cls(
            upload_store=upload_store_url(),
            callback_base_url=_callback_base_url(),
            poll_interval=_positive("poll_interval"),
            statuses=_statuses(),
            asset_events=_yes("asset_events"),
        )


def upload_store_url() -> str:
    """Return only ``[smartech] upload_store``: with another option wrong, the receiver must not lose a ping-back."""
    return _text("upload_store") or f"file://{AIRFLOW_HOME}/smartech"


def configured_judge() -> Callable[[PingBack], Verdict | None]:
    """Return a function that returns what a ping-back says with the words as they are configured now.

    It does not know the upload's requestid, and so does not compare it. If the options with the words are wrong, it
    returns None for every ping-back, and this is logged: the receiver keeps ping-backs all the same.
    """
    try:
        statuses = _statuses()
    except SmartechConfigurationError as error:
        log.warning("What ping-backs say is not counted. %s", error)
        return lambda pingback: None
    return lambda pingback: statuses.verdict(pingback.payload, pingback.query)


def _statuses() -> Statuses:
    return Statuses.of(
        _words("status_fields"),
        _some_words("completed_words"),
        _words("failed_words"),
        _words("progress_words"),
        _yes("echo_completes"),
        _whole("pingbacks_expected"),
    )


def _text(option: str) -> str:
    try:
        return str(conf.get(SECTION, option, fallback=OPTIONS[option]["default"]) or "").strip()
    except InterpolationError:
        # Its text may quote the value.
        raise SmartechConfigurationError(f"[smartech] {option} cannot be read: write a % as %%.") from None


def _words(option: str) -> list[str]:
    return [word.strip() for word in _text(option).split(",") if word.strip()]


def _some_words(option: str) -> list[str]:
    words = _words(option)
    if not words:
        raise SmartechConfigurationError(f"[{SECTION}] {option} must have at least one word; it is empty.")
    return words


def _positive(option: str) -> float:
    try:
        number = float(_text(option))
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise SmartechConfigurationError(f"[{SECTION}] {option} must be a number above 0; got {_text(option)!r}.")
    return number


def _whole(option: str) -> int:
    number = _positive(option)
    if number != int(number):
        raise SmartechConfigurationError(f"[{SECTION}] {option} must be a whole number; got {_text(option)!r}.")
    return int(number)


def _yes(option: str) -> bool:
    word = _text(option).lower()
    if word not in ("true", "t", "1", "false", "f", "0"):
        raise SmartechConfigurationError(f"[{SECTION}] {option} must be True or False; got {_text(option)!r}.")
    return word in ("true", "t", "1")


def _callback_base_url() -> str | None:
    own = _text("callback_base_url")
    api = str(conf.get("api", "base_url", fallback="") or "").strip()
    base = own or (f"{api.rstrip('/')}/smartech" if api else "")
    if not base:
        return None
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SmartechConfigurationError(
            f"[{SECTION}] callback_base_url must be an absolute http(s) URL without a query, "
            "such as https://airflow.example.com/smartech."
        )
    return base.rstrip("/")
