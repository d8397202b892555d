"""The options of the ``[smartech]`` section, as ``config`` of the provider info."""

from __future__ import annotations

from typing import Any


def _option(description: str, default: str, example: str | None = None, type_: str = "string") -> dict[str, Any]:
    return {
        "description": description + "\n",
        "version_added": "1.0.0",
        "type": type_,
        "example": example,
        "default": default,
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "upload_store": _option(
        "Folder for upload records and ping-backs: s3://<connection id>@<bucket>/<prefix>, file://<path>, or the URL "
        "of an ObjectStoragePath in another storage. Workers, triggerers and receiver must use the same folder. "
        "Empty: the folder smartech under AIRFLOW_HOME.",
        default="",
        example="s3://aws_default@my-bucket/smartech",
    ),
    "callback_base_url": _option(
        "URL at which Smartech's servers reach the receiver of ping-backs. Empty: <[api] base_url>/smartech.",
        default="",
        example="https://airflow.example.com/smartech",
    ),
    "poll_interval": _option("Seconds between two checks for new ping-backs.", default="10", type_="float"),
    "pingbacks_expected": _option(
        "Number of different terminal ping-backs that end an upload. Raise it if your account gets several for each.",
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
        "Statuses that mean that an upload is still running, separated by commas.",
        default="queued, pending, accepted, received, scheduled, started, in progress, processing, running, uploading",
    ),
    "echo_completes": _option(
        "Whether a ping-back that says no more than the answer to the request, result: Success with or without the "
        "requestid, means that the upload is complete. Set it if your account's ping-backs look like that.",
        default="False",
        type_="boolean",
    ),
    "asset_events": _option(
        "Whether a task emits the asset event of a list that it has updated although the list is none of its outlets. "
        "If no DAG uses such an asset, Airflow's worker logs the error Asset not found each time.",
        default="True",
        type_="boolean",
    ),
}
