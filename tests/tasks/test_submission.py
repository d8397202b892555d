"""Submitting once: what is kept before a request, and what a retry makes of the tries before it."""

from __future__ import annotations

import json
import logging
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechInvalidParameter,
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
    UploadFailed,
    UploadRecordUnreadable,
    UploadRowsRejected,
    UploadStatusUnrecognised,
    UploadStoreError,
    UploadTimeout,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.tasks.submission import Submission
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack, new_upload_id
from tests.conftest import API_KEY, SetConnection
from tests.support.contacts import write_contacts
from tests.support.file_server import FileServer
from tests.support.servers import ReceiverServer, answering, eventually, http
from tests.support.submissions import CLEARED, FIRST, RETRY, connect, crashing, only_upload, operator, submitted
from tests.support.tasks import FakeTaskInstance, run

pytestmark = pytest.mark.usefixtures("receiver")


def test_the_record_is_written_before_the_request_is_sent(
    sandbox: SandboxServer, store: UploadStore, csv_url: str
) -> None:
    with crashing(SmartechHook, "submit", after=False):
        run(operator(f"{csv_url}?X-Amz-Signature=s1gnature", listid=33))
    upload = only_upload(store)
    assert (upload.record.path, upload.record.listid, upload.answer) == (csv_url, 33, None)
    assert upload.record.task
    assert upload.record.task.task_id == "upload"
    assert submitted(sandbox) == []


