"""The connection to Smartech, and its API key."""

from __future__ import annotations

import time
from collections.abc import Iterator

from airflow_provider_smartech.doctor.finding import Finding, broken, not_tried, ok
from airflow_provider_smartech.errors import SmartechConfigurationError
from airflow_provider_smartech.hooks import SmartechHook

CONNECTION, KEY = "connection", "API key"


def connection_links(hook: SmartechHook) -> Iterator[Finding]:
    """Yield whether there is a usable connection, and whether Smartech refuses its key."""
    try:
        account = hook.account
    except SmartechConfigurationError as error:
        yield broken(CONNECTION, str(error))
        yield not_tried(KEY, "the connection cannot be used")
        return
    name = f", account {account.name}" if account.name else ""
    default = f"default list {account.listid}" if account.listid else "no default list"
    yield ok(CONNECTION, f"{hook.smartech_conn_id}: IDC {account.idc}, host {account.host}{name}, {default}")
    began = time.monotonic()
    works, message = hook.test_connection()
    if works:
        yield ok(KEY, message, time.monotonic() - began)
    else:
        yield broken(KEY, message, "Check the connection's key, its IDC and its base URL, and the network.")
