"""One real upload, and what its ping-backs carry and how they are read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_smartech.doctor.first_upload import PINGBACK, RESULT, UPLOAD, FirstUpload
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from tests.doctor.conftest import Findings, by_link, results
from tests.support.submissions import only_upload

pytestmark = pytest.mark.usefixtures("receiver")

SIGNATURE = "5ignature-of-the-link"


def found(path: str, timeout: float = 20, agrees: bool = True, listid: int | None = 33) -> Findings:
    asked: list[str] = []

    def agree(question: str) -> bool:
        asked.append(question)
        return agrees

    upload = FirstUpload(path=path, listid=listid, timeout=timedelta(seconds=timeout), agree=agree)
    findings = by_link(upload.links(SmartechHook()))
    assert len(asked) <= 1
    assert all("list 33" in question and SIGNATURE not in question for question in asked)
    return findings


def test_it_is_sent_recorded_without_a_task_and_its_pingback_is_shown_as_it_was_read(
    sandbox: SandboxServer, store: UploadStore, csv_url: str
) -> None:
    findings = found(f"{csv_url}?X-Amz-Signature={SIGNATURE}")
    assert results(findings) == {UPLOAD: "ok", PINGBACK: "ok", RESULT: "ok"}
    upload = only_upload(store)
    assert (upload.record.task, upload.record.listid) == (None, 33)
    assert f"as {upload.requestid}, to list 33" in findings[UPLOAD].seen
    assert findings[PINGBACK].payload == upload.pingbacks[0].payload
    assert "Field status, word 'completed': it means completed." in findings[PINGBACK].seen
    assert findings[RESULT].seen == "completed: 3 rows accepted, 0 rejected"
    assert SIGNATURE not in str(findings)


def test_an_unknown_word_is_shown_with_the_line_that_makes_it_known(sandbox: SandboxServer, csv_url: str) -> None:
    sandbox.fail_next(Fault.STATUS_UNKNOWN)
    findings = found(csv_url)
    assert results(findings) == {UPLOAD: "ok", PINGBACK: "broken", RESULT: "broken"}
    assert "completed_words = completed, complete," in findings[PINGBACK].advice
    assert "processed, hibernating" in findings[PINGBACK].advice
    assert "it is not known whether the contacts are loaded" in findings[RESULT].seen


@pytest.mark.parametrize(
    ("fault", "pingback", "told"),
    [
        (Fault.STATUS_FAILED, "ok", "it failed according to Smartech's ping-back"),
        (Fault.PINGBACK_ECHO, "broken", "it is not known whether"),
        (Fault.PINGBACK_ERROR, "broken", "it is not known whether"),
    ],
)
def test_an_upload_that_did_not_complete_is_broken_and_told_how(
    sandbox: SandboxServer, csv_url: str, fault: Fault, pingback: str, told: str
) -> None:
    sandbox.fail_next(fault)
    findings = found(csv_url)
    assert results(findings) == {UPLOAD: "ok", PINGBACK: pingback, RESULT: "broken"}
    assert told in findings[RESULT].seen


def test_without_a_pingback_it_is_broken_after_the_time(sandbox: SandboxServer, csv_url: str) -> None:
    sandbox.fail_next(Fault.NO_PINGBACK)
    findings = found(csv_url, timeout=0.3)
    assert results(findings) == {UPLOAD: "ok", RESULT: "broken"}
    assert "no ping-back ended it within" in findings[RESULT].seen


def test_nothing_is_sent_without_agreement_or_with_a_wrong_parameter(sandbox: SandboxServer, csv_url: str) -> None:
    assert results(found(csv_url, agrees=False)) == {UPLOAD: "not tried"}
    assert results(found("contacts.csv")) == {UPLOAD: "broken"}
    assert results(found(csv_url, listid=-1)) == {UPLOAD: "broken"}
    assert sandbox.state.uploads() == []


def test_an_upload_that_smartech_refuses_is_broken_with_its_answer(sandbox: SandboxServer, csv_url: str) -> None:
    sandbox.fail_next(Fault.INVALID_KEY)
    findings = found(csv_url)
    assert results(findings) == {UPLOAD: "broken"}
    assert "Invalid API key" in findings[UPLOAD].seen
