"""The hashes of a sync in the upload store: read as they were written, or known to be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_provider_smartech.changes.hashing import Hashes, SyncSecret
from airflow_provider_smartech.changes.snapshot import SnapshotLost, Snapshots
from airflow_provider_smartech.config.upload_store import open_folder
from airflow_provider_smartech.uploads.folder import Folder
from airflow_provider_smartech.uploads.syncs import SyncStore, new_name

SECRET = SyncSecret("k3y", "nightly")
PARTS = [(np.array([1, 2, 2**64 - 1], np.uint64), np.array([3, 0, 9], np.uint64)), (np.array([7], np.uint64),) * 2]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder(f"file://{tmp_path}/store")


@pytest.fixture
def snapshots(folder: Folder) -> Snapshots:
    return Snapshots(SyncStore(folder), "nightly", SECRET)


@pytest.fixture
def snapshot(snapshots: Snapshots) -> str:
    """Two parts of hashes, written."""
    name = new_name()
    for part, (keys, lines) in enumerate(PARTS):
        snapshots.write(name, part, keys, lines)
    return name


def as_lists(parts: Iterator[tuple[Hashes, Hashes]]) -> list[tuple[Any, Any]]:
    return [(keys.tolist(), lines.tolist()) for keys, lines in parts]


def files(folder: Folder) -> list[str]:
    return sorted(f"syncs/{name}" for name in folder.names_below("syncs"))


def test_it_is_read_as_it_was_written(snapshots: Snapshots, snapshot: str) -> None:
    assert as_lists(snapshots.read(snapshot, 2)) == as_lists(iter(PARTS))
    assert as_lists(snapshots.read(snapshot, 0)) == []


def test_a_part_that_is_gone_is_a_loss(snapshots: Snapshots, snapshot: str, folder: Folder) -> None:
    folder.remove(files(folder)[1:])
    parts = snapshots.read(snapshot, 2)
    next(parts)
    with pytest.raises(SnapshotLost, match="no longer in the upload store"):
        next(parts)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: b"", lambda content: content[:5], lambda content: bytes(100)],
)
def test_a_part_that_is_damaged_is_a_loss(
    snapshots: Snapshots, snapshot: str, folder: Folder, damage: Callable[[bytes], bytes]
) -> None:
    name = files(folder)[0]
    folder.write(name, damage(folder.read(name) or b""))
    with pytest.raises(SnapshotLost, match="damaged"):
        list(snapshots.read(snapshot, 2))


def test_parts_that_changed_places_are_a_loss(snapshots: Snapshots, snapshot: str, folder: Folder) -> None:
    first, second = files(folder)
    content = folder.read(first), folder.read(second)
    for name, other in ((first, content[1]), (second, content[0])):
        folder.write(name, other or b"")
    with pytest.raises(SnapshotLost, match="damaged"):
        list(snapshots.read(snapshot, 2))


def test_a_part_that_was_written_with_another_api_key_is_a_loss(snapshot: str, folder: Folder) -> None:
    other = Snapshots(SyncStore(folder), "nightly", SyncSecret("another", "nightly"))
    with pytest.raises(SnapshotLost, match="damaged"):
        list(other.read(snapshot, 2))


def test_a_part_that_was_archived_is_a_loss(s3: Any, bucket: str, s3_folder: str) -> None:
    snapshots, name = Snapshots(SyncStore(open_folder(s3_folder)), "nightly", SECRET), new_name()
    snapshots.write(name, 0, *PARTS[0])
    [entry] = s3.list_objects_v2(Bucket=bucket)["Contents"]
    s3.put_object(Bucket=bucket, Key=entry["Key"], Body=b"x", StorageClass="GLACIER")
    with pytest.raises(SnapshotLost, match="archived"):
        list(snapshots.read(name, 1))


def test_no_hash_is_in_the_store_as_it_is(snapshots: Snapshots, folder: Folder) -> None:
    keys, lines = SECRET.of_keys([b"ann@example.com"]), SECRET.of_lines([b"ann@example.com,Ann\n"])
    snapshots.write(new_name(), 0, keys, lines)
    content = folder.read(files(folder)[0]) or b""
    for hash_ in (keys, lines):
        assert hash_.tobytes() not in content
        assert hash_.byteswap().tobytes() not in content
