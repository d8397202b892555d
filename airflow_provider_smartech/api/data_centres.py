"""Smartech's data centres (IDCs) and where their API is, and how connections name them and the accounts there.

Imports nothing of Airflow, which reads the connection form while it starts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class DataCentre:
    """One of them: its ``label`` for people, and the ``url`` of the call that uploads contacts."""

    label: str
    url: str


# Smartech's page "Add Bulk Contact"; the EU address is from a later page of the same API.
DATA_CENTRES = {
    "us": DataCentre("US", "https://api.netcoresmartech.com/apiv2"),
    "in": DataCentre("India", "https://apiin.netcoresmartech.com/apiv2"),
    "eu": DataCentre("EU", "https://jsonapi.eu-north-1.eu.netcoresmartech.com/apiv2"),
}
"""By the names that a connection's extra ``idc`` gives them."""

ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
"""What a connection may call its account: the name is a part of its lists' URIs."""