def test_nothing_is_sent_when_the_store_cannot_be_written(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", "nonsense://nowhere")
    with pytest.raises(UploadStoreError):
        run(operator(csv_url))
    assert submitted(sandbox) == []


@pytest.mark.parametrize(
    "arguments", [{"path": "contacts.csv"}, {"listid": "0"}, {"notifyemail": "nobody"}, {"callback": "x"}]
)
def test_a_wrong_parameter_is_refused_before_anything_is_written_or_sent(
    sandbox: SandboxServer, store: UploadStore, csv_url: str, arguments: dict[str, str]
) -> None:
    with pytest.raises(SmartechInvalidParameter):
        run(operator(**{"path": csv_url, **arguments}))
    assert submitted(sandbox) == []
    assert not Path(store.shown_url.removeprefix("file://")).exists()


def test_the_pingback_url_has_an_id_that_the_store_does_not_hold(
    sandbox: SandboxServer, store: UploadStore, csv_url: str, receiver: ReceiverServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    submit = SmartechHook.submit

    def spy(self: SmartechHook, parameters: Any) -> str:
        sent.append(parameters.form()["callback"])
        return submit(self, parameters)

    monkeypatch.setattr(SmartechHook, "submit", spy)
    run(operator(csv_url))
    assert sent[0].startswith(f"{receiver.url}/pingback/20")
    upload_id = sent[0].rpartition("/")[2]
    eventually(lambda: sandbox.state.uploads()[0]["pingbacks"] == ["HTTP 200"])
    files = [path for path in Path(store.shown_url.removeprefix("file://")).rglob("*") if path.is_file()]
    assert files
    assert not any(upload_id[9:] in f"{path}{path.read_text('utf-8')}" for path in files)


def test_a_callback_of_the_user_s_own_is_sent_as_it_is(
    sandbox: SandboxServer, store: UploadStore, csv_url: str, receiver: ReceiverServer
) -> None:
    run(operator(csv_url, callback=f"{sandbox.url}/own"))
    eventually(lambda: sandbox.state.uploads()[0]["pingbacks"] == ["HTTP 404"])
    assert not only_upload(store).record.tracked


def test_without_a_callback_base_the_upload_is_sent_with_a_warning(
    sandbox: SandboxServer,
    store: UploadStore,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("AIRFLOW__SMARTECH__CALLBACK_BASE_URL")
    run(operator(csv_url))
    assert "callback_base_url" in caplog.text
    assert not only_upload(store).record.tracked


def test_the_callback_base_is_derived_from_the_api_base_url(
    sandbox: SandboxServer, store: UploadStore, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW__SMARTECH__CALLBACK_BASE_URL")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{sandbox.url}/airflow/")
    run(operator(csv_url))
    assert only_upload(store).record.tracked


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_waiting_without_our_callback_is_refused_before_anything_is_sent(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch, deferrable: bool, own: bool
) -> None:
    if not own:
        monkeypatch.delenv("AIRFLOW__SMARTECH__CALLBACK_BASE_URL")
    callback = f"{sandbox.url}/own" if own else None
    with pytest.raises(SmartechConfigurationError, match="callback_base_url"):
        run(operator(csv_url, wait_for_completion=True, deferrable=deferrable, callback=callback))
    assert submitted(sandbox) == []


@pytest.mark.parametrize("deferrable", [False, True])
def test_contradicting_pingbacks_before_anybody_looked_are_red_and_whether_it_was_loaded_is_not_known(
    sandbox: SandboxServer, csv_url: str, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    arguments: dict[str, Any] = {"wait_for_completion": True, "deferrable": deferrable}
    sandbox.fail_next(Fault.PINGBACK_CONTRADICTED, Fault.PINGBACK_FIRST)
    with pytest.raises(UploadFailed, match=r"completed.*failed"):
        run(operator(csv_url, **arguments), FIRST)
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url, **arguments, on_unknown_outcome="fail"), RETRY)
    assert len(submitted(sandbox)) == 1
    assert run(operator(csv_url, **arguments), RETRY) == submitted(sandbox)[1]
    assert "it is not known whether Smartech loaded it" in caplog.text


def test_a_damaged_record_is_an_error_that_names_the_file(
    sandbox: SandboxServer, store: UploadStore, csv_url: str
) -> None:
    run(operator(csv_url))
    upload = only_upload(store)
    record = Path(store.shown_url.removeprefix("file://")) / "uploads" / upload.key[:8] / upload.key / "record.json"
    record.write_text("{", "utf-8")
    with pytest.raises(UploadRecordUnreadable, match=r"record\.json"):
        run(operator(csv_url), FakeTaskInstance(try_number=2))


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("method", ["_ask", "hand_over"])
def test_a_retry_takes_the_requestid_of_a_try_that_died_before_or_after_handing_it_over(
    sandbox: SandboxServer, csv_url: str, wait: bool, method: str
) -> None:
    task = operator(csv_url, wait_for_completion=wait)
    with crashing(Submission, method, after=True):
        run(task, FIRST)
    assert [run(task, RETRY)] == submitted(sandbox)


def test_a_retry_takes_a_requestid_that_was_not_yet_findable(
    sandbox: SandboxServer, store: UploadStore, csv_url: str
) -> None:
    with crashing(UploadStore, "answered", after=True):
        run(operator(csv_url), FIRST)
    shutil.rmtree(Path(store.shown_url.removeprefix("file://")) / "requestids")
    requestid = run(operator(csv_url), RETRY)
    assert [requestid] == submitted(sandbox)
    assert store.find(requestid).requestid == requestid


@pytest.mark.parametrize("ti", [RETRY, CLEARED])
def test_an_unknown_outcome_with_a_pingback_since_counts_as_accepted(
    sandbox: SandboxServer, store: UploadStore, csv_url: str, ti: FakeTaskInstance
) -> None:
    sandbox.faults = frozenset({Fault.CUT_AFTER})
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url), FIRST)
    sandbox.settle()
    requestid = run(operator(csv_url, wait_for_completion=True), ti)
    assert [requestid] == submitted(sandbox)
    assert store.find(requestid).requestid == requestid


def test_where_not_even_the_pingback_names_a_requestid_the_key_stands_in(
    sandbox: SandboxServer, store: UploadStore, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.CUT_BEFORE})
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url), FIRST)
    key = only_upload(store).key
    store.add_pingback(key, PingBack(payload="completed"))
    assert run(operator(csv_url), RETRY) == key
    assert store.find(key).key == key


