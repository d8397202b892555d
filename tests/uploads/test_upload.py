"""When an upload has ended, and as what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.errors import UploadFailed, UploadNotCompleted, UploadStatusUnrecognised
from airflow_provider_smartech.uploads.statuses import Verdict
from airflow_provider_smartech.uploads.upload import (
    KEY,
    Answer,
    Conclusion,
    PingBack,
    Record,
    State,
    TaskTry,
    Upload,
    key_of,
    new_probe_id,
    new_upload_id,
    secrets_of,
)

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def upload(*payloads: Any, answer: Answer | None = None) -> Upload:
    record = Record(
        key=str(key_of(new_upload_id())), path="https://x/y.csv", smartech_conn_id="c", tracked=True, at=BEGAN
    )
    pingbacks = [PingBack(payload=payload, at=BEGAN + timedelta(seconds=n)) for n, payload in enumerate(payloads, 1)]
    return Upload(record=record, answer=answer, pingbacks=tuple(reversed(pingbacks)))


def test_an_answer_that_was_stored_without_a_reason_is_read() -> None:
    old = Answer.model_validate_json('{"at": "2026-01-02T03:04:05Z", "outcome": "not accepted", "requestid": null}')
    assert (old.outcome, old.reason) == ("not accepted", None)


def test_the_reason_is_short_and_can_be_written() -> None:
    reason = Answer.failed("unknown", "said t0ken \ud800 " + "x" * 1000, ["t0ken"]).model_dump()["reason"]
    assert reason[:20] == "said *** \\ud800 xxxx"
    assert len(reason) == 500


DONE, DONE_ALSO, FAILED = {"status": "completed"}, {"status": "completed", "part": 2}, {"status": "failed"}
QUEUED, ODD = {"status": "queued"}, {"status": "hibernating"}


@pytest.mark.parametrize(
    ("payloads", "expected", "state"),
    [
        ([], 1, State.SUBMITTING),
        ([QUEUED], 1, State.IN_PROGRESS),
        ([QUEUED, DONE], 1, State.COMPLETED),
        ([DONE, QUEUED], 1, State.COMPLETED),
        ([FAILED], 1, State.FAILED),
        ([ODD], 1, State.UNRECOGNISED),
        ([DONE, FAILED], 1, State.FAILED),
        ([FAILED, DONE], 1, State.FAILED),
        ([DONE], 2, State.IN_PROGRESS),
        ([DONE, DONE], 2, State.IN_PROGRESS),
        ([DONE, DONE, DONE_ALSO], 2, State.COMPLETED),
        ([DONE, FAILED], 2, State.FAILED),
        ([ODD, FAILED], 2, State.FAILED),
        ([DONE, ODD], 2, State.UNRECOGNISED),
        ([DONE, DONE_ALSO, FAILED], 2, State.FAILED),
        ([""], 1, State.SUBMITTING),
        (["", QUEUED], 1, State.IN_PROGRESS),
        (["", DONE], 1, State.COMPLETED),
    ],
)
def test_an_upload_ends_with_the_expected_number_of_different_terminal_pingbacks(
    settings: Settings, payloads: list[Any], expected: int, state: State
) -> None:
    assert upload(*payloads).progress(replace(settings.statuses, pingbacks_expected=expected)).state is state


FEWER, MORE = {"status": "completed", "accepted": 0}, {"status": "completed", "accepted": 9}


@pytest.mark.parametrize(
    ("payloads", "seen", "state", "contradicted"),
    [
        ([DONE, FAILED], 0, State.FAILED, True),
        ([FAILED, DONE], 0, State.FAILED, True),
        ([DONE, ODD], 0, State.UNRECOGNISED, True),
        ([DONE, DONE_ALSO, QUEUED, ""], 0, State.COMPLETED, False),
        ([FAILED, FAILED], 0, State.FAILED, False),
        ([DONE, FAILED], 1, State.COMPLETED, True),
        ([FAILED, DONE], 1, State.FAILED, True),
        ([ODD, DONE], 1, State.UNRECOGNISED, True),
        ([QUEUED, DONE, FAILED], 1, State.FAILED, True),
        ([QUEUED, DONE, FAILED], 2, State.COMPLETED, True),
        ([DONE, QUEUED], 1, State.COMPLETED, False),
        ([MORE, FEWER], 0, State.FAILED, True),
        ([MORE, FEWER], 1, State.COMPLETED, True),
    ],
)
def test_the_worst_counts_until_somebody_acted_upon_what_had_come_and_what_comes_later_is_only_told(
    settings: Settings, payloads: list[Any], seen: int, state: State, contradicted: bool
) -> None:
    """``seen`` of the ping-backs, whose clock does not matter, were there when somebody acted."""
    pingbacks = [PingBack(payload=payload, name=f"pingback-{n}.json") for n, payload in enumerate(payloads)]
    concluded = [Conclusion(pingbacks=tuple(one.name for one in pingbacks[:seen]))] if seen else []
    one = upload().model_copy(update={"pingbacks": tuple(pingbacks), "conclusions": tuple(concluded)})
    progress = one.progress(settings.statuses)
    assert (progress.state, progress.contradicted) == (state, contradicted)
    assert progress.surely_failed is (state is State.FAILED and not contradicted)


@pytest.mark.parametrize(
    ("since", "state"),
    [
        ([], State.COMPLETED),
        ([DONE], State.COMPLETED),
        ([QUEUED], State.COMPLETED),
        ([FAILED], State.FAILED),
        ([DONE, {"status": "asleep"}], State.UNRECOGNISED),
    ],
)
def test_what_failed_a_task_is_a_completion_with_a_new_word_only_if_nothing_worse_was_said_since(
    settings: Settings, since: list[Any], state: State
) -> None:
    pingbacks = tuple(PingBack(payload=one, name=f"pingback-{n}.json") for n, one in enumerate([ODD, *since]))
    concluded = Conclusion(pingbacks=(pingbacks[0].name,), state=State.UNRECOGNISED)
    one = upload().model_copy(update={"pingbacks": pingbacks, "conclusions": (concluded,)})
    assert one.progress(settings.statuses).state is State.UNRECOGNISED
    with_word = settings.statuses.adding("completed_words", ["hibernating"])
    assert one.progress(with_word).state is state


words = st.sampled_from(["completed", "hibernating", "asleep", "failed", "queued"])


@given(st.lists(words, min_size=1, max_size=5), st.integers(1, 5), st.lists(words, max_size=2), st.integers(0, 2))
def test_whatever_words_become_known_no_completion_is_made_of_what_anything_said_denies(
    said: list[str], seen: int, known: list[str], rejected: int
) -> None:
    before = Settings.load().statuses
    after = before.adding("completed_words", [word for word in known if word != "failed"])
    pingbacks = tuple(
        PingBack(payload={"status": word, "rejected": rejected, "n": n}, name=f"pingback-{n}.json")
        for n, word in enumerate(said)
    )
    acted = upload().model_copy(update={"pingbacks": pingbacks[:seen]})
    concluded = Conclusion(pingbacks=tuple(one.name for one in acted.pingbacks), state=acted.progress(before, 1).state)
    one = upload().model_copy(update={"pingbacks": pingbacks, "conclusions": (concluded,)})
    state = one.progress(after).state
    if concluded.state is not State.COMPLETED and state is State.COMPLETED:
        assert all(after.verdict({"status": word}) in (Verdict.COMPLETED, Verdict.IN_PROGRESS) for word in said)
    elif concluded.state in (State.FAILED, State.COMPLETED) and rejected < 2:
        assert state is concluded.state


def test_of_two_who_act_at_the_same_moment_whoever_saw_the_worse_decides_for_both(settings: Settings) -> None:
    said: list[Any] = [DONE, FAILED, ODD]
    pingbacks = tuple(PingBack(payload=payload, name=f"pingback-{n}.json") for n, payload in enumerate(said))
    concluded = tuple(Conclusion(pingbacks=tuple(one.name for one in pingbacks[:seen])) for seen in (2, 1))
    one = upload().model_copy(update={"pingbacks": pingbacks, "conclusions": concluded})
    assert one.progress(settings.statuses).state is State.FAILED


@pytest.mark.parametrize(
    ("requestid", "named", "state"),
    [
        ("r1", ["r1"], State.COMPLETED),
        ("r1", ["r2"], State.UNRECOGNISED),
        (None, ["r2"], State.COMPLETED),
        (None, ["r2", "r2"], State.COMPLETED),
        (None, ["r2", "r3"], State.UNRECOGNISED),
    ],
)
def test_only_pingbacks_that_can_be_about_the_upload_complete_it(
    settings: Settings, requestid: str | None, named: list[str], state: State
) -> None:
    answer = Answer(outcome="accepted" if requestid else "unknown", requestid=requestid)
    payloads = [{"status": "completed", "requestid": name, "part": part} for part, name in enumerate(named)]
    assert upload(*payloads, answer=answer).progress(settings.statuses).state is state


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer(outcome="accepted", requestid="r"), State.ACCEPTED),
        (Answer(outcome="not accepted"), State.NOT_ACCEPTED),
        (Answer(outcome="unknown"), State.OUTCOME_UNKNOWN),
    ],
)
def test_without_pingbacks_the_answer_is_what_is_known(settings: Settings, answer: Answer, state: State) -> None:
    assert upload(answer=answer).progress(settings.statuses).state is state


def test_the_summary_of_a_completed_upload_is_small_and_complete(settings: Settings) -> None:
    done = upload(QUEUED, {"status": "completed", "total": 5}, answer=Answer(outcome="accepted", requestid="r1"))
    assert done.summary(done.progress(settings.statuses), settings.statuses) == {
        "requestid": "r1",
        "state": "completed",
        "rows": 5,
        "accepted": None,
        "rejected": None,
        "counts": {"total": 5},
        "submitted_at": "2026-01-02T03:04:05+00:00",
        "completed_at": "2026-01-02T03:04:07+00:00",
        "seconds": 2.0,
        "payload": {"status": "completed", "total": 5},
    }


@pytest.mark.parametrize(("payload", "error"), [(FAILED, UploadFailed), (ODD, UploadStatusUnrecognised)])
def test_what_is_not_completed_has_no_summary_but_an_error_with_the_payload(
    settings: Settings, payload: Any, error: type[UploadNotCompleted]
) -> None:
    ended = upload(payload, answer=Answer(outcome="accepted", requestid="r1"))
    with pytest.raises(error, match="r1") as caught:
        ended.summary(ended.progress(settings.statuses), settings.statuses)
    assert caught.value.payloads == [payload]
    assert str(payload) in str(caught.value)


def test_an_upload_that_has_not_ended_has_no_summary(settings: Settings) -> None:
    waiting = upload()
    with pytest.raises(UploadNotCompleted):
        waiting.summary(waiting.progress(settings.statuses), settings.statuses)


def test_the_key_stands_in_for_a_requestid_that_is_not_known() -> None:
    assert upload(answer=Answer(outcome="accepted", requestid="r1")).requestid == "r1"
    nameless = upload({"requestid": "of-somebody-else"})
    assert nameless.requestid == nameless.key


def test_upload_ids_are_different_and_their_keys_do_not_contain_them() -> None:
    ids = {new_upload_id() for _ in range(100)}
    keys = {key_of(upload_id) for upload_id in ids}
    assert len(ids) == len(keys) == 100
    assert not any(upload_id.partition("-")[2] in str(key) for upload_id in ids for key in keys)


def test_the_key_of_a_probe_is_no_key_of_an_upload() -> None:
    probe_id = new_probe_id()
    key = str(key_of(probe_id))
    assert KEY.fullmatch(key) is None
    assert KEY.fullmatch(key.removeprefix("probe-"))
    assert key.removeprefix("probe-") != key_of(probe_id.removeprefix("probe-"))
    assert secrets_of(probe_id)[1] == secrets_of(probe_id.removeprefix("probe-"))[1]
    assert secrets_of(probe_id)[1] not in key


@given(st.text() | st.from_regex(r"(probe-){0,2}20\d{6}T\d{6}-[A-Za-z0-9_-]{42,44}", fullmatch=True))
def test_only_the_form_of_an_id_has_a_key(text: str) -> None:
    key = key_of(text)
    length = len(text.removeprefix("probe-"))
    assert (key is None) or (length == 59 and text.isascii() and "/" not in text and "\n" not in text)


def test_only_a_try_of_the_same_run_is_followed_and_only_without_a_clearing_retried() -> None:
    first = TaskTry(dag_id="d", run_id="r", task_id="t", try_number=1, max_tries=2, run_started=BEGAN)

    def then(**changes: Any) -> TaskTry:
        return first.model_copy(update={"try_number": 2, **changes})

    later = BEGAN + timedelta(hours=1)
    assert then().follows(first)
    assert then().retries(first)
    assert then(max_tries=3).follows(first)
    assert not then(max_tries=3).retries(first)
    assert not then(run_started=later).follows(first)
    assert not then(run_started=None).follows(first.model_copy(update={"run_started": None}))
    assert not first.follows(first)
