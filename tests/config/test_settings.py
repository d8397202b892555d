"""The settings of a deployment."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import conf

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.errors import SmartechConfigurationError


def test_every_option_has_a_default_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__SMARTECH__POLL_INTERVAL")
    settings = Settings.load()
    assert settings.poll_interval == 10
    assert settings.statuses.pingbacks_expected == 1
    assert settings.callback_base_url is None
    assert settings.upload_store.endswith("/smartech")
    assert settings.asset_events is True


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("completed_words", " , "),
        *[("poll_interval", value) for value in ("0", "-1", "soon", "inf", "nan")],
        *[("pingbacks_expected", value) for value in ("0", "1.5", "two")],
        *[("asset_events", value) for value in ("perhaps", "2")],
        *[("callback_base_url", value) for value in ("airflow.example.com", "ftp://x/y", "https://x/y?z=1")],
    ],
)
def test_an_unusable_option_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, option: str, value: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__SMARTECH__{option.upper()}", value)
    with pytest.raises(Exception, match=rf"\[smartech\] {option}"):
        Settings.load()


def test_a_percent_sign_in_airflow_cfg_is_refused_by_the_option_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", raising=False)
    conf.read_string("[smartech]\ncompleted_words = success, 100%\n")
    try:
        with pytest.raises(SmartechConfigurationError, match=r"\[smartech\] completed_words .* write a % as %%"):
            Settings.load()
    finally:
        conf.remove_option("smartech", "completed_words")
