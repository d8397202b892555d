"""What a connection says of an account."""

from __future__ import annotations

import json

import pytest

from airflow_provider_smartech.api.data_centres import DATA_CENTRES
from airflow_provider_smartech.errors import SmartechConfigurationError
from airflow_provider_smartech.hooks import SmartechHook
from tests.conftest import API_KEY, SetConnection


@pytest.mark.parametrize("extra", [{}, {"idc": ""}, {"idc": "us"}, {"idc": "IN"}, {"idc": "eu"}])
def test_the_idc_chooses_the_host(connection: SetConnection, extra: dict[str, str]) -> None:
    connection(extra=extra)
    assert SmartechHook().account.url == DATA_CENTRES[(extra.get("idc") or "us").lower()].url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("https://proxy.example.com/smartech/apiv2/", "https://proxy.example.com/smartech/apiv2"),
        ("https://proxy.example.com", "https://proxy.example.com/apiv2"),
        ("http://127.0.0.1:8095", "http://127.0.0.1:8095/apiv2"),
        ("http://localhost:8095/apiv2", "http://localhost:8095/apiv2"),
        ("http://[::1]:8095/apiv2", "http://[::1]:8095/apiv2"),
        ("http://10.1.2.3/apiv2", "http://10.1.2.3/apiv2"),
    ],
)
def test_a_host_in_the_connection_overrides_the_idc(connection: SetConnection, host: str, url: str) -> None:
    connection(host=host, extra={"idc": "in"})
    assert SmartechHook().account.url == url


@pytest.mark.parametrize(
    "fields",
    [
        {"password": None},
        {"extra": {"idc": "moon"}},
        {"extra": {"listid": "thirty-three"}},
        {"extra": [1, 2]},
        {"extra": "idc: in"},
        {"extra": {"notifyemail": "nobody"}},
        {"host": "api.example.com"},
        {"host": "ftp://api.example.com"},
        {"host": "https://user:pass@api.example.com/apiv2"},
        {"host": "https://api.example.com/apiv2?apikey=1"},
        {"host": "https://api.example.com:port/"},
        {"host": "https://api..example.com/"},
        {"host": "https://exa mple.com/"},
        {"host": f"http://{'x' * 64}.com/"},
        {"host": "http://8.8.8.8/apiv2"},
        *[{"host": f"http://{host}/apiv2"} for host in ("0.0.0.0", "198.18.0.1", "192.0.2.1", "240.0.0.1")],
        {"host": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/apiv2"},
        {"host": "http://[::ffff:8.8.8.8]/apiv2"},
        {"host": "http://[2001:4860:4860::8888]/apiv2"},
        {"host": "http://no-such-host.invalid/apiv2"},
    ],
)
def test_an_unusable_connection_is_refused_before_anything_is_sent(
    connection: SetConnection, csv_url: str, fields: dict[str, object]
) -> None:
    connection(**fields)
    with pytest.raises(SmartechConfigurationError, match="smartech_default"):
        SmartechHook().bulk_upload(csv_url)


@pytest.mark.parametrize("extra", [{}, {"listid": "", "notifyemail": " ", "panel_url": ""}])
def test_a_connection_without_defaults_adds_nothing(connection: SetConnection, extra: dict[str, str]) -> None:
    connection(extra=extra)
    parameters = SmartechHook().parameters("https://x.example.com/y.csv")
    assert (parameters.listid, parameters.notifyemail) == (None, None)
    assert SmartechHook().account.panel_url is None


def test_an_account_shows_neither_its_key_nor_its_e_mail_address(connection: SetConnection) -> None:
    connection(extra={"notifyemail": "ops@example.com"})
    shown = repr(SmartechHook().account)
    assert API_KEY not in shown
    assert "ops@example.com" not in shown


@pytest.mark.parametrize("url", ["javascript:alert(1)", "panel.example.com", "https://a:b@panel.example.com/", 7])
def test_a_panel_address_that_is_no_web_address_is_left_out_and_stops_no_upload(
    connection: SetConnection, caplog: pytest.LogCaptureFixture, url: object
) -> None:
    connection(extra={"panel_url": url})
    assert SmartechHook().account.panel_url is None
    assert "panel_url" in caplog.text


@pytest.mark.parametrize("name", ["a b", "-a", "a/b", "a.b", "ü", "x" * 51])
def test_a_name_of_an_account_that_is_no_part_of_a_uri_is_an_error_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    connection = {"conn_type": "smartech", "password": "k", "extra": {"account": name}}
    monkeypatch.setenv("AIRFLOW_CONN_SMARTECH_DEFAULT", json.dumps(connection))
    with pytest.raises(SmartechConfigurationError, match="account must be a short name"):
        _ = SmartechHook().account
