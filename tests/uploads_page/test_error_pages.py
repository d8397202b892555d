"""What the page says when something is wrong."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.uploads_page import access
from airflow_provider_smartech.uploads_page.app import create_app
from tests.support.servers import AppServer


@pytest.mark.parametrize("path", ["", "chart.svg", f"20260101T000000-{'a' * 40}"])
def test_a_store_that_does_not_answer_is_said_and_not_shown_as_empty(path: str) -> None:
    app = create_app(open_upload_store("nonsense://nowhere"))
    # The login is another test's matter.
    app.dependency_overrides[access.may_see] = lambda: lambda upload: True
    with AppServer(app) as server:
        answer = httpx.get(f"{server.url}/{path}")
    assert answer.status_code == 503
    assert "Cannot read or write the upload store at nonsense://nowhere" in answer.text
