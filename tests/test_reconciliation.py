"""Each thing that must not happen in a soak is a difference between what the sides know."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.uploads.upload import (
    Answer,
    Handover,
    PingBack,
    Record,
    TaskTry,
    Upload,
    key_of,
    new_upload_id,
)
from cluster.reconciliation import WARNING, Reconciliation, SyncReconciliation

TASK = TaskTry(dag_id="soak", run_id="r", task_id="upload", try_number=1, max_tries=1)


def upload(requestid: str | None, status: str | None = None, **fields: Any) -> Upload:
    """An upload with this answer, whose ping-back says this."""
    answer = Answer(outcome="accepted", requestid=requestid) if requestid else Answer(outcome="unknown")
    record = Record(key=str(key_of(new_upload_id())), path="https://x/1.csv", smartech_conn_id="c", tracked=True)
    pingbacks = (PingBack(payload={"requestid": requestid, "status": status}),) if status else ()
    return Upload(**{"record": record, "answer": answer, "pingbacks": pingbacks, **fields})


def taken(requestid: str, state: str = "completed", accepted: int = 1) -> dict[str, Any]:
    return {"requestid": requestid, "state": state, "accepted": accepted}


def differences(state: str | None, uploads: list[Upload], found: list[dict[str, Any]], log: str = "") -> list[str]:
    words = Settings.load().statuses
    account = Reconciliation(
        path="https://x/1.csv", fault=None, state=state, log=log, uploads=uploads, taken=found, words=words
    )
    return list(account.differences())


@pytest.mark.parametrize(
    ("state", "uploads", "found", "log"),
    [
        ("success", [upload("a", "completed")], [taken("a")], ""),
        ("success", [upload("a", "failed"), upload("b", "completed")], [taken("a", "failed"), taken("b")], ""),
        ("success", [upload(None), upload("b", "completed")], [taken("a"), taken("b")], WARNING),
        ("failed", [upload("a")], [taken("a")], ""),
        ("failed", [upload(None)], [taken("a")], ""),
        ("failed", [upload(None)], [], ""),
    ],
)
def test_what_may_happen_balances(state: str, uploads: list[Upload], found: list[dict[str, Any]], log: str) -> None:
    assert differences(state, uploads, found, log) == []


@pytest.mark.parametrize(
    ("state", "uploads", "found", "log", "difference"),
    [
        (None, [upload("a")], [taken("a")], "", "has not ended"),
        ("running", [upload("a")], [taken("a")], "", "has not ended"),
        ("failed", [], [taken("a")], "", "only 0 are recorded"),
        ("failed", [upload("b")], [taken("a")], "", "but not recorded"),
        ("failed", [upload("a")], [], "", "was not taken"),
        ("success", [upload("a")], [taken("a")], "", "green, but its uploads are"),
        ("success", [upload("a", "completed")], [taken("a", accepted=0)], "", "has not loaded"),
        ("success", [upload("a", "completed")], [taken("a", "failed")], "", "has not loaded"),
        ("success", [], [], "", "green, but its uploads are"),
        (
            "success",
            [upload("a", "failed"), upload("b", "completed")],
            [taken("a"), taken("b", "failed")],
            "",
            "has not loaded",
        ),
        (
            "success",
            [upload("a"), upload("b", "completed")],
            [taken("a"), taken("b")],
            WARNING,
            "no task stopped waiting",
        ),
        (
            "success",
            [
                upload("a", handover=Handover(reason="not completed", task=TASK)),
                upload("b", "completed"),
            ],
            [taken("a"), taken("b")],
            "",
            "0 with a warning",
        ),
        ("success", [upload(None), upload("b", "completed")], [taken("a"), taken("b")], "", "0 with a warning"),
    ],
)
def test_what_must_not_happen_is_a_difference(
    state: str | None, uploads: list[Upload], found: list[dict[str, Any]], log: str, difference: str
) -> None:
    assert any(difference in text for text in differences(state, uploads, found, log))


def differences_of_night(**found: Any) -> list[str]:
    night = {"name": "night-1", "state": "success", "log": "", "rows": {"a": "Ann"}, "contacts": {"a": "Ann"}}
    known = {"calm": False, "sent": 1, "changed": None, "may_doubt": False}
    return list(SyncReconciliation(**{**night, **known, **found}).differences())


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"contacts": {"a": "Ann", "gone": "Bob"}},
        {"state": "failed", "contacts": {}, "sent": None},
        {"calm": True, "changed": 1},
        {"calm": True, "changed": 0, "may_doubt": True},
    ],
)
def test_what_may_happen_in_a_night_balances(found: dict[str, Any]) -> None:
    assert differences_of_night(**found) == []


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        ({"state": None}, "has not ended"),
        ({"state": "running"}, "has not ended"),
        ({"state": "failed", "calm": True}, "nothing failed"),
        ({"contacts": {}}, "does not have these rows"),
        ({"contacts": {"a": "Bob"}}, "does not have these rows"),
        ({"changed": 0}, "0 rows have changed, but 1 were sent"),
        ({"changed": 2, "may_doubt": True}, "2 rows have changed, but 1 were sent"),
    ],
)
def test_what_must_not_happen_in_a_night_is_a_difference(found: dict[str, Any], difference: str) -> None:
    assert any(difference in text for text in differences_of_night(**found))