@pytest.mark.parametrize("ti", [RETRY, CLEARED])
@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.NO_REQUESTID, None])
def test_when_nothing_is_known_of_the_earlier_try_it_is_sent_again_with_a_warning(
    sandbox: SandboxServer,
    store: UploadStore,
    csv_url: str,
    caplog: pytest.LogCaptureFixture,
    ti: FakeTaskInstance,
    fault: Fault | None,
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK, *([fault] if fault else [])})
    if fault:
        with pytest.raises(SmartechOutcomeUnknown):
            run(operator(csv_url), FIRST)
    else:
        with crashing(SmartechHook, "submit", after=True):
            run(operator(csv_url), FIRST)
    earlier = only_upload(store)
    sandbox.faults = frozenset()
    with caplog.at_level(logging.WARNING):
        requestid = run(operator(csv_url), ti)
    assert submitted(sandbox)[-1] == requestid
    assert len(submitted(sandbox)) == 2
    assert f"An earlier try of this task submitted upload {earlier.key}" in caplog.text


def test_when_nothing_is_known_of_the_earlier_try_it_fails_if_told_so(
    sandbox: SandboxServer, store: UploadStore, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK, Fault.CUT_AFTER})
    task = operator(csv_url, on_unknown_outcome="fail")
    with pytest.raises(SmartechOutcomeUnknown):
        run(task, FIRST)
    with pytest.raises(SmartechOutcomeUnknown, match=only_upload(store).key):
        run(task, RETRY)
    assert len(submitted(sandbox)) == 1


