"""The dependencies on Airflow's version: the base errors, and what is used outside Airflow's public interface."""

from __future__ import annotations

from functools import cache
from typing import Any

try:
    from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
except ModuleNotFoundError:
    # The receiver and the upload store do not need Airflow.
    class AirflowException(Exception):  # type: ignore[no-redef]
        """The root of the errors if Airflow is not installed."""

    class AirflowFailException(AirflowException):  # type: ignore[no-redef]
        """An error that a retry cannot fix, if Airflow is not installed."""


__all__ = ["UNOFFICIAL", "AirflowException", "AirflowFailException", "hostname", "stats"]


def stats() -> Any:
    """Return Airflow's ``Stats``, which sends metrics to where the section ``[metrics]`` says."""
    try:
        from airflow.sdk.observability.stats import Stats
    except ModuleNotFoundError:
        # Airflow 3.1.
        from airflow.stats import Stats
    else:
        # Without it, Airflow 3.2 would send nothing from the API server: this import makes ``Stats`` read the section.
        from airflow.sdk.serde import serialize  # noqa: F401
    return Stats


@cache
def hostname() -> str:
    """Return the name of this host as Airflow's own metrics have it; the first call may ask a name server."""
    from airflow.utils.net import get_hostname

    return str(get_hostname())  # type: ignore[no-untyped-call]


UNOFFICIAL = {
    "airflow.api_fastapi.app": {"get_auth_manager"},
    "airflow.api_fastapi.auth.managers.models.base_user": {"BaseUser"},
    "airflow.api_fastapi.auth.managers.models.resource_details": {"AccessView", "DagAccessEntity", "DagDetails"},
    "airflow.api_fastapi.core_api.security": {"get_user", "requires_access_view"},
    "airflow.cli.cli_config": {
        "ARG_OUTPUT",
        "ARG_YES",
        "ActionCommand",
        "Arg",
        "GroupCommand",
        "lazy_load_command",
        "positive_int",
    },
    "airflow.cli.simple_table": {"AirflowConsole"},
    "airflow.configuration": {"AIRFLOW_HOME"},
    "airflow.models.dag": {"DagModel"},
    "airflow.sdk.bases.operator": {"TRIGGER_FAIL_REPR", "TriggerFailureReason"},
    "airflow.sdk.definitions.asset": {"AssetNameRef", "AssetUniqueKey", "AssetUriRef"},
    "airflow.sdk.exceptions": {"AirflowRuntimeError", "ErrorType"},
    "airflow.sdk.log": {"mask_secret"},
    "airflow.sdk.observability.stats": {"Stats"},
    "airflow.sdk.serde": {"serialize"},
    "airflow.stats": {"Stats"},
    "airflow.utils.net": {"get_hostname"},
}
"""Names that are used but are not part of Airflow's public interface, by module.

All of them were tested on Airflow 3.1.7, 3.2.2 and 3.3.2, on which the tests run. So was the environment variable
``_AIRFLOW_PROCESS_CONTEXT=server``, which lets a process outside a task find connections in Airflow's database.
"""
