"""Lists as assets: their URIs."""

from __future__ import annotations

import pytest
from airflow.sdk import Asset

from airflow_provider_smartech.assets.contact_list import convert_asset_to_openlineage, create_asset


@pytest.mark.parametrize("uri", ["smartech://us/33", "smartech://US/33/", "SMARTECH://us/0033", "smartech://us//33"])
def test_a_list_has_one_uri_however_it_is_written(uri: str) -> None:
    assert Asset(uri).uri == create_asset(idc="us", listid=33).uri == "smartech://us/33"


@pytest.mark.parametrize(
    "uri", ["smartech://us/Retail-1/33", "smartech://US/Retail-1/33/", "smartech://us//Retail-1//0033"]
)
def test_a_list_of_a_named_account_has_one_uri_however_it_is_written(uri: str) -> None:
    assert Asset(uri).uri == create_asset(idc="us", account="Retail-1", listid=33).uri == "smartech://us/Retail-1/33"


@pytest.mark.parametrize(
    "uri",
    [
        *("smartech://moon/33", "smartech://us/", "smartech://us/abc", "smartech://us/0", "smartech://us/33?a=1"),
        *("smartech://us/a/b/33", "smartech://us/-a/33", "smartech://us/a/b", f"smartech://us/{'x' * 51}/33"),
    ],
)
def test_what_names_no_list_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="smartech://<us"):
        Asset(uri)


def test_openlineage_knows_a_list_by_its_data_centre_and_number() -> None:
    dataset = convert_asset_to_openlineage(create_asset(idc="eu", listid=7), None)
    assert (dataset.namespace, dataset.name) == ("smartech://eu", "7")
