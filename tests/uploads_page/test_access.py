"""Who may see which uploads."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads_page.app import create_app
from tests.support.odd_uploads import keep_odd_ones
from tests.support.servers import AppServer

pytestmark = pytest.mark.airflow


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The login of a user who may not see one DAG, by an auth manager that `airflow standalone` would not take."""
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.support.secret_dag_auth.SomeDags")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "s" * 64)
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, check=True)
    token = create_auth_manager().generate_jwt(SimpleAuthManagerUser(username="viewer", role="VIEWER"))
    return {"Authorization": f"Bearer {token}"}


def test_uploads_of_a_dag_that_the_user_may_not_see_are_not_there(
    store: UploadStore, viewer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_odd_ones(store, datetime.now(UTC))
    shown, hidden = list(store.keys())
    paths = {"": 200, shown: 200, hidden: 404, "requestid?requestid=request+secret": 404}
    task = store.read(hidden).record.task
    assert task
    instance = task.instance()
    paths |= {f"task/{instance}": 200}
    with AppServer(create_app(store)) as server:
        assert httpx.get(server.url).status_code == 303
        answers = {path: httpx.get(f"{server.url}/{path}", headers=viewer) for path in paths}
    assert {path: answer.status_code for path, answer in answers.items()} == paths
    assert "<td" in answers[""].text
    assert "../style.css" in answers[f"task/{instance}"].text
    assert all(hidden not in answer.text and "secret.csv" not in answer.text for answer in answers.values())
