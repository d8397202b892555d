"""What Airflow is told about the provider."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.plugins_manager import AirflowPlugin

from airflow_provider_smartech.api.data_centres import DATA_CENTRES
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.get_provider_info import get_provider_info
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.operators import SmartechBaseOperator
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor

INFO: dict[str, Any] = get_provider_info()


def test_the_entry_points_name_the_provider_and_the_plugin() -> None:
    (provider,) = (entry for entry in entry_points(group="apache_airflow_provider") if "smartech" in entry.value)
    assert provider.load()() == INFO
    (plugin,) = (entry for entry in entry_points(group="airflow.plugins") if "smartech" in entry.value)
    assert issubclass(plugin.load(), AirflowPlugin)
    assert "plugins" not in INFO


def test_the_provider_info_fits_this_airflow_s_schema() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text("utf-8"))
    jsonschema.validate(INFO, schema)


def test_airflow_finds_the_hook_and_the_settings() -> None:
    def asked(*command: str) -> str:
        answer = subprocess.run([sys.executable, "-m", "airflow", *command], capture_output=True, text=True, check=True)
        return answer.stdout

    (hook,) = (row for row in json.loads(asked("providers", "hooks", "-o", "json")) if "smartech" in str(row))
    assert f"{SmartechHook.__module__}.{SmartechHook.__qualname__}" in hook.values()
    assert asked("config", "get-value", "smartech", "pingbacks_expected").strip().endswith("1")
    assert "[smartech]" in asked("config", "list", "--section", "smartech")


def test_every_module_that_is_named_exists() -> None:
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in INFO[kind]:
            for module in entry["python-modules"]:
                import_module(module)
    for entry in INFO["transfers"]:
        import_module(entry["python-module"])


def test_the_drop_down_offers_the_idcs_that_the_hook_knows() -> None:
    schema = INFO["connection-types"][0]["conn-fields"]["idc"]["schema"]
    assert schema["enum"] == list(schema["values_display"]) == list(DATA_CENTRES)


def test_what_is_named_for_assets_links_and_the_command_line_exists() -> None:
    (uris,) = INFO["asset-uris"]
    named = [uris["handler"], uris["factory"], uris["to_openlineage_converter"], *INFO["extra-links"], *INFO["cli"]]
    for path in named:
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name))
    links = {
        f"{type(link).__module__}.{type(link).__name__}"
        for task in (SmartechBaseOperator, SmartechBulkUploadSensor)
        for link in task.operator_extra_links
    }
    assert links == set(INFO["extra-links"])


def test_every_option_has_a_default_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__SMARTECH__POLL_INTERVAL")
    settings = Settings.load()
    assert settings.poll_interval == 10
    assert settings.statuses.pingbacks_expected == 1
    assert settings.callback_base_url is None
    assert settings.upload_store.endswith("/smartech")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("poll_interval", value) for value in ("0", "-1", "soon", "inf", "nan")],
        *[("pingbacks_expected", value) for value in ("0", "1.5", "two")],
        *[("callback_base_url", value) for value in ("airflow.example.com", "ftp://x/y", "https://x/y?z=1")],
    ],
)
def test_an_unusable_option_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, option: str, value: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__SMARTECH__{option.upper()}", value)
    with pytest.raises(Exception, match=rf"\[smartech\] {option}"):
        Settings.load()
