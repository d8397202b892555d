"""The operator: what it returns, how it waits, and what it makes of templates."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG

from airflow_provider_smartech.errors import (
    SmartechOutcomeUnknown,
    SmartechRefused,
    UploadFailed,
    UploadRowsRejected,
    UploadStatusUnrecognised,
    UploadTimeout,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.operators import SmartechBulkUploadOperator
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from tests.support.contacts import write_contacts
from tests.support.file_server import FileServer
from tests.support.servers import eventually
from tests.support.submissions import operator, submitted
from tests.support.tasks import FakeTaskInstance, context, run

pytestmark = pytest.mark.usefixtures("receiver")


def test_it_returns_the_requestid_and_pushes_it_under_its_name(sandbox: SandboxServer, csv_url: str) -> None:
    ti = FakeTaskInstance()
    requestid = run(operator(csv_url, listid="33"), ti)
    assert [requestid] == submitted(sandbox)
    assert ti.xcoms == {"requestid": requestid}
    assert sandbox.state.uploads()[0]["listid"] == 33


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("faults", "error"),
    [
        ((), None),
        ((Fault.PINGBACK_TWICE,), None),
        ((Fault.PINGBACK_FIRST,), None),
        ((Fault.PINGBACK_LATE,), None),
        ((Fault.PINGBACK_FORM,), None),
        ((Fault.STATUS_IN_PROGRESS,), None),
        ((Fault.ROWS_REJECTED,), None),
        ((Fault.PINGBACK_EMPTY,), None),
        ((Fault.PINGBACK_IN_QUERY,), None),
        ((Fault.NO_COUNTS,), None),
        ((Fault.PINGBACK_ECHO,), UploadStatusUnrecognised),
        ((Fault.PINGBACK_ECHO, Fault.PINGBACK_FORM), UploadStatusUnrecognised),
        ((Fault.PINGBACK_FOREIGN,), UploadStatusUnrecognised),
        ((Fault.PINGBACK_ERROR,), UploadStatusUnrecognised),
        ((Fault.PINGBACK_UNSUCCESSFUL,), UploadStatusUnrecognised),
        ((Fault.STATUS_OBJECT,), UploadStatusUnrecognised),
        ((Fault.PINGBACK_CONTRADICTED, Fault.PINGBACK_FIRST), UploadFailed),
        ((Fault.PINGBACK_IN_QUERY, Fault.STATUS_FAILED), UploadFailed),
        ((Fault.ALL_ROWS_REJECTED,), UploadRowsRejected),
        ((Fault.STATUS_FAILED,), UploadFailed),
        ((Fault.STATUS_FAILED, Fault.PINGBACK_FORM), UploadFailed),
        ((Fault.STATUS_UNKNOWN,), UploadStatusUnrecognised),
        ((Fault.PINGBACK_UNREADABLE,), UploadStatusUnrecognised),
        ((Fault.NO_PINGBACK,), UploadTimeout),
        ((Fault.INVALID_KEY,), SmartechRefused),
        ((Fault.INVALID_KEY_401,), SmartechRefused),
        ((Fault.NO_REQUESTID,), SmartechOutcomeUnknown),
        ((Fault.ERROR_500,), SmartechOutcomeUnknown),
        ((Fault.HTML,), SmartechOutcomeUnknown),
        ((Fault.HANG,), SmartechOutcomeUnknown),
        ((Fault.CUT_BEFORE,), SmartechOutcomeUnknown),
        ((Fault.CUT_AFTER,), SmartechOutcomeUnknown),
    ],
)
def test_waiting_is_green_only_when_smartech_said_completed(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    deferrable: bool,
    faults: tuple[Fault, ...],
    error: type[Exception] | None,
) -> None:
    monkeypatch.setattr(SmartechHook, "read_timeout", 0.5)
    sandbox.faults, sandbox.late_seconds = frozenset(faults), 1.0
    ti = FakeTaskInstance()
    task = operator(csv_url, wait_for_completion=True, deferrable=deferrable, timeout=timedelta(seconds=3))
    if error is None:
        assert [run(task, ti)] == submitted(sandbox)
        assert ti.xcoms["requestid"] == submitted(sandbox)[0]
    else:
        with pytest.raises(error) as caught:
            run(task, ti)
        assert type(caught.value) is error


def test_a_deferred_wait_tells_airflow_only_the_key_and_the_deadline(sandbox: SandboxServer, csv_url: str) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    with pytest.raises(TaskDeferred) as deferred:
        operator(csv_url, wait_for_completion=True, deferrable=True, timeout=60).execute(context())
    assert deferred.value.trigger.serialize()[1].keys() == {"keys", "deadline"}
    assert deferred.value.timeout == timedelta(minutes=11)
    sandbox.release()


def test_a_deferred_wait_that_would_wait_for_nothing_is_refused_when_the_dag_is_read(
    csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="wait_for_completion"):
        operator(csv_url, deferrable=True)
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert SmartechBulkUploadOperator(task_id="upload", path=csv_url).deferrable, "nobody asked for it"


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_timeout_is_not_tried_again_and_says_what_clearing_does(
    sandbox: SandboxServer, csv_url: str, deferrable: bool
) -> None:
    sandbox.faults = frozenset({Fault.NO_PINGBACK})
    task = operator(csv_url, wait_for_completion=True, deferrable=deferrable, timeout=0.1)
    with pytest.raises(UploadTimeout, match="clearing the task that submitted it sends it again") as caught:
        run(task)
    assert isinstance(caught.value, AirflowFailException)


def test_an_echo_of_the_answer_completes_where_that_is_configured(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__ECHO_COMPLETES", "True")
    sandbox.faults = frozenset({Fault.PINGBACK_ECHO})
    assert [run(operator(csv_url, wait_for_completion=True))] == submitted(sandbox)


# --- rows ---------------------------------------------------------------------------------------------------------


def test_what_became_of_the_rows_is_in_the_summaries_and_rejected_ones_are_a_warning(
    sandbox: SandboxServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_contacts(tmp_path / "x.csv", 50)
    sandbox.faults = frozenset({Fault.ROWS_REJECTED})
    ti = FakeTaskInstance()
    with FileServer(tmp_path) as files, caplog.at_level(logging.WARNING):
        run(operator(f"{files.url}/x.csv", wait_for_completion=True), ti)
    (summary,) = ti.xcoms["summaries"]
    assert (summary["rows"], summary["accepted"], summary["rejected"]) == (50, 45, 5)
    assert "45 accepted, 5 rejected of 50 rows" in caplog.text


def test_where_no_numbers_are_named_none_are_made_up(sandbox: SandboxServer, csv_url: str) -> None:
    sandbox.faults = frozenset({Fault.NO_COUNTS})
    ti = FakeTaskInstance()
    run(operator(csv_url, wait_for_completion=True, max_rejected=0), ti)
    (summary,) = ti.xcoms["summaries"]
    assert (summary["rows"], summary["accepted"], summary["rejected"]) == (None, None, None)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("max_rejected", "is_green"), [(None, True), (5, True), (0.1, True), (4, False), (0.09, False)]
)
def test_more_rejected_rows_than_allowed_fail_without_a_retry(
    sandbox: SandboxServer, tmp_path: Path, deferrable: bool, max_rejected: float | None, is_green: bool
) -> None:
    write_contacts(tmp_path / "x.csv", 50)
    sandbox.faults = frozenset({Fault.ROWS_REJECTED})
    with FileServer(tmp_path) as files:
        arguments: dict[str, Any] = {"wait_for_completion": True, "deferrable": deferrable}
        task = operator(f"{files.url}/x.csv", max_rejected=max_rejected, **arguments)
        if is_green:
            run(task)
            return
        with pytest.raises(UploadRowsRejected, match=r"x\.csv.*45 accepted, 5 rejected of 50 rows") as caught:
            run(task)
    assert isinstance(caught.value, AirflowFailException)
    assert (caught.value.accepted, caught.value.rejected) == (45, 5)


@pytest.mark.parametrize("wrong", [-1, 1.5, -0.1, True, "5"])
def test_a_limit_of_rejected_rows_that_is_none_is_refused_when_the_dag_is_read(csv_url: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_rejected"):
        operator(csv_url, max_rejected=wrong)


# --- templates ---------------------------------------------------------------------------------------------------


def test_every_parameter_of_the_api_is_templated_and_secrets_are_not_in_the_rendered_template(
    sandbox: SandboxServer, csv_url: str
) -> None:
    with DAG("d"):
        task = operator(
            csv_url.replace("contacts", "{{ name }}") + "?X-Amz-Signature={{ sig }}",
            listid="{{ 30 + 3 }}",
            notifyemail="{{ name }}@example.com",
            callback="{{ sandbox }}/{{ sig }}",
            smartech_conn_id="smartech_{{ which }}",
        )
    rendering: Any = {"name": "contacts", "sig": "s1gnature0123456789", "which": "default", "sandbox": sandbox.url}
    task.render_template_fields({**context(), **rendering})
    rendered = {field: str(getattr(task, field)) for field in task.template_fields}
    assert rendered == {
        "path": csv_url,
        "listid": "33",
        "notifyemail": "contacts@example.com",
        "callback": "**********",
        "smartech_conn_id": "smartech_default",
    }
    assert "s1gnature" not in repr(vars(task))
    assert [run(task)] == submitted(sandbox)
    eventually(lambda: sandbox.state.count() == 3)


def test_an_unknown_choice_is_refused_when_the_dag_is_parsed(csv_url: str) -> None:
    with pytest.raises(ValueError, match="on_unknown_outcome"):
        operator(csv_url, on_unknown_outcome="shrug")