def test_an_upload_that_was_never_accepted_is_sent_anew_without_a_word(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults = frozenset({Fault.INVALID_KEY})
    with pytest.raises(SmartechRefused):
        run(operator(csv_url, listid=33), FIRST)
    sandbox.faults = frozenset()
    with caplog.at_level(logging.WARNING):
        assert [run(operator(csv_url, listid=33, on_unknown_outcome="fail"), RETRY)] == submitted(sandbox)
    assert caplog.text == ""


def test_why_it_was_not_accepted_is_kept_in_short_and_without_secrets(
    connection: SetConnection,
    receiver: ReceiverServer,
    store: UploadStore,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload_id, signed = new_upload_id(), f"{csv_url}?X-Amz-Signature=s1gnature0123456789"
    monkeypatch.setattr("airflow_provider_smartech.tasks.sender.new_upload_id", lambda: upload_id)
    # An answer that repeats what it was sent, and more than can be kept.
    secrets = [API_KEY, signed, f"{receiver.url}/pingback/{upload_id}", upload_id, upload_id.partition("-")[2]]
    said = json.dumps({"result": " ".join(["no:", *secrets, "\ud800 \x00", "x" * 1000])})
    with answering(http("400 Bad Request", said.encode())) as (url, _):
        connection(host=url)
        with pytest.raises(SmartechRefused):
            run(operator(signed), FIRST)
    answer = only_upload(store).answer
    assert answer
    assert answer.reason
    assert answer.reason.startswith(
        "Smartech refused the upload (connection 'smartech_default', host 127.0.0.1, file http"
    )
    assert "result 'no: ***" in answer.reason
    assert len(answer.reason) == 500
    assert not [secret for secret in secrets if secret in answer.reason]
    assert "s1gnature" not in answer.reason


def test_an_upload_that_never_reached_smartech_is_sent_anew(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        nowhere = {"conn_type": "smartech", "password": "k", "host": "http://127.0.0.1:1"}
        patch.setenv("AIRFLOW_CONN_SMARTECH_DEFAULT", json.dumps(nowhere))
        with pytest.raises(SmartechNotReached):
            run(operator(csv_url), FIRST)
    assert [run(operator(csv_url, on_unknown_outcome="fail"), RETRY)] == submitted(sandbox)


@pytest.mark.parametrize("wait", [False, True])
def test_clearing_a_task_that_had_handed_over_uploads_anew(sandbox: SandboxServer, csv_url: str, wait: bool) -> None:
    task = operator(csv_url, wait_for_completion=wait, on_unknown_outcome="fail")
    assert [run(task, FIRST), run(task, CLEARED)] == submitted(sandbox)


@pytest.mark.parametrize("has_completed", [False, True])
def test_clearing_a_task_whose_upload_completed_is_nothing_to_warn_of(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture, has_completed: bool
) -> None:
    sandbox.fail_next(*([] if has_completed else [Fault.NO_PINGBACK]))
    requestid = run(operator(csv_url, listid=33), FIRST)
    sandbox.settle()
    with caplog.at_level(logging.INFO):
        run(operator(csv_url, listid=33), CLEARED)
    (said,) = (one for one in caplog.records if "uploading again" in one.message)
    assert requestid in said.message
    assert said.levelno == (logging.INFO if has_completed else logging.WARNING)
    assert ("completed before the task or its run was cleared" in said.message) is has_completed


@pytest.mark.parametrize("listid", [33, None])
def test_the_log_says_where_an_accepted_upload_went(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture, listid: int | None
) -> None:
    with caplog.at_level(logging.INFO):
        requestid = run(operator(f"{csv_url}?a=s3cret", listid=listid))
    where = "list 33" if listid else "no list"
    assert (
        f"Smartech accepted the upload of {csv_url} as {requestid}, to {where} by connection smartech_default at "
        "127.0.0.1." in caplog.messages
    )
    assert ("No list is named" in caplog.text) is (listid is None)


def test_clearing_twice_uploads_anew_each_time_even_after_a_retry_that_took_over(
    sandbox: SandboxServer, csv_url: str
) -> None:
    with crashing(Submission, "hand_over", after=False):
        run(operator(csv_url), FakeTaskInstance(try_number=1, max_tries=0))
    taken = run(operator(csv_url), FakeTaskInstance(try_number=2, max_tries=1))
    anew = run(operator(csv_url), FakeTaskInstance(try_number=3, max_tries=2))
    assert [taken, anew] == submitted(sandbox)


@pytest.mark.parametrize("ti", [RETRY, CLEARED])
def test_a_failed_upload_is_sent_anew_with_a_warning(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture, ti: FakeTaskInstance
) -> None:
    task = operator(csv_url, wait_for_completion=True, on_unknown_outcome="fail")
    sandbox.faults = frozenset({Fault.STATUS_FAILED})
    with pytest.raises(UploadFailed):
        run(task, FIRST)
    sandbox.faults = frozenset()
    with caplog.at_level(logging.WARNING):
        assert run(task, ti) == submitted(sandbox)[1]
    assert submitted(sandbox)[0] in caplog.text


def test_an_upload_that_ended_with_an_unrecognised_status_may_have_been_loaded(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults = frozenset({Fault.STATUS_UNKNOWN})
    with pytest.raises(UploadStatusUnrecognised) as caught:
        run(operator(csv_url, wait_for_completion=True), FIRST)
    assert isinstance(caught.value, AirflowFailException), "Airflow would send it again by a retry"
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url, wait_for_completion=True, on_unknown_outcome="fail"), CLEARED)
    assert len(submitted(sandbox)) == 1
    sandbox.faults = frozenset()
    with caplog.at_level(logging.WARNING):
        assert run(operator(csv_url, wait_for_completion=True), CLEARED) == submitted(sandbox)[1]
    assert submitted(sandbox)[0] in caplog.text


def test_a_word_that_is_configured_afterwards_completes_the_upload_that_had_it(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.faults = frozenset({Fault.STATUS_UNKNOWN})
    task = operator(csv_url, wait_for_completion=True)
    with pytest.raises(UploadStatusUnrecognised):
        run(task, FIRST)
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "hibernating")
    assert [run(task, CLEARED)] == submitted(sandbox)


def test_an_unknown_outcome_with_an_unrecognised_pingback_since_counts_as_accepted(
    sandbox: SandboxServer, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.CUT_AFTER, Fault.STATUS_UNKNOWN})
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url), FIRST)
    sandbox.settle()
    assert [run(operator(csv_url, on_unknown_outcome="fail"), RETRY)] == submitted(sandbox)


def test_a_refused_try_in_between_does_not_hide_an_earlier_one(sandbox: SandboxServer, csv_url: str) -> None:
    sandbox.faults = frozenset({Fault.CUT_AFTER, Fault.PINGBACK_LATE})
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url), FIRST)
    sandbox.faults = frozenset({Fault.INVALID_KEY})
    with pytest.raises(SmartechRefused):
        run(operator(csv_url), RETRY)
    sandbox.faults = frozenset()
    sandbox.release()
    sandbox.settle()
    assert [run(operator(csv_url), FakeTaskInstance(try_number=3))] == submitted(sandbox)


