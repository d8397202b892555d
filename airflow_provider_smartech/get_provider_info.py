"""What Airflow is told about this provider: its connection type, its settings and its modules."""

from __future__ import annotations

from typing import Any

from airflow_provider_smartech import __version__
from airflow_provider_smartech.config import connection_form

_NAME = "Netcore Smartech"


def _option(description: str, default: str, example: str | None = None, type_: str = "string") -> dict[str, Any]:
    return {
        "description": description + "\n",
        "version_added": "0.1.0",
        "type": type_,
        "example": example,
        "default": default,
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "upload_store": _option(
        "Folder for upload records and ping-backs, as a URL of an ObjectStoragePath. The workers, the triggerers and "
        "the receiver must reach the same one. Empty: the folder smartech under AIRFLOW_HOME.",
        default="",
        example="s3://aws_default@my-bucket/smartech",
    ),
    "callback_base_url": _option(
        "Where Smartech's servers reach the receiver of ping-backs. Empty: <[api] base_url>/smartech.",
        default="",
        example="https://airflow.example.com/smartech",
    ),
    "poll_interval": _option("Seconds between two looks for new ping-backs.", default="10", type_="float"),
    "pingbacks_expected": _option(
        "How many different terminal ping-backs end an upload. Raise it if your account gets several for each.",
        default="1",
        type_="integer",
    ),
    "status_fields": _option(
        "Fields of a ping-back that hold a status, separated by commas.",
        default="status, state, result, upload_status, job_status",
    ),
    "completed_words": _option(
        "Statuses that mean that an upload is complete, separated by commas.",
        default="completed, complete, success, successful, succeeded, done, finished, processed",
    ),
    "failed_words": _option(
        "Statuses that mean that an upload failed, separated by commas.",
        default="failed, failure, fail, error, rejected, aborted, cancelled, canceled, invalid",
    ),
    "progress_words": _option(
        "Statuses that mean that an upload is still under way, separated by commas.",
        default="queued, pending, accepted, received, scheduled, started, in progress, processing, running, uploading",
    ),
    "echo_completes": _option(
        "Whether a ping-back that only repeats the answer to the request, result: Success with or without the "
        "requestid, means that the upload is complete. Set it if your account's ping-backs look like that.",
        default="False",
        type_="boolean",
    ),
}


def _modules(kind: str) -> list[dict[str, Any]]:
    return [{"integration-name": _NAME, "python-modules": [f"airflow_provider_smartech.{kind}"]}]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the form of Airflow's ``provider_info.schema.json``.

    The plugin is not named here but by an entry point of its own: Airflow loads such a plugin at its default
    settings, and one that is declared in both places is an import error.
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
                "python-module": "airflow_provider_smartech.transfers.sql_to_smartech",
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
                "handler": "airflow_provider_smartech.assets.contact_list.sanitize_uri",
                "factory": "airflow_provider_smartech.assets.contact_list.create_asset",
                "to_openlineage_converter": "airflow_provider_smartech.assets.contact_list.convert_asset_to_openlineage",
            }
        ],
        "extra-links": [
            f"airflow_provider_smartech.links.{link}"
            for link in ("SmartechUploadLink", "SmartechAwaitedUploadLink", "SmartechPanelLink")
        ],
        "cli": ["airflow_provider_smartech.cli.definition.get_smartech_cli_commands"],
        "config": {
            "smartech": {
                "description": "Netcore Smartech: how completed uploads become known.",
                "options": OPTIONS,
            }
        },
    }
