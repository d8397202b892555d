"""Smartech's data centres (IDCs), the URLs of their API, and how connections name them and the accounts there.

Imports nothing from Airflow, because Airflow reads the connection form while it starts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class DataCentre:
    """A data centre: its ``label`` in the UI, and the ``url`` of the call that uploads contacts."""

    label: str
    url: str


# Smartech's page "Add Bulk Contact"; the EU address is from a later page of the same API.
DATA_CENTRES = {
    "us": DataCentre("US", "https://api.netcoresmartech.com/apiv2"),
    "in": DataCentre("India", "https://apiin.netcoresmartech.com/apiv2"),
    "eu": DataCentre("EU", "https://jsonapi.eu-north-1.eu.netcoresmartech.com/apiv2"),
}
"""The data centres by their names in a connection's extra ``idc``."""

ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
"""The pattern of an account's name in a connection: the name is part of its lists' URIs."""
