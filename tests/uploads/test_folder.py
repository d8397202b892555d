"""Files in a folder, local or of S3: whole or not there, and a place that does not answer is not empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from s3fs import S3FileSystem

from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.upload import PingBack, key_of, new_upload_id
from tests.support.records import record, task


def test_a_folder_whose_name_is_a_pattern_is_taken_for_itself(bucket: str) -> None:
    stores = [open_upload_store(f"s3://s3_test@{bucket}/t{name}") for name in ("[1]", "1")]
    for one in stores:
        one.create(record(key=f"20260101T000000-{'a' * 40}", task=task()))
    assert stores[0].purge(datetime.now(UTC)) == 1
    assert [len(list(one.keys())) for one in stores] == [0, 1]
    assert stores[1].earlier(task(2))


def test_no_empty_folder_is_left_of_what_is_removed(tmp_path: Path) -> None:
    store = open_upload_store(f"file://{tmp_path}")
    store.create(record(key=f"20260101T000000-{'a' * 40}", task=task()))
    assert store.purge(datetime.now(UTC)) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["tasks", "uploads"]


def test_a_local_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_upload_store(f"file://{tmp_path}")
    kept = record()
    store.create(kept)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UploadStoreError, match="No space left"):
        store.add_pingback(kept.key, PingBack(payload=1))
    assert [path.name for path in tmp_path.rglob("*.*") if path.is_file()] == ["record.json"]


def test_a_local_file_gets_its_name_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_upload_store(f"file://{tmp_path}")
    kept = record()
    store.create(kept)

    def cut_off(self: Path, target: Path) -> None:
        assert json.loads(self.read_text("utf-8"))["payload"] == 1
        assert not target.exists()
        raise OSError("cut off")

    monkeypatch.setattr(Path, "replace", cut_off)
    with pytest.raises(UploadStoreError, match="cut off"):
        store.add_pingback(kept.key, PingBack(payload=1))
    assert store.read(kept.key).pingbacks == ()


def test_listings_do_not_pile_up_in_the_file_system_s_cache(s3_folder: str) -> None:
    store = open_upload_store(s3_folder)
    kept = record()
    store.create(kept)
    store.add_pingback(kept.key, PingBack())
    assert store.arrivals()
    assert store.read(kept.key).pingbacks
    folder = ObjectStoragePath(s3_folder)
    assert [path for path in folder.fs.dircache if path.startswith(folder.path)] == []


def test_a_file_in_s3_is_read_by_one_request(s3_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, kept, asked = open_upload_store(s3_folder), record(), list[str]()
    store.create(kept)
    call = S3FileSystem._call_s3

    async def noted(self: S3FileSystem, method: str, *arguments: object, **named: object) -> object:
        asked.append(method)
        return await call(self, method, *arguments, **named)

    monkeypatch.setattr(S3FileSystem, "_call_s3", noted)
    assert store.has(kept.key)
    assert asked == ["get_object"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://aws_default@bucket/prefix/", "s3://aws_default@bucket/prefix"),
        ("s3://KEY:SECRET@bucket/x?token=1", "s3://KEY@bucket/x"),
        ("file:///var/lib/smartech", "file:///var/lib/smartech"),
    ],
)
def test_a_store_shows_its_place_without_secrets(url: str, shown: str) -> None:
    assert open_upload_store(url).shown_url == shown


def test_a_bucket_that_is_not_there_is_no_empty_store(s3_folder: str) -> None:
    store = open_upload_store(s3_folder.replace("bucket-", "no-such-bucket-"))
    key = str(key_of(new_upload_id()))
    reaches: list[Callable[[], object]] = [store.check, lambda: store.has(key), lambda: store.find(key)]
    reaches += [lambda: list(store.keys())]
    reaches += [lambda: store.purge(datetime.now(UTC)), lambda: store.create(record())]
    for reach in reaches:
        with pytest.raises(UploadStoreError):
            reach()


def test_a_local_folder_that_cannot_be_read_is_not_empty(tmp_path: Path) -> None:
    store = open_upload_store(f"file://{tmp_path}/store")
    (tmp_path / "store").write_text("in the way", "utf-8")
    for reach in (store.check, lambda: store.find("r1"), lambda: store.earlier(task(2))):
        with pytest.raises(UploadStoreError):
            reach()
