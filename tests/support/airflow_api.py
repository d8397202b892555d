"""Airflow's REST API, as far as the demo and the tests need it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class DemoError(Exception):
    """Something did not come up or did not end in time; the text says what, and where to look."""


def _is_passing(error: BaseException) -> bool:
    """Whether a server that is starting, or has much to do, may answer like this."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError)


class AirflowApi:
    """A running Airflow.

    :param url: where its API server is.
    :param home: its AIRFLOW_HOME, where the passwords are.
    :param log: where to look if something does not happen.
    """

    def __init__(self, url: str, home: Path, log: Path) -> None:
        self.url = url
        self.home = home
        self.log = log
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Talk to it no more."""
        self._client.close()

    def login(self) -> tuple[str, str]:
        """Return the user and the password for the UI."""
        passwords = json.loads((self.home / "simple_auth_manager_passwords.json.generated").read_text())
        user, password = next(iter(passwords.items()))
        return user, password

    @retry(
        retry=retry_if_exception(_is_passing),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(60),
        reraise=True,
    )
    def get(self, path: str, api: str = "/api/v2") -> Any:
        """GET from the REST API, or from the one behind the UI, which may be starting again."""
        return self._client.get(f"{api}{path}").raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        """POST to the REST API."""
        return self._client.post(f"/api/v2{path}", json=body).raise_for_status().json()

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run of a DAG and return its id."""
        body = {"logical_date": None, "conf": conf or {}, **({"dag_run_id": run_id} if run_id else {})}
        return str(self.post(f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a DAG run, mapped ones included."""
        found: list[dict[str, Any]] = []
        while True:
            # Airflow gives no more than a page, whatever it is asked for.
            page = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100&offset={len(found)}")
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task pushed to XCom."""
        entry = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}?map_index={map_index}"
        value = self.get(entry)["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in '{["' else value

    def finish(self, dag_id: str, run_id: str, seconds: float = 180.0) -> str:
        """Wait until a DAG run has ended and return its state."""
        self.wait(lambda: self.run_state(dag_id, run_id) in FINISHED, f"{dag_id} {run_id} ends", seconds)
        return self.run_state(dag_id, run_id)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
        """Wait until something is so; an Airflow that does not answer may do so later.

        :raises DemoError: it is not so in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            error: httpx.HTTPError | None = None
            try:
                if condition():
                    return
            except httpx.HTTPError as unanswered:
                error = unanswered
            if time.monotonic() > deadline:
                raise DemoError(f"not within {seconds:.0f} s: {what}; see {self.log}") from error
            # Each look takes the API server a few percent of a processor.
            time.sleep(0.5)

    def is_healthy(self) -> bool:
        """Whether all of its parts are."""
        parts = self._client.get("/api/v2/monitor/health").raise_for_status().json()
        return all(part and part.get("status") == "healthy" for part in parts.values())

    def receiver_answers(self) -> bool:
        """Whether the ping-back receiver is mounted and reaches its store."""
        answer = self._client.get("/smartech/health")
        # Where nothing is mounted, Airflow answers with its own page.
        return "json" in answer.headers["content-type"] and answer.json()["service"] == "airflow-provider-smartech"

    def has_dag(self, dag_id: str) -> bool:
        """Whether a DAG is loaded."""
        return self._client.get(f"/api/v2/dags/{dag_id}").status_code == httpx.codes.OK

    def log_in(self) -> None:
        """Log in, for all that follows."""
        user, password = self.login()
        answer = self._client.post("/auth/token", json={"username": user, "password": password}).raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
