"""The connection to Smartech."""

from __future__ import annotations

import json
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

from airflow_provider_smartech.api.account import Account, is_out_of_reach
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

    from airflow.sdk import Connection

    from airflow_provider_smartech.api.response import Response

log = logging.getLogger(__name__)

for library in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(library).addFilter(hide_api_keys)


# Seconds to wait for an answer that is only to save work.
KEY_CHECK_SECONDS = 10.0
# Types of connections whose password is an API key. Airflow stores "generic" where it does not know the provider.
TYPES = ("smartech", "generic", "", None)

__all__ = ["SmartechHook", "purge_uploads"]


class SmartechHook(BaseHook):
    """Submits hosted CSV files of contacts to Netcore Smartech.

    The connection (type ``smartech``) holds the API key as its password. Its extra ``idc`` (``us``, the
    default, ``in`` or ``eu``) chooses Smartech's data centre; its host, a full base URL, overrides that. Its extra
    ``account`` is a name that distinguishes the account from others; ``listid`` and ``notifyemail`` are defaults for
    uploads without their own.

    :param smartech_conn_id: the id of the Airflow connection.
    """

    conn_name_attr = "smartech_conn_id"
    default_conn_name = "smartech_default"
    conn_type = "smartech"
    hook_name = "Netcore Smartech"

    connect_timeout: float = 10.0
    """Seconds to connect to Smartech."""
    read_timeout: float = 60.0
    """Seconds to read Smartech's whole answer."""
    attempts: int = 3
    """Maximum number of tries of a request that could not be sent."""
    retry_wait: float = 10.0
    """The longest pause, in seconds, between two such tries."""

    def __init__(self, smartech_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.smartech_conn_id = smartech_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow 3.1; newer versions read the provider info."""
        return connection_form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows the standard fields, for Airflow 3.1; newer versions read the provider info."""
        return connection_form.field_behaviour()

    def bulk_upload(
        self,
        path: str,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | None = None,
    ) -> str:
        """Submit one hosted CSV and return the ``requestid`` under which Smartech loads it in the background.

        Based on Smartech's page "Add Bulk Contact". A request that could not be sent is tried again; a
        request that was sent is never sent again by this call.

        It records nothing and sends no callback of this provider: no sensor can wait for the upload, the uploads page
        does not show it, and a retry of the task sends it again. In a task, use
        ``airflow_provider_smartech.operators.submit_upload`` instead.

        :param path: absolute http(s) URL of the CSV; Smartech fetches it later, so a signed URL must stay valid
            for hours.
        :param listid: number of the list to add the contacts to; the connection's ``listid`` by default.
        :param notifyemail: e-mail address that Smartech notifies at completion; the connection's ``notifyemail`` by
            default.
        :param callback: URL that Smartech calls by POST with the status of the upload.
        :raises SmartechInvalidParameter: a parameter is wrong; nothing was sent.
        :raises SmartechConfigurationError: the connection is wrong; nothing was sent.
        :raises SmartechRefused: Smartech refused the upload.
        :raises SmartechThrottled: Smartech asked to try later (HTTP 429).
        :raises SmartechNotReached: Smartech could not be reached.
        :raises SmartechOutcomeUnknown: the request was sent, but no clear answer came.
        """
        parameters = self.parameters(path, listid, notifyemail, callback)
        # Before the request is sent: after that, no error may keep the requestid from the caller.
        lineage.collect(self, str(parameters.path), self.account, parameters.listid)
        mask(parameters.secrets())
        return self.submit(parameters)

    def parameters(
        self,
        path: str | SecretUrl,
        listid: int | str | None = None,
        notifyemail: str | None = None,
        callback: str | SecretStr | None = None,
    ) -> BulkUploadParameters:
        """Check and return an upload's parameters, with the connection's list and e-mail address as defaults.

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
        """Do the same as ``bulk_upload``, for checked and complete parameters, whose secrets are masked already."""
        self._warn(parameters)
        secrets = [parameters.notifyemail or "", *parameters.secrets()]
        retrying = Retrying(
            retry=retry_if_exception_type(SmartechNotReached),
            stop=stop_after_attempt(self.attempts),
            wait=wait_random_exponential(max=self.retry_wait),
            reraise=True,
        )
        to = "" if parameters.listid is None else f", list {parameters.listid}"
        where = f"{self._where}, file {parameters.path}{to}"
        response: Response = retrying(self._ask, parameters.form(), secrets, where)
        return response.requestid(where)

    def _warn(self, parameters: BulkUploadParameters) -> None:
        """Log what is allowed, but probably a mistake."""
        if parameters.listid is None:
            log.warning(
                "No list is named for %s, neither by the upload nor by the connection %s: its contacts are added to "
                "no list. Set listid.",
                parameters.path,
                self.smartech_conn_id,
            )
        callback = urlsplit(parameters.callback.get_secret_value()).hostname if parameters.callback else None
        host = self.account.host
        if callback and is_out_of_reach(callback, host):
            log.warning(
                "The callback leads to %s, which is not reachable from the internet, so no ping-back of %s will come. "
                "Set [smartech] callback_base_url to the URL at which Smartech's servers reach Airflow.",
                callback,
                host,
            )

    def check(self) -> None:
        """Raise ``SmartechConfigurationError`` if the connection cannot be used."""
        _ = self.account

    def check_api_key(self) -> None:
        """Ask Smartech whether it refuses the API key, before work that would be in vain.

        Like the test of a connection, it sends an upload without a file, which cannot load anything. It is sent only
        once, and briefly waited for; any answer but a clear refusal is as good as none.

        :raises SmartechConfigurationError: the connection is wrong.
        :raises SmartechRefused: Smartech clearly refuses the key.
        """
        try:
            response = self._ask({}, [], self._where, min(self.read_timeout, KEY_CHECK_SECONDS))
        except (SmartechNotReached, SmartechOutcomeUnknown):
            log.info("The API key could not be checked in advance: no answer from Smartech (%s).", self._where)
            return
        response.check_api_key(self._where)

    def test_connection(self) -> tuple[bool, str]:
        """Check whether Smartech can be reached and refuses the API key, for Airflow's test button.

        Smartech has no call for this, so the request is an upload without a file, which cannot load anything. Only a
        refused key is certain. Any other answer probably means a valid key, but this is not documented.
        """
        works, message = self._tested()
        # The test button uses a random connection id. Airflow's command reads brackets as markup.
        message = message.replace(f"Connection {self.smartech_conn_id!r}", "The connection")
        return works, message.translate(str.maketrans("[]", "()"))

    def _tested(self) -> tuple[bool, str]:
        try:
            host = self.account.host
            return self._ask({}, [], f"host {host}").judge_api_key(host)
        except SmartechOutcomeUnknown:
            return False, f"{host} did not answer; it is not known whether the API key is right."
        except SmartechError as error:
            return False, str(error)

    @cached_property
    def account(self) -> Account:
        """The account that the connection describes.

        :raises SmartechConfigurationError: the connection is missing or wrong.
        """
        try:
            connection = self.get_connection(self.smartech_conn_id)
        except AirflowNotFoundException as error:
            raise SmartechConfigurationError(
                f"There is no connection {self.smartech_conn_id!r}. Create one of type smartech, with the API key as "
                "its password."
            ) from error
        if connection.conn_type not in TYPES:
            raise SmartechConfigurationError(
                f"Connection {self.smartech_conn_id!r} has the type {connection.conn_type!r}, not 'smartech'; its "
                "password was not sent. Set smartech_conn_id to a connection of type smartech, with the API key as its "
                "password."
            )
        mask([connection.password or ""])
        return Account.of(
            connection.conn_id, api_key=connection.password, host=connection.host, extra=_extra(connection)
        )

    @property
    def _where(self) -> str:
        """The connection and the host, for messages."""
        return f"connection {self.smartech_conn_id!r}, host {self.account.host}"

    def _ask(
        self, form: Mapping[str, str], secrets: Sequence[str], where: str, read_timeout: float | None = None
    ) -> Response:
        # Imported here: DAG files import this module but send no requests.
        from airflow_provider_smartech.api.client import Call

        call = Call(
            account=self.account,
            form=form,
            secrets=secrets,
            where=where,
            connect_timeout=self.connect_timeout,
            read_timeout=read_timeout or self.read_timeout,
        )
        return call.answer()


def _extra(connection: Connection) -> Any:
    """Return the extra, decoded; a text if it is not JSON, which Airflow's ``extra_dejson`` takes for an empty one."""
    try:
        return json.loads(connection.extra) if connection.extra else None
    except ValueError:
        return connection.extra


def purge_uploads(older_than: timedelta) -> int:
    """Remove uploads that were recorded longer ago from the upload store, and return their number.

    For a regular clean-up task; ``airflow smartech purge`` does the same from the command line. A task that is cleared
    afterwards uploads again.

    :raises ValueError: it is less than a day: such uploads may still be running.
    :raises UploadStoreError: the store cannot be read or written.
    """
    # Imported here, because DAG files import this module.
    from airflow_provider_smartech.config.upload_store import configured_upload_store

    if older_than < timedelta(days=1):
        raise ValueError(
            f"older_than must be a day or more, because newer uploads may still be running; got {older_than}"
        )
    return configured_upload_store().purge(datetime.now(UTC) - older_than)
