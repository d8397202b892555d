"""Reading what a ping-back says."""

from __future__ import annotations

from hypothesis import given

from airflow_provider_smartech.uploads.payloads import read_payload
from airflow_provider_smartech.uploads.upload import PingBack
from tests.support.payloads import bodies


@given(body=bodies)
def test_a_payload_survives_being_written_and_read(body: bytes) -> None:
    pingback = PingBack(payload=read_payload(body))
    assert PingBack.model_validate_json(pingback.model_dump_json()).digest() == pingback.digest()
