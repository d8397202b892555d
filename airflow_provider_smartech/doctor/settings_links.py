"""The settings, and where each of them comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from difflib import get_close_matches

from airflow.configuration import AIRFLOW_HOME

from airflow_provider_smartech.config.options import OPTIONS
from airflow_provider_smartech.config.settings import SECTION, Settings
from airflow_provider_smartech.config.upload_store import configured_upload_store
from airflow_provider_smartech.doctor.finding import Finding, broken, ok, warning
from airflow_provider_smartech.errors import SmartechConfigurationError
from airflow_provider_smartech.redaction import SecretUrl

# The sources in which a user sets an option, and how they are shown.
_SET_IN = {"airflow.cfg": "airflow.cfg", "env var": "environment variable"}
ALWAYS_SHOWN = ("upload_store", "callback_base_url")


def settings_links() -> Iterator[Finding]:
    """Yield a line for each setting that matters here: the two that everyone needs, and those that are set."""
    given, of_api = _given(SECTION), _given("api")
    wrong = ""
    yield ok(_name("upload_store"), f"{configured_upload_store().shown_url} ({_origin('upload_store', given)})")
    try:
        yield _callback(Settings.load(), given, of_api)
    except SmartechConfigurationError as error:
        wrong = str(error)
        culprits = ", ".join(f"{option} ({_origin(option, given)})" for option in given if f" {option} " in wrong)
        yield broken("settings", wrong, f"Correct {culprits or 'it'}, for all of Airflow's components.")
    for option, (value, _) in given.items():
        if option not in OPTIONS:
            yield _unknown(option, given)
        elif option not in ALWAYS_SHOWN and not _is_default(option, given) and f" {option} " not in wrong:
            yield ok(_name(option), f"{value} ({_origin(option, given)})")
    defaults = [option for option in OPTIONS if option not in ALWAYS_SHOWN and _is_default(option, given)]
    yield ok("other settings", f"have their defaults: {', '.join(defaults)}" if defaults else "all are set")


def _name(option: str) -> str:
    return f"[{SECTION}] {option}"


def _callback(
    settings: Settings, given: Mapping[str, tuple[str, str]], of_api: Mapping[str, tuple[str, str]]
) -> Finding:
    if not settings.callback_base_url:
        return broken(
            _name("callback_base_url"),
            "it is not set, and neither is [api] base_url: uploads are sent without a callback",
            "Set [smartech] callback_base_url to the URL at which Smartech's servers reach the receiver.",
        )
    origin = _origin("callback_base_url", given)
    if _is_default("callback_base_url", given):
        source = _where("api", "base_url", of_api["base_url"][1]) if "base_url" in of_api else "default"
        origin = f"from [api] base_url, {source}"
    return ok(_name("callback_base_url"), f"{SecretUrl(settings.callback_base_url)} ({origin})")


def _unknown(option: str, given: Mapping[str, tuple[str, str]]) -> Finding:
    near = get_close_matches(option, OPTIONS, 1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return warning(
        _name(option),
        f"there is no such setting, so it is ignored ({_origin(option, given)})",
        f"{meant}Correct or remove it. The settings are: {', '.join(OPTIONS)}.",
    )


def _given(section: str) -> dict[str, tuple[str, str]]:
    """Return the options of a section that a user has set, with their values and the kinds of their sources."""
    # Not by Airflow's as_dict: before Airflow 3.2 it runs the commands of all sections, such as that of the database.
    file = RawConfigParser(strict=False)
    file.read(os.environ.get("AIRFLOW_CONFIG") or f"{AIRFLOW_HOME}/airflow.cfg", "utf-8")
    # Airflow writes the options that have no default as empty ones.
    filled = [(name, value) for name, value in (file.items(section) if section in file else ()) if value.strip()]
    found = {name: (value, "airflow.cfg") for name, value in filled}
    beginning = f"AIRFLOW__{section.upper()}__"
    names = [name for name in os.environ if name.startswith(beginning)]
    return found | {name.removeprefix(beginning).lower(): (os.environ[name], "env var") for name in names}


def _is_default(option: str, given: Mapping[str, tuple[str, str]]) -> bool:
    return option not in given or given[option][0].strip() in ("", OPTIONS[option]["default"])


def _origin(option: str, given: Mapping[str, tuple[str, str]]) -> str:
    return _where(SECTION, option, given[option][1]) if option in given else "default"


def _where(section: str, option: str, source: str) -> str:
    name = f" AIRFLOW__{section.upper()}__{option.upper()}" if source == "env var" else ""
    return f"{_SET_IN.get(source, 'default')}{name}"
