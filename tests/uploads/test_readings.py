"""How a ping-back was read, and the settings that are suggested for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from airflow_provider_smartech.config.options import OPTIONS
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.uploads.payloads import read_payload
from airflow_provider_smartech.uploads.readings import Reading
from airflow_provider_smartech.uploads.statuses import Verdict
from tests.support.payloads import bodies

ABOUT = "a" * 32
STATUSES = Settings.load().statuses


def read(payload: Any, query: Any = None) -> Reading:
    return Reading.of(Settings.load().statuses, payload, query, ABOUT)


def line(option: str, word: str) -> str:
    return f"{option} = {OPTIONS[option]['default']}, {word}"


@pytest.mark.parametrize(
    ("payload", "field", "word", "verdict"),
    [
        ({"requestid": ABOUT, "status": "completed"}, "status", "completed", Verdict.COMPLETED),
        ({"data": {"job": [{"state": "queued"}]}}, "data.job.state", "queued", Verdict.IN_PROGRESS),
        ({"status": "completed", "state": "failed"}, "state", "failed", Verdict.FAILED),
        ("completed", None, "completed", Verdict.COMPLETED),
        ("", None, None, Verdict.SILENT),
    ],
)
def test_what_is_recognised_names_the_field_and_the_word_that_decided_and_suggests_nothing(
    payload: Any, field: str | None, word: str | None, verdict: Verdict
) -> None:
    reading = read(payload)
    assert (reading.field, reading.word, reading.verdict) == (field, word, verdict)
    assert (reading.advice, reading.suggestions) == ("", ())
    assert all(part in reading.text for part in (field, word) if part)


def test_an_unknown_word_is_named_with_the_three_lines_that_would_make_it_known() -> None:
    reading = read({"requestid": ABOUT, "Upload-Status": "Imported"})
    assert reading.text.startswith("Field Upload-Status, word 'Imported': this word is in none of completed_words,")
    lines = [suggestion.line for suggestion in reading.suggestions]
    assert lines == [line(option, "Imported") for option in ("completed_words", "failed_words", "progress_words")]
    assert all(suggested in reading.advice for suggested in lines)


def test_a_line_repeats_the_words_of_this_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "All Gut, fertig")
    assert read({"status": "imported"}).suggestions[0].line == "completed_words = All Gut, fertig, imported"


@pytest.mark.parametrize(
    "payload",
    [
        {"status": "imported"},
        {"phase": "done"},
        {"phase": "imported"},
        {"result": "Success"},
        "imported",
        {"x": "failed"},
    ],
)
def test_the_line_that_is_suggested_makes_the_pingback_known(monkeypatch: pytest.MonkeyPatch, payload: Any) -> None:
    reading = read(payload)
    assert reading.verdict is Verdict.UNRECOGNISED
    first, *others = reading.suggestions
    for suggestion in [first, *others[: reading.together]]:
        option, _, value = suggestion.line.partition(" = ")
        monkeypatch.setenv(f"AIRFLOW__SMARTECH__{option.upper()}", value)
    assert read(payload).verdict is not Verdict.UNRECOGNISED


def test_a_field_with_a_known_word_is_suggested_as_a_status_field() -> None:
    (suggestion,) = read({"requestid": ABOUT, "file": "a.csv", "phase": "done"}).suggestions
    assert suggestion.line == line("status_fields", "phase")
    assert (
        "None of its fields is in status_fields; it has requestid, file, phase"
        in read({"requestid": ABOUT, "file": "a.csv", "phase": "x"}).text
    )


def test_one_field_with_an_unknown_word_needs_two_lines() -> None:
    reading = read({"requestid": ABOUT, "phase": "imported", "rows": 3})
    assert reading.together
    assert [suggestion.line for suggestion in reading.suggestions[:2]] == [
        line("status_fields", "phase"),
        line("completed_words", "imported"),
    ]
    assert "the first, and one of the others" in reading.advice


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"status": "completed", "error": "row 3"}, "the field error contradicts it: 'row 3'"),
        ({"status": "completed", "requestid": "b" * 32}, f"another upload's requestid, {'b' * 32}"),
        ({"result": "Success", "requestid": ABOUT}, "says no more than the answer to the request"),
        ({"requestid": ABOUT}, "it has requestid"),
        ([1, 2], "It has no fields"),
        ({"status": ""}, "word ''"),
    ],
)
def test_why_another_word_does_not_count_is_told(payload: Any, told: str) -> None:
    reading = read(payload)
    assert reading.verdict is Verdict.UNRECOGNISED
    assert told in reading.text
    assert "Check in Smartech's panel" in reading.advice


def test_a_success_word_would_not_help_where_something_contradicts_it() -> None:
    suggested = [suggestion.line.partition(" ")[0] for suggestion in read({"status": "odd", "error": "x"}).suggestions]
    assert suggested == ["failed_words", "progress_words"]


@pytest.mark.parametrize("word", ["done, with 3", "50%", "$HOME", "***", "a\nb", "w" * 81, " ", "x;y"])
def test_a_word_that_a_setting_cannot_hold_is_not_suggested(word: str) -> None:
    assert read({"status": word}).suggestions == ()


def test_long_texts_are_cut() -> None:
    assert len(read({"status": "w" * 5000}).text) < 300
    assert len(read({f"{'n' * 500}{number}": 1 for number in range(99)}).text) < 2000


@given(bodies)
def test_every_pingback_is_read_as_it_is_judged(body: bytes) -> None:
    payload, statuses = read_payload(body), STATUSES
    reading = Reading.of(statuses, payload, None, ABOUT)
    assert reading.verdict is statuses.verdict(payload, None, ABOUT)
    assert reading.text
    assert bool(reading.advice) == (reading.verdict is Verdict.UNRECOGNISED)