@pytest.mark.parametrize(("on_unknown_outcome", "sent"), [("resubmit", 3), ("fail", 2)])
def test_a_pingback_that_names_another_upload_s_requestid_tells_nothing_of_this_one(
    sandbox: SandboxServer,
    store: UploadStore,
    csv_url: str,
    caplog: pytest.LogCaptureFixture,
    on_unknown_outcome: Any,
    sent: int,
) -> None:
    known = run(operator(csv_url), FakeTaskInstance(task_id="other"))
    sandbox.faults = frozenset({Fault.CUT_AFTER, Fault.NO_PINGBACK})
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url), FIRST)
    folder = Path(store.shown_url.removeprefix("file://"))
    keys = {path.parent.name for path in folder.glob("uploads/*/*/record.json")} - {store.find(known).key}
    store.add_pingback(keys.pop(), PingBack(payload={"status": "completed", "requestid": known}))
    sandbox.faults = frozenset()
    task = operator(csv_url, on_unknown_outcome=on_unknown_outcome)
    if on_unknown_outcome == "fail":
        with pytest.raises(SmartechOutcomeUnknown):
            run(task, RETRY)
    else:
        run(task, RETRY)
        assert "it is not known whether Smartech loaded it" in caplog.text
    assert len(submitted(sandbox)) == sent


