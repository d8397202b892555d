"""Waiting in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.triggers import Poll, SmartechBulkUploadTrigger
from airflow_provider_smartech.uploads.local_folder import LocalFolder
from airflow_provider_smartech.uploads.s3_folder import S3Folder
from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack, Progress, Record, Upload, key_of, new_upload_id
from tests.support.servers import eventually_on_loop
from tests.support.tasks import first_event, rebuilt, run_trigger

DONE, QUEUED = PingBack(payload={"status": "completed"}), PingBack(payload={"status": "queued"})


def created(store: UploadStore) -> str:
    key = str(key_of(new_upload_id()))
    store.create(Record(key=key, path="https://x.example.com/y.csv", smartech_conn_id="c", tracked=True))
    return key


def trigger(key: str, seconds: float = 30.0) -> SmartechBulkUploadTrigger:
    made = rebuilt(SmartechBulkUploadTrigger([key], datetime.now(UTC).timestamp() + seconds))
    assert isinstance(made, SmartechBulkUploadTrigger)
    return made


def news(payload: Any) -> PingBack:
    return PingBack(payload=payload, at=datetime.now(UTC))


async def turns(count: int = 5) -> None:
    """Let a few of the poll's intervals pass."""
    await asyncio.sleep(0.05 * count)


def together(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    async def gather() -> list[Any]:
        return list(await asyncio.wait_for(asyncio.gather(*coroutines), 20))

    return asyncio.run(gather())


def test_it_is_rebuilt_from_what_it_serializes() -> None:
    original = SmartechBulkUploadTrigger(["20260101T000000-" + "a" * 40], 12.5)
    again = rebuilt(original)
    assert again.serialize() == original.serialize()
    assert again is not original


def test_no_event_comes_before_a_supervisor_has_woken_up(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow fails a task that resumes before its deferral was reported."""
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "1")
    key = created(store)
    store.add_pingback(key, DONE)
    began = datetime.now(UTC)
    assert run_trigger(trigger(key)) == {"keys": [key], "event": "ended", "message": ""}
    assert run_trigger(trigger(created(store), 0.0))["event"] == "timed out"
    assert (datetime.now(UTC) - began).total_seconds() >= 4.0


def test_it_waits_until_the_last_of_several_uploads_has_ended(store: UploadStore) -> None:
    keys = [created(store) for _ in range(3)]
    told: list[str] = []

    async def ping() -> None:
        for key in (keys[2], keys[0], keys[1]):
            await turns()
            told.append(key)
            store.add_pingback(key, news({"status": "failed" if key == keys[0] else "completed"}))

    async def event() -> Any:
        deadline = datetime.now(UTC).timestamp() + 30
        payload = await first_event(rebuilt(SmartechBulkUploadTrigger(keys, deadline)))
        assert len(told) == 3
        return payload

    assert together(event(), ping())[0] == {"keys": keys, "event": "ended", "message": ""}


@pytest.mark.parametrize("status", ["completed", "failed", "hibernating"])
def test_a_pingback_that_comes_while_waiting_ends_the_wait(store: UploadStore, status: str) -> None:
    key = created(store)

    async def ping() -> None:
        await turns()
        store.add_pingback(key, news({"status": "queued"}))
        await turns()
        store.add_pingback(key, news({"status": status}))

    assert together(first_event(trigger(key)), ping())[0]["event"] == "ended"


def test_a_pingback_in_progress_does_not_end_the_wait(store: UploadStore) -> None:
    key = created(store)
    store.add_pingback(key, QUEUED)
    assert run_trigger(trigger(key, 0.5))["event"] == "timed out"


def test_the_deadline_holds_when_the_trigger_is_moved(store: UploadStore) -> None:
    key = created(store)
    first = trigger(key, 1.0)

    async def cut_off() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(first_event(first), 0.3)

    began = datetime.now(UTC)
    asyncio.run(cut_off())
    assert run_trigger(rebuilt(first))["event"] == "timed out"
    assert 0.9 < (datetime.now(UTC) - began).total_seconds() < 3


def test_an_upload_that_ended_while_no_triggerer_ran_is_seen_by_the_next(store: UploadStore) -> None:
    key = created(store)
    waiting = trigger(key)

    async def cut_off() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(first_event(waiting), 0.3)

    asyncio.run(cut_off())
    store.add_pingback(key, DONE)
    assert run_trigger(rebuilt(waiting))["event"] == "ended"


def test_two_triggers_may_wait_for_one_upload(store: UploadStore) -> None:
    key = created(store)

    async def ping() -> None:
        await turns()
        store.add_pingback(key, news({"status": "completed"}))

    first, second, _ = together(first_event(trigger(key)), first_event(trigger(key)), ping())
    assert first == second == {"keys": [key], "event": "ended", "message": ""}


def test_each_trigger_says_now_and_then_in_its_own_log_that_it_still_waits(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow tells the logs of triggers apart by their contexts."""
    monkeypatch.setattr("airflow_provider_smartech.triggers.REMINDER_SECONDS", 0.1)
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")
    lines: list[tuple[str, str]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((whose.get(), record.getMessage()))

    def of(key: str) -> list[str]:
        return [line for name, line in lines if name == key]

    async def waiting(key: str) -> None:
        whose.set(key)
        event = asyncio.create_task(first_event(trigger(key)))
        await eventually_on_loop(lambda: len(of(key)) > 1)
        store.add_pingback(key, DONE)
        assert (await event)["event"] == "ended"
        said = of(key)
        await asyncio.sleep(0.3)
        assert of(key) == said, "it says so although it waits no more"

    keys, handler = [created(store), created(store)], Lines()
    logger = logging.getLogger("airflow_provider_smartech.triggers")
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.addHandler(handler)
    try:
        together(*map(waiting, keys))
    finally:
        logger.removeHandler(handler)
    for key in keys:
        assert all(one.startswith(f"Still waiting for Smartech to complete upload {key}, until 20") for one in of(key))


def test_a_round_costs_the_same_however_many_wait(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in calls of the store, for one waiting trigger and for a hundred."""
    rounds: list[None] = []
    reads: list[str] = []
    arrivals, read = UploadStore.arrivals, UploadStore.read

    def counted_arrivals(self: UploadStore) -> dict[str, str]:
        rounds.append(None)
        return arrivals(self)

    def counted_read(self: UploadStore, key: str, known: Upload | None = None) -> Upload:
        reads.append(key)
        return read(self, key, known)

    monkeypatch.setattr(UploadStore, "arrivals", counted_arrivals)
    monkeypatch.setattr(UploadStore, "read", counted_read)

    async def reads_per_round(waiting: int) -> float:
        keys = {created(store) for _ in range(waiting)}
        tasks = [asyncio.create_task(first_event(trigger(key))) for key in keys]
        # Each looks once by itself, when it begins.
        await eventually_on_loop(lambda: keys <= set(reads))
        rounds.clear()
        reads.clear()
        await eventually_on_loop(lambda: len(rounds) >= 10)
        cost = len(reads) / len(rounds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return cost

    for waiting in (1, 100):
        assert asyncio.run(reads_per_round(waiting)) <= 1.2


def test_one_bad_record_fails_its_own_wait_and_no_other(store: UploadStore) -> None:
    bad, good = created(store), created(store)

    async def spoil() -> None:
        await turns()
        folder = Path(store.shown_url.removeprefix("file://")) / "uploads" / bad[:8] / bad
        (folder / "pingback-x.json").write_text("{", "utf-8")
        store.add_pingback(bad, news({"status": "completed"}))
        await turns()
        store.add_pingback(good, news({"status": "completed"}))

    bad_event, good_event, _ = together(first_event(trigger(bad)), first_event(trigger(good)), spoil())
    assert bad_event["event"] == "error"
    assert "pingback-x.json" in bad_event["message"]
    assert good_event["event"] == "ended"


def test_a_file_that_is_gone_between_listing_and_reading_fails_no_other_wait(store: UploadStore) -> None:
    bad, good = created(store), created(store)
    folder = Path(store.shown_url.removeprefix("file://")) / "uploads" / bad[:8] / bad

    async def spoil() -> None:
        await turns()
        (folder / "pingback-gone.json").symlink_to(folder / "nowhere")
        store.add_pingback(bad, news({"status": "completed"}))
        await turns()
        store.add_pingback(good, news({"status": "completed"}))

    bad_event, good_event, _ = together(first_event(trigger(bad)), first_event(trigger(good)), spoil())
    assert (bad_event["event"], good_event["event"]) == ("error", "ended")


def test_an_unknown_upload_is_an_error_at_once(store: UploadStore) -> None:
    event = run_trigger(trigger(str(key_of(new_upload_id()))))
    assert event["event"] == "error"
    assert "upload_store" in event["message"]


def test_a_store_that_is_away_for_a_while_only_delays(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key = created(store)
    names = LocalFolder.names

    def away(self: LocalFolder, folder: str) -> list[str]:
        raise UploadStoreError("away")

    async def go_away_and_come_back() -> None:
        await turns()
        monkeypatch.setattr(LocalFolder, "names", away)
        store.add_pingback(key, news({"status": "completed"}))
        await turns()
        monkeypatch.setattr(LocalFolder, "names", names)

    assert together(first_event(trigger(key)), go_away_and_come_back())[0]["event"] == "ended"


def test_a_store_that_is_away_at_first_only_delays(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key = created(store)
    store.add_pingback(key, DONE)
    names = LocalFolder.names

    def away(self: LocalFolder, folder: str) -> list[str]:
        raise UploadStoreError("away")

    monkeypatch.setattr(LocalFolder, "names", away)

    async def come_back() -> None:
        await turns()
        monkeypatch.setattr(LocalFolder, "names", names)

    assert together(first_event(trigger(key)), come_back())[0]["event"] == "ended"


@pytest.mark.once
def test_an_upload_with_many_pingbacks_delays_no_other_s_news_and_each_is_read_once(
    s3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", s3_folder)
    store = open_upload_store(s3_folder)
    many, other = created(store), created(store)
    with ThreadPoolExecutor(16) as writers:
        list(writers.map(lambda n: store.add_pingback(many, news({"status": "queued", "row": n})), range(300)))
    told, files, read = threading.Event(), list[str](), S3Folder.read

    def held(self: S3Folder, name: str) -> bytes | None:
        if many in name and "pingback-" in name:
            files.append(name)
            # Until the other upload's news was told, or the test has failed.
            told.wait(20)
        return read(self, name)

    monkeypatch.setattr(S3Folder, "read", held)

    async def others() -> None:
        await eventually_on_loop(lambda: bool(files))
        await asyncio.to_thread(store.add_pingback, other, news({"status": "completed"}))
        assert (await first_event(trigger(other)))["event"] == "ended"
        assert len(files) == 1, "the first file of many is read all the time"
        told.set()
        await asyncio.to_thread(store.add_pingback, many, news({"status": "completed"}))

    async def gather() -> Any:
        return await asyncio.wait_for(asyncio.gather(first_event(trigger(many)), others()), 60)

    assert asyncio.run(gather())[0]["event"] == "ended"
    assert len(files) == len(set(files)) == 301


@pytest.mark.parametrize("minutes", [-30, 30])
def test_a_receiver_whose_clock_is_wrong_delays_nothing(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(minutes=minutes)

    # Else each upload is looked at in turn as well.
    monkeypatch.setattr(Poll, "_next_in_turn", lambda self: set())
    keys = [created(store) for _ in range(3)]

    async def ping() -> None:
        for key in keys:
            await turns()
            with monkeypatch.context() as patch:
                patch.setattr("airflow_provider_smartech.uploads.store.datetime", Wrong)
                store.add_pingback(key, PingBack(payload={"status": "completed"}, at=Wrong.now(UTC)))

    events = together(*(first_event(trigger(key)) for key in keys), ping())[:-1]
    assert [event["event"] for event in events] == ["ended"] * 3


def test_news_is_removed_after_a_while_when_every_triggerer_has_seen_it(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Poll, "_next_in_turn", lambda self: set())
    idle, keys = created(store), [created(store) for _ in range(5)]

    async def wait() -> None:
        # Another poll beside the first one is another triggerer.
        first, second = Poll.shared(), Poll()
        waits = [asyncio.create_task(poll.wait([key])) for poll in (first, second) for key in (idle, *keys)]
        for key in keys:
            await turns(2)
            store.add_pingback(key, news({"status": "completed"}))
        await eventually_on_loop(lambda: sum(one.done() for one in waits) == 10)
        assert len(store.arrivals()) == 5, "a triggerer that is slow has yet to see them"
        monkeypatch.setattr("airflow_provider_smartech.triggers.SWEEP_AFTER_SECONDS", 0.0)
        await eventually_on_loop(lambda: not store.arrivals())
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    asyncio.run(wait())


def test_a_triggerer_without_the_store_finds_what_others_have_removed_meanwhile(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_smartech.triggers.SWEEP_AFTER_SECONDS", 0.2)
    monkeypatch.setattr(Poll, "_next_in_turn", lambda self: set())
    key, arrivals, failed = created(store), UploadStore.arrivals, list[None]()

    def listed(self: UploadStore) -> dict[str, str]:
        if len(failed) < 20:
            failed.append(None)
            raise UploadStoreError("away for a moment")
        return arrivals(self)

    monkeypatch.setattr(UploadStore, "arrivals", listed)

    async def wait() -> None:
        poll = Poll.shared()
        waiting = asyncio.create_task(poll.wait([key]))
        await eventually_on_loop(lambda: bool(failed) and not poll._looks)
        store.add_pingback(key, news({"status": "completed"}))
        store.sweep(arrivals(store))
        await asyncio.wait_for(waiting, 20)
        assert len(failed) == 20

    asyncio.run(wait())


def test_a_large_pingback_is_read_beside_the_event_loop(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key, judge, threads = created(store), Upload.progress, set[threading.Thread]()

    def judged(self: Upload, statuses: Statuses) -> Progress:
        threads.add(threading.current_thread())
        return judge(self, statuses)

    monkeypatch.setattr(Upload, "progress", judged)
    store.add_pingback(key, news({"status": "completed"}))
    run_trigger(trigger(key))
    assert threads
    assert threading.main_thread() not in threads


def test_news_without_an_arrival_is_found_in_the_end(store: UploadStore) -> None:
    """As when the receiver is cut off between its two writes."""
    keys = [created(store) for _ in range(5)]

    async def ping_without_telling() -> None:
        await turns()
        for key in keys:
            store._write(f"uploads/{key[:8]}/{key}/pingback-late.json", news({"status": "completed"}))

    events = together(*(first_event(trigger(key)) for key in keys), ping_without_telling())[:-1]
    assert [event["event"] for event in events] == ["ended"] * 5


def test_a_poll_that_breaks_off_fails_all_who_wait(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [created(store) for _ in range(2)]

    def broken(self: UploadStore) -> dict[str, str]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(UploadStore, "arrivals", broken)

    async def gather() -> list[Any]:
        waits = [first_event(trigger(key)) for key in keys]
        return list(await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 20))

    assert [str(error) for error in asyncio.run(gather())] == ["a bug", "a bug"]


def test_news_that_cannot_be_removed_delays_nobody(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def denied(self: LocalFolder, names: Iterable[str]) -> None:
        tried.extend(names)
        raise UploadStoreError("access denied")

    monkeypatch.setattr(LocalFolder, "remove", denied)
    monkeypatch.setattr("airflow_provider_smartech.triggers.SWEEP_AFTER_SECONDS", 0.0)
    awaited, other = created(store), created(store)

    async def ping() -> None:
        store.add_pingback(other, news({"status": "completed"}))
        await eventually_on_loop(lambda: bool(tried))
        store.add_pingback(awaited, news({"status": "completed"}))

    # Many others wait, so that its turn would come too late.
    waiting = [created(store) for _ in range(200)]

    async def both() -> Any:
        others = [asyncio.create_task(first_event(trigger(key))) for key in waiting]
        event, _ = await asyncio.gather(asyncio.wait_for(first_event(trigger(awaited)), 5), ping())
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return event

    assert asyncio.run(both())["event"] == "ended"


def test_the_poll_ends_with_the_last_who_waits_and_begins_again_with_the_next(store: UploadStore) -> None:
    async def twice() -> None:
        for _ in range(2):
            key = created(store)
            task = asyncio.create_task(first_event(trigger(key)))
            await turns()
            assert len(asyncio.all_tasks()) == 3
            store.add_pingback(key, news({"status": "completed"}))
            assert (await asyncio.wait_for(task, 10))["event"] == "ended"
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1
        assert not Poll.shared()._waiting

    asyncio.run(twice())


def test_a_trigger_over_s3_waits_as_well(s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", s3_folder)
    store = open_upload_store(s3_folder)
    key = created(store)

    async def ping() -> None:
        await turns()
        await asyncio.to_thread(store.add_pingback, key, news({"status": "completed"}))

    assert together(first_event(trigger(key)), ping())[0]["event"] == "ended"
