"""Files in any storage of fsspec: listings are never those of before, and names are no patterns."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_smartech.config.upload_store import open_folder
from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.folder import Folder


class CachingFiles(MemoryFileSystem):  # type: ignore[misc]
    """Keeps listings, as the file systems of object storages do."""

    cachable = False

    def ls(self, path: str, detail: bool = True, **named: Any) -> Any:
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True, **named)
        found = self.dircache[path]
        return found if detail else [entry["name"] for entry in found]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.pop(path, None)


@pytest.fixture
def files() -> CachingFiles:
    return CachingFiles()


@pytest.fixture
def folder(files: CachingFiles, monkeypatch: pytest.MonkeyPatch) -> Folder:
    # Airflow keeps what was attached, by the connection.
    conn_id = f"caching_{uuid.uuid4().hex}"
    attach("memory", conn_id=conn_id, fs=files)
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", "generic://")
    return open_folder(f"memory://{conn_id}@{uuid.uuid4().hex}/store")


def test_a_listing_shows_what_is_there_now_and_is_not_kept(folder: Folder, files: CachingFiles) -> None:
    for number in range(3):
        folder.write(f"days/{number}/x", b"")
        assert folder.folders("days") == [str(one) for one in range(number + 1)]
    assert list(files.dircache) == []


def test_the_files_of_many_folders_are_found_by_one_listing(folder: Folder, files: CachingFiles) -> None:
    for number in range(60):
        folder.write(f"day/{number:02}/{number}.json", b"")
    finding, found = files.find, list[str]()

    def noting(path: str, *given: Any, **named: Any) -> Any:
        found.append(path)
        return finding(path, *given, **named)

    files.find = noting
    wanted = [f"{number:02}" for number in range(1, 60)]
    assert folder.names_of("day", [*wanted, "gone"]) == {**{one: [f"{int(one)}.json"] for one in wanted}, "gone": []}
    assert len(found) == 1


def test_what_is_not_there_is_none_and_not_an_error(folder: Folder) -> None:
    folder.write("a/b", b"1")
    assert (folder.read("a/b"), folder.read("a/c"), folder.names("c"), folder.folders("c")) == (b"1", None, [], [])
    folder.check()


def test_a_folder_whose_name_is_a_pattern_is_taken_for_itself(folder: Folder) -> None:
    url = folder.url.removesuffix("/store")
    pattern, plain = open_folder(f"{url}/t[1]"), open_folder(f"{url}/t1")
    for one in (pattern, plain):
        one.write("x", b"")
    pattern.remove(["x"])
    assert (pattern.names(""), plain.names("")) == ([], ["x"])


def test_an_error_of_the_storage_is_one_of_the_upload_store(
    folder: Folder, files: CachingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **named: object) -> None:
        raise RuntimeError("https://storage.example/x?signature=s3cr3t said no")

    monkeypatch.setattr(files, "pipe_file", refused)
    with pytest.raises(UploadStoreError, match=r"https://storage\.example/x said no") as caught:
        folder.write("x", b"")
    assert "s3cr3t" not in str(caught.value)
