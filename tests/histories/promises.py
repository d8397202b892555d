"""What must hold in every history, whatever happens in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_provider_smartech.errors import SmartechError, UploadTimeout, UploadUnknown
from airflow_provider_smartech.uploads.upload import State, Upload
from tests.histories.files import Crash
from tests.histories.pingbacks import Kind
from tests.histories.world import IDCS, ROWS, Try

if TYPE_CHECKING:
    from tests.histories.machine import History, Sent


def was_sent_once(history: History, before: Sequence[Sent], new: Sequence[Sent], done: Try) -> None:
    """Nothing is sent twice without a warning, and never if an unknown outcome is to fail."""
    parts = [sent.part for sent in new]
    assert len(parts) == len(set(parts)), f"one try sent {[sent.taken for sent in new]}"
    for part in parts:
        taken = [sent for sent in history.standing if sent.part == part]
        assert not taken, f"{taken[0].taken} was accepted and was under way, and a retry sent it again"
        earlier = [sent for sent in before if sent.run == history.run_number and sent.part == part]
        if history.choices["kind"] == "function":
            # It may submit any other file in each try.
            earlier = [sent for sent in earlier if sent.version == history.version]
        if earlier:
            told = "WARNING" in done.log or "completed before the task or its run was cleared" in done.log
            assert told, "something was sent already, and no word of it is in the log"
        if history.choices["on_unknown_outcome"] == "fail":
            for sent in filter(lambda sent: _is_same(history, sent), earlier):
                handed_over = sent.handed_over is not None and sent.handed_over < history.round
                # A query's rows of now are other ones, once it is known what became of those of before.
                other_rows = history.choices["kind"] == "sql" and sent.round < history.round and sent.is_over
                assert sent.surely_failed or sent.by_rows(history) or handed_over or other_rows, (
                    f"{sent.taken} may have been loaded, and was sent again although on_unknown_outcome is 'fail'"
                )


def standing(history: History) -> list[Sent]:
    """Return what a retry must take: what is known to be accepted, in this round, and has not ended otherwise."""
    found = []
    for sent in history.sent:
        same = (sent.run, sent.round) == (history.run_number, history.round)
        if same and (sent.taken.account, sent.version) == (history.account, history.version):
            upload = _read(history, sent)
            waits = history.choices["waits"] != "a sensor"
            state = history.world.state(upload, history.choices["max_rejected"] if waits else None)
            accepted = upload.answer is not None and upload.answer.outcome == "accepted"
            if accepted and not upload.given_up and state in (State.ACCEPTED, State.IN_PROGRESS, State.COMPLETED):
                found.append(sent)
    return found


def ends_as_it_should(done: Try) -> None:
    """A try ends with an error that was meant, and a time-out ends the task."""
    assert done.error is None or isinstance(done.error, SmartechError | AirflowSensorTimeout | Crash), repr(done.error)
    assert not isinstance(done.error, UploadTimeout) or done.end == "red", "a time-out is tried again"


def is_green_for_good(history: History, done: Try) -> None:
    """A task is green only by uploads of its own file, to its account, in its own run and round, that are loaded."""
    value = done.value["requestids"] if isinstance(done.value, dict) else done.value
    named = value if isinstance(value, list) else [value]
    # The connection and the file may have changed since, while the task was deferred.
    account, version = history.started
    found = history.by_requestids(account, named)
    if len(found) < len(named) and history.forgotten:
        return
    assert len(found) == len(named), f"green by {named}, of which the sandbox knows {found}"
    for sent in found:
        assert sent.version == version, "green by another file's upload"
        assert sent.run == history.run_number, "green by the upload of a DAG run that was deleted"
        assert sent.handed_over in (None, history.round), "green without sending, although it was cleared to send again"
        sent.handed_over = history.round
    if history.choices["waits"] == "a sensor":
        history.pushed = (found[0].taken.account, named[0])
        return
    for sent in found:
        is_loaded(history, sent)
        sent.acted = sent.acted or list(sent.pinged)
    if history.choices["kind"] in ("sql", "s3"):
        assert sum(sent.taken.rows for sent in found) == ROWS, "green, but not all contacts were sent"
        if history.choices["kind"] == "sql" and history.choices["delete_staged"] != "never" and not history.forgotten:
            assert not history.world.staged(), "staged files are left after success"


def is_loaded(history: History, sent: Sent) -> None:
    """Green means that the sandbox holds these contacts, and that no ping-back speaks against it."""
    assert sent.taken.loaded, "green, but the sandbox has not loaded it"
    assert any(kind.says == "good" for kind in sent.said), f"green without a good word: {sent.said}"
    bad = [kind for kind in sent.said if kind.says == "bad" or too_many(history, kind, sent.taken.rows)]
    assert not bad, f"green against {bad}"


def are_all_known(history: History) -> None:
    """What Smartech accepted is recorded, and nowhere shown as not accepted."""
    for sent in history.sent:
        upload = _read(history, sent)
        state = history.world.state(upload)
        assert state is not State.NOT_ACCEPTED, f"{sent.taken} was taken, and is shown as not accepted"


def stay_as_they_were_acted_upon(history: History) -> None:
    """After somebody acted upon what was said, nothing that is said later changes what an upload is."""
    for sent in history.sent:
        upload = _read(history, sent)
        if not upload.conclusions and sent.acted is None:
            continue
        # Also where the process died right after it had kept that.
        sent.acted = sent.acted if sent.acted is not None else list(sent.pinged)
        state = history.world.state(upload)
        sent.concluded = sent.concluded or state
        assert state == sent.concluded, f"{sent.taken} was {sent.concluded}, and is {state}"


def leaks_nothing(history: History) -> None:
    """No secret is in anything that was written, and no contact where none belongs."""
    world = history.world
    secrets = [*world.keys, *world.ids(), "s3cr3t-of-the-link", "X-Amz-Signature="]
    secrets += [email for emails in world.contacts.values() for email in emails]
    texts = [*history.texts, *(f"{name}\n{content!r}" for name, content in world.files.contents().items())]
    history.texts.clear()
    everything = "\n".join(texts)
    found = [secret for secret in secrets if secret in everything]
    assert not found, f"{found} is in what was written: {[text[:2000] for text in texts if found[0] in text][:1]}"


def names_staged_files(history: History) -> None:
    """Every file that is staged in S3 is named in the store."""
    if history.choices["kind"] != "sql" or history.forgotten:
        return
    stagings = [staging for staging in history.world.store.stagings(history.task_try()) if not staging.removed]
    for key in history.world.staged():
        assert any(key.startswith(f"{staging.folder}/") for staging in stagings), f"{key} is named nowhere"


def is_named(history: History, sent: Sent) -> bool:
    """Whether the store knows an upload's requestid by the answer."""
    answer = _read(history, sent).answer
    return answer is not None and answer.requestid == sent.taken.requestid


def was_handed_over(history: History, sent: Sent) -> bool:
    """Whether the store knows that the task has done its part for an upload."""
    return any(handover.reason == "handed over" for handover in _read(history, sent).handovers)


def _is_same(history: History, sent: Sent) -> bool:
    """Whether it is what the task would send now: the same file, and perhaps the same account."""
    return sent.version == history.version and IDCS[sent.taken.account] == IDCS[history.account]


def too_many(history: History, kind: Kind, rows: int) -> bool:
    """Whether a ping-back names more rejected rows than the task allows."""
    most = history.choices["max_rejected"]
    knows = kind.name != "rows lost" or history.choices["kind"] == "sql"
    return most is not None and knows and kind.rejected > (most if isinstance(most, int) else most * rows)


def _read(history: History, sent: Sent) -> Upload:
    try:
        return history.world.store.read(sent.taken.key)
    except UploadUnknown:
        raise AssertionError(f"{sent.taken} was taken, and is known to nobody") from None
