"""The operator: what it returns, how it waits, and what it makes of templates."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.sdk import DAG, Asset
from airflow.sdk._shared.secrets_masker import redact
from airflow.sdk.execution_time.context import set_current_context

from airflow_provider_smartech.errors import (
    SmartechOutcomeUnknown,
    SmartechRefused,
    UploadFailed,
    UploadRowsRejected,
    UploadStatusUnrecognised,
    UploadTimeout,
)
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.operators import (
    HostedFile,
    SmartechBaseOperator,
    SmartechBulkUploadOperator,
    submit_upload,
)
from airflow_provider_smartech.redaction import SecretUrl
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.sensors import SmartechBulkUploadSensor
from airflow_provider_smartech.tasks.submission import Submission
from airflow_provider_smartech.uploads.store import UploadStore
from tests.support.contacts import write_contacts
from tests.support.file_server import FileServer
from tests.support.servers import eventually
from tests.support.submissions import CLEARED, FIRST, RETRY, crashing, operator, submitted
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


def test_a_deferred_wait_tells_airflow_only_what_it_waits_for_and_until_when(
    sandbox: SandboxServer, csv_url: str
) -> None:
    sandbox.faults = frozenset({Fault.PINGBACK_LATE})
    with pytest.raises(TaskDeferred) as deferred:
        operator(csv_url, wait_for_completion=True, deferrable=True, timeout=60).execute(context())
    assert deferred.value.trigger.serialize()[1].keys() == {"keys", "enough", "deadline"}
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
    with pytest.raises(ValueError, match="max_rejected must be"):
        operator(csv_url, max_rejected=wrong, wait_for_completion=True)


def test_a_limit_of_rejected_rows_is_refused_where_the_task_does_not_wait(csv_url: str) -> None:
    with pytest.raises(ValueError, match="max_rejected does nothing without wait_for_completion=True"):
        operator(csv_url, max_rejected=10)


def test_a_header_alone_is_no_success(sandbox: SandboxServer, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("EMAIL\n", "utf-8")
    with FileServer(tmp_path) as files, pytest.raises(UploadRowsRejected, match=r"x\.csv.*0 accepted"):
        run(operator(f"{files.url}/x.csv", wait_for_completion=True))


def test_a_time_limit_of_airflow_that_ends_the_wait_early_is_warned_of(
    sandbox: SandboxServer, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    run(operator(csv_url, wait_for_completion=True, execution_timeout=timedelta(seconds=45), timeout=60))
    assert "execution_timeout (0:00:45) ends this task before timeout (0:01:00)" in caplog.text
    caplog.clear()
    run(operator(csv_url, wait_for_completion=True, execution_timeout=timedelta(seconds=61), timeout=60))
    assert "execution_timeout" not in caplog.text


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


# --- from a task in Python ---------------------------------------------------------------------------------------


@contextmanager
def running(ti: FakeTaskInstance, *outlets: object) -> Iterator[None]:
    """Run what follows as the code of a task."""
    running_context: Any = {**context(ti), "task": SimpleNamespace(outlets=[*outlets])}
    with set_current_context(running_context):
        yield


def submit(ti: FakeTaskInstance, *urls: str, **arguments: Any) -> list[str]:
    """Submit these files in one try of a task."""
    with running(ti):
        return [submit_upload(url, **{"listid": 33, **arguments}) for url in urls]


@pytest.fixture
def urls(csv_url: str) -> list[str]:
    """Three files."""
    return [f"{csv_url}?file={name}" for name in "abc"]


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.WARNING):
        yield caplog


class TestSubmitUpload:
    def test_a_task_in_python_submits_what_a_sensor_can_wait_for(
        self, sandbox: SandboxServer, store: UploadStore, csv_url: str
    ) -> None:
        ti = FakeTaskInstance(dag_id="d", task_id="python", try_number=2, map_index=7)
        [requestid] = submit(ti, csv_url, notifyemail="ops@example.com")
        assert [requestid] == submitted(sandbox)
        upload = store.find(requestid)
        assert (upload.record.listid, upload.record.tracked) == (33, True)
        assert [(one.reason, one.task) for one in upload.handovers] == [("handed over", upload.record.task)]
        assert upload.record.task
        assert (upload.record.task.dag_id, upload.record.task.map_index) == ("d", 7)
        wait = SmartechBulkUploadSensor(task_id="wait", requestid=requestid, poke_interval=0.05, deferrable=False)
        assert run(wait, FakeTaskInstance(task_id="wait"))["state"] == "completed"

    def test_a_retry_sends_nothing_again_whatever_the_order_of_the_calls(
        self, sandbox: SandboxServer, urls: list[str], warnings: pytest.LogCaptureFixture
    ) -> None:
        first = submit(FIRST, *urls[:2])
        assert submit(RETRY, urls[1], urls[2], urls[0]) == [first[1], submitted(sandbox)[2], first[0]]
        assert submit(FakeTaskInstance(try_number=3), *urls) == submitted(sandbox)
        assert warnings.text == ""

    @pytest.mark.parametrize("on_unknown_outcome", ["resubmit", "fail"])
    def test_a_retry_goes_on_where_the_try_before_died(
        self, sandbox: SandboxServer, urls: list[str], warnings: pytest.LogCaptureFixture, on_unknown_outcome: str
    ) -> None:
        with crashing(Submission, "hand_over", after=False):
            submit(FIRST, urls[0])
        assert submit(RETRY, *urls, on_unknown_outcome=on_unknown_outcome) == submitted(sandbox)
        assert len(submitted(sandbox)) == 3
        assert warnings.text == ""

    def test_the_same_file_twice_is_two_uploads_each_of_which_a_retry_takes_once(
        self, sandbox: SandboxServer, csv_url: str, warnings: pytest.LogCaptureFixture
    ) -> None:
        [first] = submit(FIRST, csv_url)
        second = submit(RETRY, csv_url, csv_url)
        assert second == [first, submitted(sandbox)[1]]
        assert sorted(submit(FakeTaskInstance(try_number=3), csv_url, csv_url)) == sorted(submitted(sandbox))
        assert len(submitted(sandbox)) == 2
        assert len(submit(FakeTaskInstance(task_id="other"), csv_url, csv_url)) == 2
        assert len(submitted(sandbox)) == 4
        assert warnings.text == ""

    def test_one_file_may_go_to_several_lists(
        self, sandbox: SandboxServer, csv_url: str, warnings: pytest.LogCaptureFixture
    ) -> None:
        submit(FIRST, csv_url, listid=33)
        for ti in (RETRY, FakeTaskInstance(try_number=3)):
            for listid in (34, 33):
                submit(ti, csv_url, listid=listid)
        assert [upload["listid"] for upload in sandbox.state.uploads()] == [34, 33]
        assert warnings.text == ""

    def test_one_file_may_go_to_several_accounts(
        self, accounts: dict[str, SandboxServer], csv_url: str, warnings: pytest.LogCaptureFixture
    ) -> None:
        submit(FIRST, csv_url, smartech_conn_id="retail")
        for ti in (RETRY, FakeTaskInstance(try_number=3)):
            for name in ("travel", "retail"):
                assert submit(ti, csv_url, smartech_conn_id=name) == ["r1"]
        assert [len(server.state.uploads()) for server in accounts.values()] == [1, 1]
        assert warnings.text == ""

    def test_a_file_that_was_refused_and_then_accepted_in_one_try_is_not_sent_again_by_a_retry(
        self, sandbox: SandboxServer, csv_url: str, warnings: pytest.LogCaptureFixture
    ) -> None:
        sandbox.fail_next(Fault.INVALID_KEY)
        with pytest.raises(SmartechRefused):
            submit(FIRST, csv_url)
        assert submit(FIRST, csv_url) == submit(RETRY, csv_url) == submitted(sandbox)
        assert warnings.text == ""

    def test_an_unknown_outcome_is_sent_again_with_a_warning_and_concerns_no_other_file(
        self, sandbox: SandboxServer, urls: list[str], warnings: pytest.LogCaptureFixture
    ) -> None:
        [first] = submit(FIRST, urls[0])
        sandbox.fail_next(Fault.CUT_AFTER, Fault.NO_PINGBACK)
        with pytest.raises(SmartechOutcomeUnknown):
            submit(FIRST, urls[1])
        assert submit(RETRY, urls[0], urls[2]) == [first, submitted(sandbox)[2]]
        assert warnings.text == ""
        assert submit(RETRY, urls[1]) == [submitted(sandbox)[3]]
        assert "it is not known whether Smartech loaded it" in warnings.text

    @pytest.mark.parametrize("ti", [RETRY, CLEARED])
    def test_after_an_unknown_outcome_nothing_is_sent_if_told_so_not_even_another_file(
        self, sandbox: SandboxServer, urls: list[str], ti: FakeTaskInstance
    ) -> None:
        [first] = submit(FIRST, urls[0])
        sandbox.fail_next(Fault.CUT_AFTER, Fault.NO_PINGBACK)
        with pytest.raises(SmartechOutcomeUnknown):
            submit(FIRST, urls[1])
        if ti is RETRY:
            assert submit(ti, urls[0], on_unknown_outcome="fail") == [first]
        for url in urls[1:] if ti is RETRY else urls:
            with pytest.raises(SmartechOutcomeUnknown, match="nothing is sent again"):
                submit(ti, url, on_unknown_outcome="fail")
        assert len(submitted(sandbox)) == 2

    def test_clearing_the_task_uploads_again(self, sandbox: SandboxServer, urls: list[str]) -> None:
        sent = submit(FIRST, *urls[:2])
        assert [*sent, *submit(CLEARED, *urls[:2], on_unknown_outcome="fail")] == submitted(sandbox)
        assert len(submitted(sandbox)) == 4

    def test_once_cleared_what_was_sent_again_settles_the_file_s_unknown_outcome(
        self, sandbox: SandboxServer, csv_url: str
    ) -> None:
        sandbox.fail_next(Fault.CUT_AFTER, Fault.NO_PINGBACK)
        with pytest.raises(SmartechOutcomeUnknown):
            submit(FIRST, csv_url)
        submit(RETRY, csv_url)
        submit(FakeTaskInstance(try_number=3, max_tries=4), csv_url, on_unknown_outcome="fail")
        assert len(submitted(sandbox)) == 3

    def test_a_try_that_died_before_the_answer_is_in_doubt(
        self, sandbox: SandboxServer, csv_url: str, warnings: pytest.LogCaptureFixture
    ) -> None:
        with crashing(SmartechHook, "submit", after=False):
            submit(FIRST, csv_url)
        assert submit(RETRY, csv_url) == submitted(sandbox)
        assert "it is not known whether Smartech loaded it" in warnings.text

    def test_the_query_of_the_path_is_shown_nowhere(
        self, sandbox: SandboxServer, store: UploadStore, csv_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        signed = f"{csv_url}?X-Amz-Signature=s1gnature0123456789"
        with crashing(SmartechHook, "submit", after=False):
            submit(FIRST, signed)
        assert redact("see s1gnature0123456789") == "see ***", "it is hidden from the beginning"
        with caplog.at_level(logging.DEBUG, "airflow_provider_smartech"):
            submit(FakeTaskInstance(task_id="other"), signed)
        assert "s1gnature" not in "".join(one.message for one in caplog.records if "sandbox" not in one.name)
        assert {store.read(key).record.path for key in [*store.keys()]} == {csv_url}

    def test_outside_of_a_task_and_with_what_a_task_must_not_do_nothing_is_sent(
        self, sandbox: SandboxServer, csv_url: str
    ) -> None:
        with pytest.raises(RuntimeError, match="submit_upload needs a running task"):
            submit_upload(csv_url)
        with pytest.raises(ValueError, match="on_unknown_outcome"):
            submit(FIRST, csv_url, on_unknown_outcome="shrug")
        with running(FIRST, Asset("smartech://us/33")), pytest.raises(ValueError, match="outlets"):
            submit_upload(csv_url)
        with pytest.raises(ValueError, match="path"):
            submit(FIRST, "contacts.csv")
        assert submitted(sandbox) == []


class FromElsewhere(SmartechBaseOperator):
    """An operator of one's own, whose URL is signed when it is sent."""

    signed = ""

    def hosted(self, submission: Submission) -> list[HostedFile]:
        return [HostedFile(plain_url=self.signed.partition("?")[0], make_url=lambda: SecretUrl(self.signed))]


@pytest.mark.parametrize("query", ["X-Amz-Signature=" + "deadbeef" * 8, "token=s1gnature0123456789"])
def test_the_url_of_an_operator_of_one_s_own_is_hidden_as_well(
    sandbox: SandboxServer, csv_url: str, query: str
) -> None:
    task = FromElsewhere(task_id="upload")
    task.signed = f"{csv_url}?{query}"
    run(task)
    secret = query.partition("=")[2]
    assert secret not in redact(f"sent {task.signed}")
    assert submitted(sandbox)
