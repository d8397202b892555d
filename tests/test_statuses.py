"""What a ping-back is taken to say."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_smartech.counts import counts
from airflow_provider_smartech.settings import Settings
from airflow_provider_smartech.statuses import Verdict, requestids

COMPLETED, FAILED, UNRECOGNISED, IN_PROGRESS, SILENT = (
    Verdict.COMPLETED,
    Verdict.FAILED,
    Verdict.UNRECOGNISED,
    Verdict.IN_PROGRESS,
    Verdict.SILENT,
)


@pytest.mark.parametrize(
    ("payload", "verdict"),
    [
        ({"status": "completed"}, COMPLETED),
        ({"Status": "COMPLETED "}, COMPLETED),
        ({"upload-status": "Success"}, COMPLETED),
        ({"data": {"job": [{"state": "done"}]}}, COMPLETED),
        ("completed", COMPLETED),
        ({"status": "failed"}, FAILED),
        ({"status": "queued"}, IN_PROGRESS),
        ({"status": "in progress"}, IN_PROGRESS),
        ({"status": "In_Progress"}, IN_PROGRESS),
        ({"status": "hibernating"}, UNRECOGNISED),
        ({"status": "partially completed"}, UNRECOGNISED),
        ({"status": ""}, UNRECOGNISED),
        ({"status": None}, UNRECOGNISED),
        ({"status": 1}, UNRECOGNISED),
        ({"status": True}, UNRECOGNISED),
        ({"message": "completed"}, UNRECOGNISED),
        ({}, SILENT),
        ([], SILENT),
        (["completed"], UNRECOGNISED),
        ("", SILENT),
        (None, SILENT),
        (0, UNRECOGNISED),
    ],
)
def test_only_a_known_word_in_a_status_field_means_anything(settings: Settings, payload: Any, verdict: Verdict) -> None:
    assert settings.statuses.verdict(payload) is verdict


@pytest.mark.parametrize(
    ("payload", "verdict"),
    [
        ({"result": "Success", "status": "failed"}, FAILED),
        ({"status": "completed", "result": "hm"}, UNRECOGNISED),
        ({"result": "Success", "status": "queued"}, IN_PROGRESS),
        ([{"status": "completed"}, {"status": "failed"}], FAILED),
        ({"status": ["completed", "failed"]}, FAILED),
    ],
)
def test_the_worst_of_several_statuses_counts(settings: Settings, payload: Any, verdict: Verdict) -> None:
    assert settings.statuses.verdict(payload) is verdict


def test_words_and_fields_can_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__STATUS_FIELDS", "Ergebnis")
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "fertig, alles gut")
    statuses = Settings.load().statuses
    assert statuses.verdict({"ergebnis": "Alles Gut", "status": "failed"}) is COMPLETED
    assert statuses.verdict({"ergebnis": "completed"}) is UNRECOGNISED


def test_a_word_in_two_lists_takes_the_worse_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "over")
    monkeypatch.setenv("AIRFLOW__SMARTECH__FAILED_WORDS", "over")
    assert Settings.load().statuses.verdict("over") is FAILED


def test_counts_are_the_numbers_of_contacts_under_their_own_names() -> None:
    payload = {"total": 10, "Rejected": "2", "status": "completed", "mobile": 919812345678, "listid": 3, "errors": []}
    assert counts(payload) == {"total": 10, "Rejected": 2}


def test_every_requestid_that_is_named_is_seen() -> None:
    assert requestids({"data": {"requestId": "abc"}}) == {"abc"}
    assert requestids([{"requestid": "a"}, {"requestid": 77}]) == {"a", "77"}
    assert requestids("text") == set()
