"""The connection to Smartech."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import BaseHook
from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from airflow_provider_smartech.api.account import Account
from airflow_provider_smartech.api.parameters import BulkUploadParameters
from airflow_provider_smartech.assets import lineage
from airflow_provider_smartech.config import connection_form
from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechError,
    SmartechNotReached,
    SmartechOutcomeUnknown,
)
from airflow_provider_smartech.redaction import SecretUrl, hide_api_keys, mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_smartech.api.response import Response

for library in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(library).addFilter(hide_api_keys)


__all__ = ["SmartechHook", "purge_uploads"]


class SmartechHook(BaseHook):
    """Submits hosted CSV files of contacts to Netcore Smartech.

    The connection (type ``smartech``) holds the API key as its password. Its extra ``idc`` (``us``, the
    default, ``in`` or ``eu``) chooses Smartech's data centre; its host, a full base URL, overrides that. Its extra
    ``account`` is a name that tells the account from others; ``listid`` and ``notifyemail`` are for uploads that name
    none.

    :param smartech_conn_id: the id of the Airflow connection.
    """

    conn_name_attr = "smartech_conn_id"
    default_conn_name = "smartech_default"
    conn_type = "smartech"
    hook_name = "Netcore Smartech"

    connect_timeout: float = 10.0
    """Seconds for reaching Smartech."""
    read_timeout: float = 60.0
    """Seconds for Smartech's whole answer."""
    attempts: int = 3
    """How often at most a request is tried while none could be sent."""
    retry_wait: float = 10.0
    """The longest pause, in seconds, between two such tries."""

    def __init__(self, smartech_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.smartech_conn_id = smartech_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields to Airflow 3.1; newer ones read the provider info."""
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return what the form does with the standard fields, to Airflow 3.1; newer ones read the provider info."""
        return connection_form.field_behaviour()

    def bulk_upload(
        self,
        path: str,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | None = None,
    ) -> str:
        """Submit one hosted CSV and return the ``requestid`` under which Smartech loads it in the background.

        Based on Smartech's page "Add Bulk Contact". A request that could not be sent is tried again; one that
        was sent never is.

        :param path: absolute http(s) URL of the CSV; Smartech fetches it later, so a signed link must stay valid
            for hours.
        :param listid: number of the list to add the contacts to; the connection's own by default.
        :param notifyemail: e-mail address that Smartech notifies at completion; the connection's own by default.
        :param callback: URL that Smartech calls by POST with the status of the upload.
        :raises SmartechInvalidParameter: a parameter is wrong; nothing was sent.
        :raises SmartechConfigurationError: the connection is wrong; nothing was sent.
        :raises SmartechRefused: Smartech said no.
        :raises SmartechThrottled: Smartech said "not now".
        :raises SmartechNotReached: no try reached Smartech.
        :raises SmartechOutcomeUnknown: the request was sent, but no clear answer came.
        """
        parameters = self.parameters(path, listid, notifyemail, callback)
        # Before it is sent: afterwards nothing may keep the requestid from the caller.
        lineage.collect(self, str(parameters.path), self.account, parameters.listid)
        return self.submit(parameters)

    def parameters(
        self,
        path: str | SecretUrl,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | SecretStr | None = None,
    ) -> BulkUploadParameters:
        """Return an upload's parameters, checked, with the connection's list and e-mail address where none is given.

        :raises SmartechInvalidParameter: a parameter is wrong.
        :raises SmartechConfigurationError: the connection is wrong.
        """
        given = BulkUploadParameters.check(path, listid, notifyemail, callback)
        return replace(
            given,
            listid=self.account.listid if given.listid is None else given.listid,
            notifyemail=given.notifyemail or self.account.notifyemail,
        )

    def submit(self, parameters: BulkUploadParameters) -> str:
        """Do what ``bulk_upload`` does, for parameters that are checked and complete."""
        mask(parameters.secrets())
        secrets = [parameters.notifyemail or "", *parameters.secrets()]
        retrying = Retrying(
            retry=retry_if_exception_type(SmartechNotReached),
            stop=stop_after_attempt(self.attempts),
            wait=wait_random_exponential(max=self.retry_wait),
            reraise=True,
        )
        response: Response = retrying(self._ask, parameters.form(), secrets)
        return response.requestid()

    def check(self) -> None:
        """Raise ``SmartechConfigurationError`` if the connection cannot be used."""
        _ = self.account

    def test_connection(self) -> tuple[bool, str]:
        """See whether Smartech is reached and refuses the API key: what Airflow's test button shows.

        There is no call for that, so it asks for an upload without a file: that can load nothing. Only a refused key
        can be told for sure; that another answer means a good key is likely, but nowhere documented.
        """
        try:
            host = urlsplit(self.account.url).hostname or ""
            return self._ask({}, []).judge_api_key(host)
        except SmartechOutcomeUnknown:
            return False, f"{host} was asked, but no answer came; whether the API key is right is not known."
        except SmartechError as error:
            return False, str(error)

    @cached_property
    def account(self) -> Account:
        """What the connection says.

        :raises SmartechConfigurationError: the connection is missing or wrong.
        """
        try:
            connection = self.get_connection(self.smartech_conn_id)
        except AirflowNotFoundException as error:
            raise SmartechConfigurationError(
                f"There is no connection {self.smartech_conn_id!r}. Make one of the type smartech, with the API key as "
                "its password."
            ) from error
        mask([connection.password or ""])
        return Account.of(
            connection.conn_id, api_key=connection.password, host=connection.host, extra=connection.extra_dejson
        )

    def _ask(self, form: Mapping[str, str], secrets: Sequence[str]) -> Response:
        # Here, because DAG files import this module, and never ask.
        from airflow_provider_smartech.api.client import ask

        return ask(self.account, form, secrets, self.connect_timeout, self.read_timeout)


def purge_uploads(older_than: timedelta) -> int:
    """Remove all that the upload store holds of uploads that were recorded longer ago, and return their number.

    For a task that tidies up now and then, as ``airflow smartech purge`` does by hand. A task that is cleared
    afterwards uploads anew.

    :raises ValueError: it is less than a day: such uploads may be under way.
    :raises UploadStoreError: the store cannot be read or written.
    """
    # Here, because DAG files import this module.
    from airflow_provider_smartech.config.upload_store import configured_upload_store

    if older_than < timedelta(days=1):
        raise ValueError(
            f"older_than must be a day or more, because younger uploads may be under way; got {older_than}"
        )
    return configured_upload_store().purge(datetime.now(UTC) - older_than)
