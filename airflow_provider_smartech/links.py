"""The links on a task in Airflow's UI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperatorLink

from airflow_provider_smartech.errors import SmartechConfigurationError
from airflow_provider_smartech.uploads.requestids import requestids_of

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

UPLOADS_PAGE = "smartech-uploads"
"""Path of the uploads page, below the address of Airflow's UI."""


def page_url(path: str) -> str:
    """Return the URL of a path below the uploads page."""
    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    # A relative URL is also below Airflow's UI.
    return f"{base}/{UPLOADS_PAGE}/{path}" if base else f"{UPLOADS_PAGE}/{path}"


class SmartechUploadLink(BaseOperatorLink):
    """Links a submitting task to its upload, or to the list of its uploads if there are several."""

    name = "Smartech upload"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the page about this task instance's uploads."""
        # Imported here, as below, because DAG files import this module.
        from airflow_provider_smartech.uploads.upload import TaskTry

        ids = TaskTry(
            dag_id=ti_key.dag_id,
            run_id=ti_key.run_id,
            task_id=ti_key.task_id,
            map_index=-1 if ti_key.map_index is None else ti_key.map_index,
            try_number=0,
            max_tries=0,
        )
        # A hash, because Airflow 3.1 decodes a URL twice during its login.
        return page_url(f"task/{ids.instance()}")


class SmartechAwaitedUploadLink(BaseOperatorLink):
    """Links a waiting task to its upload, or to the first of its uploads if there are several."""

    name = "Smartech upload"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL of the upload's page; empty if there is no requestid."""
        known = requestids_of(getattr(operator, "requestid", None))
        return page_url("requestid?" + urlencode({"requestid": known[0]}, quote_via=quote)) if known else ""


class SmartechPanelLink(BaseOperatorLink):
    """Links to the account's panel, if the connection has its URL."""

    name = "Smartech panel"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the connection's extra ``panel_url``; empty if there is none."""
        from airflow_provider_smartech.hooks import SmartechHook

        try:
            return SmartechHook(getattr(operator, "smartech_conn_id", "")).account.panel_url or ""
        except SmartechConfigurationError:
            return ""
