"""The contract of the upload store, over a local folder, memory and S3."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from airflow.sdk.io import attach

from airflow_provider_smartech.config.upload_store import open_folder, open_upload_store
from airflow_provider_smartech.errors import UploadAmbiguous, UploadRecordUnreadable, UploadUnknown
from airflow_provider_smartech.uploads.folder import Folder
from airflow_provider_smartech.uploads.staged_files import StagedFiles, Staging
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import (
    PROBE,
    Answer,
    Handover,
    PingBack,
    key_of,
    new_probe_id,
    new_upload_id,
)
from tests.support.records import record, task


@pytest.fixture(params=["file", "memory", "s3", "s3 bucket root"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UploadStore]:
    if request.param == "file":
        yield open_upload_store(f"file://{tmp_path}/not/there/yet")
    elif request.param == "memory":
        # Airflow knows no memory:// by itself.
        attach("memory", fs=fsspec.filesystem("memory"))
        yield open_upload_store(f"memory://{uuid.uuid4().hex}")
    else:
        folder: str = request.getfixturevalue("s3_folder")
        yield open_upload_store(folder.removesuffix("/prefix") if "root" in request.param else folder)


def test_an_upload_is_read_as_it_was_written(store: UploadStore) -> None:
    kept = record(listid=3, task=task())
    store.create(kept)
    answer = Answer(outcome="accepted", requestid="r1")
    store.answered(kept.key, answer)
    pingbacks = [PingBack(payload={"n": n, "ü": ["\x00", None]}) for n in range(3)]
    for pingback in pingbacks:
        store.add_pingback(kept.key, pingback)
    handover = Handover(reason="handed over", task=task())
    store.handed_over(kept.key, handover)
    upload = store.read(kept.key)
    assert (upload.record, upload.answer, upload.handovers) == (kept, answer, (handover,))
    assert [one.payload for one in sorted(upload.pingbacks, key=lambda one: one.at)] == [
        pingback.payload for pingback in pingbacks
    ]


def test_an_upload_is_found_by_its_requestid_and_by_its_key(store: UploadStore) -> None:
    kept = record()
    store.create(kept)
    store.answered(kept.key, Answer(outcome="accepted", requestid="weird/../id ?"))
    assert store.find("weird/../id ?").key == kept.key
    assert store.find(kept.key).key == kept.key


def test_an_empty_store_knows_no_upload(store: UploadStore) -> None:
    key = str(key_of(new_upload_id()))
    assert not store.has(key)
    assert store.arrivals() == {}
    assert store.earlier(task(2)) == []
    for name in (key, "r1", "../../etc/passwd"):
        with pytest.raises(UploadUnknown, match="upload_store") as caught:
            store.find(name)
        assert caught.value.requestid == name


def test_the_clearest_answer_counts_whatever_the_clocks_say(store: UploadStore) -> None:
    kept, now = record(), datetime.now(UTC)
    store.create(kept)
    store.answered(kept.key, Answer(outcome="unknown", at=now + timedelta(minutes=5)))
    store.answered(kept.key, Answer(outcome="accepted", requestid="r1", at=now))
    answer = store.read(kept.key).answer
    assert answer
    assert answer.requestid == "r1"


def test_what_was_read_before_is_not_read_again(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = type(store._files)
    kept, files, read = record(), list[str](), folder.read
    store.create(kept)
    for _ in range(20):
        store.add_pingback(kept.key, PingBack(payload=1))
    known = store.read(kept.key)
    store.add_pingback(kept.key, PingBack(payload=2))

    def noted(self: Folder, name: str) -> bytes | None:
        files.append(name)
        return read(self, name)

    monkeypatch.setattr(folder, "read", noted)
    assert len(store.read(kept.key, known).pingbacks) == 21
    assert len(files) == 1


def test_the_uploads_of_earlier_tries_of_the_same_task_instance_are_found_latest_try_first(store: UploadStore) -> None:
    records = [record(task=task(number)) for number in (1, 2, 3)]
    others = [record(task=task(1, map_index=4)), record(task=task(1, dag_id="other"))]
    for kept in (*reversed(records), *others):
        store.create(kept)
    assert [upload.record for upload in store.earlier(task(3))] == [records[1], records[0]]


def test_an_upload_whose_record_was_removed_is_no_earlier_one(store: UploadStore) -> None:
    gone, kept = record(task=task(1)), record(task=task(2))
    for one in (gone, kept):
        store.create(one)
    open_folder(store.shown_url).remove([f"uploads/{gone.key[:8]}/{gone.key}/record.json"])
    assert [upload.record for upload in store.earlier(task(3))] == [kept]


def test_the_tries_of_the_latest_run_of_a_name_come_first_whatever_the_workers_clocks(store: UploadStore) -> None:
    now = datetime.now(UTC)
    runs = [now - timedelta(hours=2), now - timedelta(hours=1)]
    old = record(task=task(2, run_started=runs[0]), at=now)
    new = record(task=task(1, run_started=runs[1]), at=now - timedelta(hours=1))
    for kept in (new, old):
        store.create(kept)
    assert [upload.record for upload in store.earlier(task(3, run_started=runs[1]))] == [new, old]
    assert store.earlier(task(1, run_started=runs[1])) == []


def test_a_requestid_of_several_uploads_is_an_error_that_names_them_unless_the_account_tells(
    store: UploadStore,
) -> None:
    records = [record(account=account, account_name=f"name-{account}") for account in ("a", "b")]
    for kept in records:
        store.create(kept)
        store.answered(kept.key, Answer(outcome="accepted", requestid="r1"))
    with pytest.raises(UploadAmbiguous, match=r"name-a.*name-b|name-b.*name-a") as caught:
        store.find("r1")
    assert sorted(caught.value.keys) == sorted(kept.key for kept in records)
    assert [store.find("r1", account).record for account in ("a", "b")] == records
    with pytest.raises(UploadUnknown):
        store.find("r1", "c")


def test_news_is_told_once_it_has_come_and_until_it_is_removed(store: UploadStore) -> None:
    kept = record()
    store.create(kept)
    # What the ping-back itself says of its time does not matter.
    store.add_pingback(kept.key, PingBack(payload=1, at=datetime.now(UTC) - timedelta(hours=9)))
    first = store.arrivals()
    store.add_pingback(kept.key, PingBack(payload=1))
    assert list(store.arrivals().values()) == [kept.key, kept.key]
    store.sweep(first)
    assert list(store.arrivals().values()) == [kept.key]
    assert store.arrivals().keys().isdisjoint(first)


def test_concurrent_writers_lose_nothing(store: UploadStore) -> None:
    kept = record()
    store.create(kept)
    payloads = list(range(40))

    def write(some: list[int]) -> None:
        for payload in some:
            store.add_pingback(kept.key, PingBack(payload=payload))

    threads = [threading.Thread(target=write, args=(payloads[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(pingback.payload) for pingback in store.read(kept.key).pingbacks) == sorted(map(str, payloads))
    assert len(store.arrivals()) == 40


def test_another_process_s_writes_are_seen(store: UploadStore) -> None:
    """Another object stands for another process: the file system behind both caches listings."""
    other = open_upload_store(store.shown_url)
    kept = record()
    store.create(kept)
    assert other.read(kept.key).pingbacks == ()
    store.add_pingback(kept.key, PingBack(payload=1))
    assert len(other.read(kept.key).pingbacks) == 1
    assert len(other.arrivals()) == 1


@pytest.mark.parametrize("content", [b"", b'{"at": "2026-01-0', b"[]", b'{"payload": 1, "at": "yesterday"}'])
def test_a_damaged_file_is_never_read_as_whole_and_disturbs_no_other_upload(store: UploadStore, content: bytes) -> None:
    damaged, well = record(), record()
    for kept in (damaged, well):
        store.create(kept)
    open_folder(store.shown_url).write(f"uploads/{damaged.key[:8]}/{damaged.key}/pingback-1.json", content)
    with pytest.raises(UploadRecordUnreadable, match=r"pingback-1\.json") as caught:
        store.read(damaged.key)
    assert caught.value.key == damaged.key
    assert store.read(well.key).record == well


def test_uploads_are_named_newest_first_from_any_of_them_on(store: UploadStore) -> None:
    keys = sorted(f"202601{day:02}T{hour:02}0000-{uuid.uuid4().hex}00000000" for day in (1, 2, 9) for hour in (3, 1))
    for key in keys:
        store.create(record(key=key))
    assert list(store.keys()) == keys[::-1]
    for place in range(6):
        assert list(store.keys(keys[place])) == keys[:place][::-1]
    assert list(store.keys("20260102T000000")) == keys[:2][::-1]


def test_what_is_old_is_removed_with_all_that_was_written_for_it_and_nothing_else(
    store: UploadStore, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC)
    old, new = (
        record(key=f"20260101T000000-{'a' * 40}", at=now - timedelta(days=90), task=task(1)),
        record(task=task(2)),
    )
    for kept in (old, new):
        store.create(kept)
        store.answered(kept.key, Answer(outcome="accepted", requestid=f"r-{kept.key}"))
        store.add_pingback(kept.key, PingBack(payload=1))
        store.handed_over(kept.key, Handover(reason="handed over", task=task()))
    for at in (now - timedelta(days=90), now):
        begun = store.staging_begins(Staging(at=at, task=task(), fingerprint="f", bucket="b", folder=f"f{at:%Y%m}"))
        store.staging_completed(begun, StagedFiles(files=()))
    root = open_folder(store.shown_url)
    foreign = [
        "20200101T000000-foreign.txt",
        "uploads/20200101T120000_photo.jpg",
        f"uploads/2020/20200101T000000-{'a' * 40}/data.parquet",
        "tasks/notes/20200101T120000-minutes.txt",
        "arrivals/20200101T120000_flight.csv",
        f"requestids/{'a' * 40}/20200101T120000-*",
    ]
    for name in foreign:
        root.write(name, b"not ours")
    assert store.purge(now - timedelta(days=30)) == 1
    assert list(store.keys()) == [new.key]
    names = root.names_below("")
    # Its ping-back came a moment ago, so waiters may yet look for it.
    assert [name for name in names if old.key in name and not name.startswith("arrivals/")] == []
    assert set(foreign) <= set(names)
    assert store.find(f"r-{new.key}").record == new
    assert [upload.key for upload in store.of_task(task())] == [new.key]
    assert [staging.folder for staging in store.stagings(task())] == [f"f{now:%Y%m}"]
    assert sum(name.startswith("stagings/") for name in names) == 2
    assert f"Contacts may be left in s3://b/f{now - timedelta(days=90):%Y%m}/" in caplog.text
    with pytest.raises(UploadUnknown):
        store.find(f"r-{old.key}")
    assert store.purge(now - timedelta(days=30)) == 0


def test_an_empty_store_has_nothing_to_remove(store: UploadStore) -> None:
    assert list(store.keys()) == []
    assert store.purge(datetime.now(UTC)) == 0


def test_the_store_holds_no_upload_id(store: UploadStore) -> None:
    upload_id = new_upload_id()
    kept = record(key=str(key_of(upload_id)), task=task())
    store.create(kept)
    store.answered(kept.key, Answer(outcome="accepted", requestid="r1"))
    store.add_pingback(kept.key, PingBack(payload=1))
    root = open_folder(store.shown_url)
    names = root.names_below("")
    assert len(names) == 6
    secret = upload_id.partition("-")[2]
    for name in names:
        assert secret not in name
        assert secret.encode() not in (root.read(name) or b"")


def test_a_probe_gets_its_pingback_is_no_upload_and_leaves_nothing(store: UploadStore) -> None:
    key = str(key_of(new_probe_id()))
    assert not store.has(key)
    store.create_probe(key)
    assert store.has(key)
    assert store.pingbacks_of_probe(key) == []
    store.add_pingback(key, PingBack(payload={"status": "completed"}))
    assert [pingback.payload for pingback in store.pingbacks_of_probe(key)] == [{"status": "completed"}]
    assert (list(store.keys()), store._files.names("arrivals")) == ([], [])
    with pytest.raises(UploadUnknown):
        store.find(key)
    store.remove_probe(key)
    assert not store.has(key)
    assert store._files.names_below("probes") == []


def test_purge_removes_probes_that_were_left_but_does_not_count_them(store: UploadStore) -> None:
    now = datetime.now(UTC)
    old, new = (f"{PROBE}{now - timedelta(days=days):%Y%m%dT%H%M%S}-{'a' * 40}" for days in (40, 2))
    for key in (old, new):
        store.create_probe(key)
        store.add_pingback(key, PingBack(payload="x"))
    assert store.purge(now - timedelta(days=30)) == 0
    assert not store.has(old)
    assert store.has(new)
