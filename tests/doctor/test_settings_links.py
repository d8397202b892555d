"""The settings, and where each of them comes from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_smartech.doctor.settings_links import settings_links
from tests.doctor.conftest import by_link, results

Option = Callable[[str, str], None]


@pytest.mark.usefixtures("store")
def test_each_setting_that_is_set_is_shown_with_its_source_and_the_others_are_named(option: Option) -> None:
    option("callback_base_url", "https://me:hush@airflow.example.com/smartech")
    option("echo_completes", "True")
    option("status_fields", "status, state, result, upload_status, job_status")
    findings = by_link(settings_links())
    assert set(results(findings).values()) == {"ok"}
    shown = {link: finding.seen for link, finding in findings.items()}
    variable = "environment variable AIRFLOW__SMARTECH__"
    assert shown["[smartech] upload_store"].endswith(f"/uploads ({variable}UPLOAD_STORE)")
    assert shown["[smartech] callback_base_url"] == (
        f"https://airflow.example.com/smartech ({variable}CALLBACK_BASE_URL)"
    )
    assert shown["[smartech] echo_completes"] == f"True ({variable}ECHO_COMPLETES)"
    assert shown["other settings"].startswith("have their defaults: pingbacks_expected, status_fields, completed_words")


def test_no_credentials_of_the_store_s_address_are_shown(option: Option) -> None:
    option("upload_store", "s3://conn:hush@bucket/x?key=hush")
    assert "hush" not in str(list(settings_links()))


def test_the_store_is_in_airflow_s_home_by_default_and_the_callback_comes_from_airflow_s_own_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    findings = by_link(settings_links())
    assert findings["[smartech] upload_store"].seen.endswith("/smartech (default)")
    assert findings["[smartech] callback_base_url"].seen == (
        "https://airflow.example.com/smartech (from [api] base_url, environment variable AIRFLOW__API__BASE_URL)"
    )


def test_no_address_for_pingbacks_is_a_broken_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    finding = by_link(settings_links())["[smartech] callback_base_url"]
    assert finding.result == "broken"
    assert "Set [smartech] callback_base_url" in finding.advice


def test_a_wrong_setting_is_broken_names_its_source_and_hides_no_other(option: Option) -> None:
    option("poll_interval", "soon")
    option("echo_completes", "True")
    findings = by_link(settings_links())
    assert findings["settings"].result == "broken"
    assert findings["settings"].seen.endswith("must be a number above 0; got 'soon'.")
    assert "poll_interval (environment variable AIRFLOW__SMARTECH__POLL_INTERVAL)" in findings["settings"].advice
    assert "echo" not in findings["settings"].advice
    assert "[smartech] poll_interval" not in findings
    assert findings["[smartech] echo_completes"].result == "ok"


def test_a_setting_that_does_not_exist_is_a_warning_without_its_value(option: Option) -> None:
    option("callback_url", "https://hush.example.com")
    finding = by_link(settings_links())["[smartech] callback_url"]
    assert finding.result == "warning"
    assert finding.advice.startswith("Did you mean callback_base_url?")
    assert "hush" not in str(finding)


def test_settings_of_airflow_cfg_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "airflow.cfg").write_text(
        "[smartech]\nupload_store =\npoll_interval = 7\n[api]\nbase_url = http://b\n", "utf-8"
    )
    code = (
        "import json; from airflow_provider_smartech.doctor.settings_links import settings_links; "
        "print(json.dumps({one.link: one.seen for one in settings_links()}))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = json.loads(done.stdout.splitlines()[-1])
    assert shown["[smartech] poll_interval"] == "7 (airflow.cfg)"
    assert shown["[smartech] upload_store"].endswith("/smartech (default)")
    assert shown["[smartech] callback_base_url"] == "http://b/smartech (from [api] base_url, airflow.cfg)"
