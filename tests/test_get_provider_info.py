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
from airflow.plugins_manager import AirflowPlugin

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
