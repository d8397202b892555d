"""The form of a connection."""

from __future__ import annotations

from typing import Any

from airflow_provider_smartech.api.data_centres import DATA_CENTRES
from airflow_provider_smartech.get_provider_info import get_provider_info

INFO: dict[str, Any] = get_provider_info()


def test_the_drop_down_offers_the_idcs_that_the_hook_knows() -> None:
    schema = INFO["connection-types"][0]["conn-fields"]["idc"]["schema"]
    assert schema["enum"] == list(schema["values_display"]) == list(DATA_CENTRES)