def test_the_requestid_is_logged_even_if_it_cannot_be_kept(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(self: UploadStore, key: str, answer: object) -> None:
        raise UploadStoreError("away")

    monkeypatch.setattr("airflow_provider_smartech.tasks.sender.STORE_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(UploadStore, "answered", away)
    with caplog.at_level(logging.INFO), pytest.raises(UploadStoreError):
        run(operator(csv_url))
    assert submitted(sandbox)[0] in caplog.text


def test_a_store_that_is_away_for_a_moment_after_the_answer_loses_nothing(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, failures = UploadStore.answered, [UploadStoreError("away")]

    def away_at_first(self: UploadStore, key: str, answer: Any) -> None:
        if failures:
            raise failures.pop()
        answered(self, key, answer)

    monkeypatch.setattr("airflow_provider_smartech.tasks.sender.STORE_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(UploadStore, "answered", away_at_first)
    assert [run(operator(csv_url))] == submitted(sandbox)


def test_a_missing_connection_is_an_error_before_anything_is_written(store: UploadStore, csv_url: str) -> None:
    with pytest.raises(SmartechConfigurationError, match="no connection 'nowhere'"):
        run(operator(csv_url, smartech_conn_id="nowhere"))
    assert not Path(store.shown_url.removeprefix("file://")).exists()


def test_a_task_that_waits_does_not_take_an_upload_without_our_callback(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with crashing(Submission, "hand_over", after=False):
        run(operator(csv_url, callback=f"{sandbox.url}/own"), FIRST)
    with caplog.at_level(logging.WARNING):
        assert run(operator(csv_url, wait_for_completion=True), RETRY) == submitted(sandbox)[1]
    assert submitted(sandbox)[0] in caplog.text


def test_after_a_timeout_a_retry_takes_the_upload_if_its_pingback_has_come_since(
    sandbox: SandboxServer, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    task = operator(csv_url, wait_for_completion=True, timeout=0.1)
    with pytest.raises(UploadTimeout):
        run(task, FIRST)
    sandbox.release()
    sandbox.settle()
    assert [run(task, RETRY)] == submitted(sandbox)


def test_after_a_timeout_a_retry_sends_it_again_with_a_warning_or_fails(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    task = operator(csv_url, wait_for_completion=True, timeout=0.1)
    with pytest.raises(UploadTimeout):
        run(task, FIRST)
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url, wait_for_completion=True, on_unknown_outcome="fail"), RETRY)
    assert len(submitted(sandbox)) == 1
    sandbox.faults = frozenset()
    with caplog.at_level(logging.WARNING):
        run(operator(csv_url, wait_for_completion=True), RETRY)
    assert submitted(sandbox)[0] in caplog.text
    assert len(submitted(sandbox)) == 2


def test_a_task_whose_file_or_list_was_changed_uploads_anew(sandbox: SandboxServer, csv_url: str) -> None:
    with crashing(Submission, "hand_over", after=False):
        run(operator(csv_url, listid=1), FIRST)
    assert run(operator(csv_url, listid=2), RETRY) == submitted(sandbox)[1]


def test_another_query_means_another_file_unless_it_is_the_signature(sandbox: SandboxServer, csv_url: str) -> None:
    with crashing(Submission, "hand_over", after=False):
        run(operator(f"{csv_url}?file=a&X-Amz-Signature=1"), FIRST)
    assert run(operator(f"{csv_url}?file=b&X-Amz-Signature=1"), RETRY) == submitted(sandbox)[1]


def test_a_new_signature_of_the_same_file_is_the_same_upload(sandbox: SandboxServer, csv_url: str) -> None:
    with crashing(Submission, "hand_over", after=False):
        run(operator(f"{csv_url}?sv=1&sig=1"), FIRST)
    assert [run(operator(f"{csv_url}?sv=1&sig=2"), RETRY)] == submitted(sandbox)


def test_mapped_tasks_and_other_tasks_and_other_runs_do_not_take_each_other_s_uploads(
    sandbox: SandboxServer, csv_url: str
) -> None:
    with crashing(Submission, "hand_over", after=False):
        run(operator(csv_url), FakeTaskInstance(map_index=0))
    others = [
        FakeTaskInstance(try_number=2, map_index=1),
        FakeTaskInstance(try_number=2, map_index=0, task_id="other"),
        FakeTaskInstance(try_number=2, map_index=0, run_id="other"),
        FakeTaskInstance(try_number=2, map_index=0, dag_id="other"),
    ]
    assert len({run(operator(csv_url), ti) for ti in others} | {submitted(sandbox)[0]}) == 5


@pytest.mark.parametrize("method", ["_ask", "hand_over"])
def test_a_retry_in_what_may_be_another_run_of_the_same_name_never_stays_silent(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """A run that was made again, or one that was queued again: Airflow does not tell the two apart."""
    elsewhere = FakeTaskInstance(try_number=2, run_started=datetime(2026, 1, 2, tzinfo=UTC))
    with crashing(Submission, method, after=True):
        run(operator(csv_url), FIRST)
    with caplog.at_level(logging.INFO):
        assert run(operator(csv_url), elsewhere) == submitted(sandbox)[1]
    assert re.search(rf"pload {submitted(sandbox)[0]} .*(uploading|Submitting it) again", caplog.text)


def test_a_run_that_was_deleted_and_made_again_uploads_anew(sandbox: SandboxServer, csv_url: str) -> None:
    assert [run(operator(csv_url), FIRST), run(operator(csv_url), FIRST)] == submitted(sandbox)


@pytest.mark.parametrize("on_unknown_outcome", ["resubmit", "fail"])
@pytest.mark.parametrize("method", ["_ask", "hand_over"])
def test_clearing_another_task_of_the_run_leaves_a_retry_a_retry(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture, method: str, on_unknown_outcome: Any
) -> None:
    task = operator(csv_url, listid=33, on_unknown_outcome=on_unknown_outcome)
    with caplog.at_level(logging.WARNING):
        with crashing(Submission, method, after=True):
            run(task, FIRST)
        assert [run(task, FakeTaskInstance(try_number=2, clear_number=1))] == submitted(sandbox)
    assert caplog.text == ""


MADE_AGAIN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("max_tries", [2, 5])
@pytest.mark.parametrize("wait", [False, True])
def test_an_upload_of_a_run_of_the_same_name_that_was_deleted_is_never_taken_silently(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture, max_tries: int, wait: bool
) -> None:
    again = FakeTaskInstance(try_number=2, max_tries=max_tries, run_started=MADE_AGAIN, clear_number=1)
    with crashing(Submission, "_ask", after=True):
        run(operator(csv_url, wait_for_completion=wait), FIRST)
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url, wait_for_completion=wait, on_unknown_outcome="fail"), again)
    assert len(submitted(sandbox)) == 1
    with caplog.at_level(logging.WARNING):
        assert run(operator(csv_url, wait_for_completion=wait), again) == submitted(sandbox)[1]
    assert submitted(sandbox)[0] in caplog.text


@pytest.mark.parametrize("on_unknown_outcome", ["resubmit", "fail"])
def test_a_retry_sends_to_the_data_centre_to_which_the_connection_was_corrected(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    on_unknown_outcome: Any,
) -> None:
    task = operator(csv_url, on_unknown_outcome=on_unknown_outcome)
    with crashing(Submission, "_ask", after=True):
        run(task, FIRST)
    with SandboxServer() as india, caplog.at_level(logging.WARNING):
        connect(monkeypatch, india, extra={"idc": "in"})
        assert [run(task, RETRY)] == submitted(india)
    assert "data centre" in caplog.text
    assert submitted(sandbox)[0] in caplog.text
    assert len(submitted(sandbox)) == 1


@pytest.mark.parametrize("wait", [False, True])
def test_a_retry_with_another_key_does_not_silently_take_what_may_be_another_account_s(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wait: bool,
) -> None:
    with crashing(Submission, "_ask", after=True):
        run(operator(csv_url, wait_for_completion=wait), FIRST)
    sandbox.api_key = "another-key"
    connect(monkeypatch, sandbox)
    with pytest.raises(SmartechOutcomeUnknown):
        run(operator(csv_url, wait_for_completion=wait, on_unknown_outcome="fail"), RETRY)
    assert len(submitted(sandbox)) == 1
    with caplog.at_level(logging.WARNING):
        assert run(operator(csv_url, wait_for_completion=wait), RETRY) == submitted(sandbox)[1]
    assert submitted(sandbox)[0] in caplog.text


def test_a_task_that_is_cleared_after_too_many_were_rejected_sends_anew_unless_more_are_allowed_by_now(
    sandbox: SandboxServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_contacts(tmp_path / "x.csv", 50)
    sandbox.faults = frozenset({Fault.ROWS_REJECTED})
    with FileServer(tmp_path) as files:

        def tried(ti: FakeTaskInstance, max_rejected: int) -> str:
            task = operator(f"{files.url}/x.csv", max_rejected=max_rejected, wait_for_completion=True)
            return str(run(task, ti))

        with pytest.raises(UploadRowsRejected):
            tried(FIRST, 4)
        assert [tried(CLEARED, 5)] == submitted(sandbox), "it is enough now"
        with pytest.raises(UploadRowsRejected):
            tried(FakeTaskInstance(try_number=1, task_id="other"), 4)
        with pytest.raises(UploadRowsRejected):
            tried(FakeTaskInstance(try_number=2, max_tries=3, task_id="other"), 4)
    assert len(submitted(sandbox)) == 3
    assert f"Upload {submitted(sandbox)[1]} of an earlier try failed" in caplog.text


@pytest.mark.parametrize("second", [Fault.STATUS_FAILED, Fault.INVALID_KEY])
def test_an_older_upload_that_is_under_way_is_taken_whatever_was_sent_after_it(
    sandbox: SandboxServer, csv_url: str, second: Fault
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    with crashing(Submission, "hand_over", after=False):
        run(operator(f"{csv_url}?file=a", on_unknown_outcome="fail"), FIRST)
    sandbox.faults = frozenset({second})
    refused = pytest.raises(SmartechRefused)
    with refused if second is Fault.INVALID_KEY else crashing(Submission, "hand_over", after=False):
        run(operator(f"{csv_url}?file=b", on_unknown_outcome="fail"), RETRY)
    sandbox.faults = frozenset()
    sandbox.settle()
    sent = submitted(sandbox)
    third = FakeTaskInstance(try_number=3)
    assert run(operator(f"{csv_url}?file=a", on_unknown_outcome="fail"), third) == sent[0]
    assert submitted(sandbox) == sent


def test_a_retry_ends_by_the_rejected_rows_of_the_try_before_and_sends_none_of_them_again(
    sandbox: SandboxServer, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.ALL_ROWS_REJECTED})
    with crashing(Submission, "hand_over", after=False):
        run(operator(csv_url), FIRST)
    sandbox.settle()
    with pytest.raises(UploadRowsRejected):
        run(operator(csv_url, wait_for_completion=True), RETRY)
    assert len(submitted(sandbox)) == 1
