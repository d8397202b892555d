"""Files in a folder of this machine: whole or not there, and a folder that cannot be read is not empty."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.folder import FileUnreadable
from airflow_provider_smartech.uploads.local_folder import LocalFolder
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import PingBack
from tests.support.records import record, task


@pytest.fixture
def store(tmp_path: Path) -> UploadStore:
    return UploadStore(LocalFolder(f"file://{tmp_path}/store"))


def test_no_empty_folder_is_left_of_what_is_removed(store: UploadStore, tmp_path: Path) -> None:
    store.create(record(key=f"20260101T000000-{'a' * 40}", task=task()))
    assert store.purge(datetime.now(UTC)) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["store", "tasks", "uploads"]


def test_a_file_is_there_whole_or_not_at_all(
    store: UploadStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = record()
    store.create(kept)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UploadStoreError, match="No space left"):
        store.add_pingback(kept.key, PingBack(payload=1))
    assert [path.name for path in tmp_path.rglob("*.*") if path.is_file()] == ["record.json"]


def test_a_file_gets_its_name_only_when_it_is_whole(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_folder_that_cannot_be_read_is_not_empty(store: UploadStore, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("in the way", "utf-8")
    for reach in (store.check, lambda: store.find("r1"), lambda: store.earlier(task(2))):
        with pytest.raises(UploadStoreError):
            reach()


def test_a_folder_in_the_place_of_a_file_is_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()
    with pytest.raises(FileUnreadable, match="its path is a folder"):
        LocalFolder(str(tmp_path)).read("record.json")


def test_a_folder_that_cannot_be_made_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    LocalFolder(f"file://{tmp_path}/new/folder").check()
    with pytest.raises(UploadStoreError, match="NotADirectoryError"):
        LocalFolder(f"file://{tmp_path}/file/folder").check()
