"""The information about this provider for Airflow: its connection type, its settings and its modules."""

from __future__ import annotations

from typing import Any

from airflow_provider_smartech import __version__
from airflow_provider_smartech.config import connection_form
from airflow_provider_smartech.config.options import OPTIONS

_NAME = "Netcore Smartech"
_ASSETS = "airflow_provider_smartech.assets.contact_list"


def _modules(kind: str) -> list[dict[str, Any]]:
    return [{"integration-name": _NAME, "python-modules": [f"airflow_provider_smartech.{kind}"]}]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the form of Airflow's ``provider_info.schema.json``.

    The plugin is not listed here. It has its own entry point, because Airflow loads such plugins with its default
    settings; a plugin that is declared in both places causes an import error.
    """
    return {
        "package-name": "airflow-provider-smartech",
        "name": _NAME,
        "description": "Bulk contact upload to Netcore Smartech, with completion known from its ping-back.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": _NAME, "external-doc-url": "https://netcorecloud.com", "tags": ["service"]}
        ],
        "hooks": _modules("hooks"),
        "operators": _modules("operators"),
        "sensors": _modules("sensors"),
        "triggers": _modules("triggers"),
        "transfers": [
            {
                "source-integration-name": source,
                "target-integration-name": _NAME,
                "python-module": "airflow_provider_smartech.transfers",
            }
            for source in ("Amazon Simple Storage Service (S3)", "Common SQL")
        ],
        "connection-types": [
            {
                "connection-type": "smartech",
                "hook-class-name": "airflow_provider_smartech.hooks.SmartechHook",
                "hook-name": _NAME,
                "conn-fields": connection_form.FIELDS,
                "ui-field-behaviour": connection_form.BEHAVIOUR,
            }
        ],
        "asset-uris": [
            {
                "schemes": ["smartech"],
                "handler": f"{_ASSETS}.sanitize_uri",
                "factory": f"{_ASSETS}.create_asset",
                "to_openlineage_converter": f"{_ASSETS}.convert_asset_to_openlineage",
            }
        ],
        "extra-links": [
            f"airflow_provider_smartech.links.{link}"
            for link in ("SmartechUploadLink", "SmartechAwaitedUploadLink", "SmartechPanelLink")
        ],
        "cli": ["airflow_provider_smartech.cli.definition.get_smartech_cli_commands"],
        "config": {
            "smartech": {
                "description": "Netcore Smartech: how the completion of uploads is detected.",
                "options": OPTIONS,
            }
        },
    }
