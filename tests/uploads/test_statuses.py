"""What a ping-back is taken to say."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.uploads.payloads import read_payload
from airflow_provider_smartech.uploads.statuses import Verdict, requestids

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


ABOUT = "a1b2"


@pytest.mark.parametrize(
    ("payload", "verdict"),
    [
        ({"status": "completed", "requestid": ABOUT}, COMPLETED),
        ({"status": "completed", "requestId": f" {ABOUT} "}, COMPLETED),
        ({"status": "completed", "requestid": ""}, COMPLETED),
        ({"status": "completed", "requestid": None}, COMPLETED),
        ({"status": "completed", "requestid": ABOUT.upper()}, COMPLETED),
        ({"status": "completed", "requestid": "other"}, UNRECOGNISED),
        ({"status": "completed", "requestids": ["other"]}, UNRECOGNISED),
        ({"status": "completed", "requestid": {"value": "other"}}, UNRECOGNISED),
        ({"status": "completed", "data": [{"request_id": "other"}]}, UNRECOGNISED),
        ({"status": "completed", "requestid": [ABOUT, "other"]}, UNRECOGNISED),
        ({"status": "failed", "requestid": "other"}, UNRECOGNISED),
        ({"status": "queued", "requestid": "other"}, IN_PROGRESS),
    ],
)
def test_a_pingback_that_names_another_upload_s_requestid_ends_this_one_by_no_word(
    settings: Settings, payload: Any, verdict: Verdict
) -> None:
    assert settings.statuses.verdict(payload, None, ABOUT) is verdict


@pytest.mark.parametrize(
    "beside",
    [
        {"error": "no such list"},
        {"Error": True},
        {"error": 7},
        {"errors": ["x"]},
        {"errors": [{"row": 2, "why": "no e-mail"}]},
        {"error_message": "quota"},
        {"errorMessage": "quota"},
        {"error": {"message": "quota"}},
        {"error": {"code": 12}},
        {"data": {"job": {"error": "quota"}}},
        {"exception": "ValueError"},
        {"failure_reason": "quota"},
        {"rejected": ["a@example.com"]},
        {"success": False},
        {"success": "false"},
        {"isSuccess": "No"},
        {"skipped_emails": 10},
        {"failed": "1.000"},
        {"completed": False},
        {"failed": True},
        {"failed": "yes"},
        {"is_failed": "true"},
        {"data": {"aborted": True}},
        {"failure": "disk full"},
        {"failure": 1},
        {"failure_message": "quota"},
        {"fault": "x"},
        {"has_failures": True},
        {"done": False},
        {"is_successful": "n"},
        {"is_success": 0},
        {"success": "failure"},
        {"data": {"outcome": "failed"}},
        {"error": {"count": 3}},
        {"exception": {"total": 3}},
        {"accepted": "5/10"},
        {"total": "about ten"},
    ],
)
def test_a_good_word_beside_something_bad_is_not_taken_for_success(settings: Settings, beside: dict[str, Any]) -> None:
    assert settings.statuses.verdict({"status": "completed", **beside}) is UNRECOGNISED
    assert settings.statuses.verdict("", {"status": "completed", **beside}) is UNRECOGNISED
    assert settings.statuses.verdict({"status": "completed"}, beside) is UNRECOGNISED
    assert settings.statuses.verdict({"status": "failed", **beside}) is FAILED
    assert settings.statuses.verdict({"status": "queued", **beside}) is IN_PROGRESS


@pytest.mark.parametrize(
    "beside",
    [
        *({"error": nothing} for nothing in (None, "", 0, "0", 0.0, "none", "None", "null", "N/A", "no error", False)),
        {"error": []},
        {"error": {}},
        {"error": {"message": "", "code": 0}},
        {"errors": 0},
        {"errors": []},
        {"error_message": None},
        {"errors": 3},
        {"rejected": 3},
        {"failed": 3},
        {"rejected": {"count": 5}},
        {"success": True},
        {"success": 3},
        {"failed": False},
        {"failed": "no"},
        {"message": "no error was found"},
        {"errors": "[]"},
        {"is_error": "N"},
        {"error_message": "Success"},
        {"state": ""},
        {"failed_records": 3},
        {"default_list": 7},
    ],
)
def test_an_empty_error_and_a_number_of_rejected_rows_contradict_no_good_word(
    settings: Settings, beside: dict[str, Any]
) -> None:
    assert settings.statuses.verdict({"status": "completed", **beside}) is COMPLETED


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ({"state": "completed"}, COMPLETED),
        ({"code": "completed"}, COMPLETED),
        ({"state": "completed", "failed": 0}, COMPLETED),
        ({"state": "completed", "total": 7}, COMPLETED),
        ({"state": "completed", "failed": 2}, UNRECOGNISED),
        ({"state": "completed", "failed": "2"}, UNRECOGNISED),
        ({"state": "completed", "errors": 1}, UNRECOGNISED),
        ({"state": "completed", "note": "what now"}, UNRECOGNISED),
        ({"state": "failed", "failed": 2}, FAILED),
        ([{"state": "completed"}, {"state": "failed"}], FAILED),
        ({"failed": 2}, UNRECOGNISED),
        ({"total": 7}, UNRECOGNISED),
    ],
)
def test_a_status_that_is_an_object_is_judged_by_all_in_it(settings: Settings, status: Any, verdict: Verdict) -> None:
    assert settings.statuses.verdict({"status": status}) is verdict


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"result": "Success"}, {}),
        ({"Result": "SUCCESS", "requestid": ABOUT}, {}),
        ({"data": {"result": "Success", "requestid": ABOUT}}, {}),
        ([{"result": "Success"}], {}),
        (read_payload(f"result=Success&requestid={ABOUT}".encode()), {}),
        ("", {"result": "Success", "requestid": ABOUT}),
        ({"result": "Success"}, {"requestid": ABOUT}),
        ({"result": "Success", "requestid": ABOUT, "note": ""}, {}),
        ({"result": "Success", "requestid": ABOUT, "type": "contact", "activity": "bulkupload", "listid": 33}, {}),
        ({"result": "Success", "message": "Request accepted, upload begins in the background"}, {}),
    ],
)
def test_what_only_repeats_the_answer_to_the_request_completes_only_where_that_is_configured(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, body: Any, query: Any
) -> None:
    assert settings.statuses.verdict(body, query, ABOUT) is UNRECOGNISED
    monkeypatch.setenv("AIRFLOW__SMARTECH__ECHO_COMPLETES", "True")
    assert Settings.load().statuses.verdict(body, query, ABOUT) is COMPLETED
    assert Settings.load().statuses.verdict(body, query, "another") is (
        UNRECOGNISED if ABOUT in f"{body}{query}" else COMPLETED
    )


@pytest.mark.parametrize("beside", [{"status": "completed"}, {"total": 7}, {"message": "Completed"}])
def test_what_says_more_than_the_answer_did_is_no_echo(settings: Settings, beside: dict[str, Any]) -> None:
    assert settings.statuses.verdict({"result": "Success", **beside}) is COMPLETED


@pytest.mark.parametrize(
    ("body", "query", "verdict"),
    [
        ("", {}, SILENT),
        ("", {"token": "7"}, SILENT),
        ("", {"status": ""}, UNRECOGNISED),
        ("", {"status": "completed"}, COMPLETED),
        ("", {"status": ["completed", "failed"]}, FAILED),
        (None, {"status": "hibernating"}, UNRECOGNISED),
        ({}, {"status": "queued"}, IN_PROGRESS),
        ("completed", {"status": "failed"}, FAILED),
        ({"status": "completed"}, {"status": "failed"}, FAILED),
        ({"status": "failed"}, {"status": "completed"}, FAILED),
        ({"note": "well"}, {"status": "completed"}, COMPLETED),
        ({"status": "completed"}, {"requestid": "another"}, UNRECOGNISED),
    ],
)
def test_the_words_of_the_url_s_query_count_like_those_of_the_body(
    settings: Settings, body: Any, query: Any, verdict: Verdict
) -> None:
    assert settings.statuses.verdict(body, query, ABOUT) is verdict


def test_words_and_fields_can_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__STATUS_FIELDS", "Ergebnis")
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "fertig, alles gut")
    statuses = Settings.load().statuses
    assert statuses.verdict({"ergebnis": "Alles Gut", "status": "queued"}) is COMPLETED
    assert statuses.verdict({"ergebnis": "completed"}) is UNRECOGNISED


def test_a_word_in_two_lists_takes_the_worse_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "over")
    monkeypatch.setenv("AIRFLOW__SMARTECH__FAILED_WORDS", "over")
    assert Settings.load().statuses.verdict("over") is FAILED


def test_every_requestid_that_is_named_is_seen() -> None:
    assert requestids({"data": {"requestId": "abc"}}) == {"abc"}
    assert requestids([{"requestid": "a"}, {"requestid": 77}]) == {"a", "77"}
    assert requestids("text") == set()
