"""Which rows of a query are passed on to a real staging area, and how they are counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_smartech.changes import comparison
from airflow_provider_smartech.changes.comparison import Comparison
from airflow_provider_smartech.changes.hashing import Hashes, SyncSecret
from airflow_provider_smartech.changes.known_rows import KnownRows
from airflow_provider_smartech.errors import ContactsKeyRepeated
from airflow_provider_smartech.extracts import csv_format
from airflow_provider_smartech.staging.area import StagingArea, new_folder
from airflow_provider_smartech.uploads.syncs import Changes

Rows = list[tuple[str, str]]
FIRST: Rows = [("a", "Ann"), ("b", "Bob, Jr."), ("c", 'said "hi"\n'), ("d", "Dan")]
SECOND: Rows = [("e", "Eve"), ("b", "Bob, Sr."), ("c", 'said "hi"\n'), ("d", "Dan")]


@dataclass
class Night:
    """What one comparison gave."""

    changes: Changes
    files: list[bytes]
    hashes: list[tuple[Hashes, Hashes]]
    is_same: bool


class Nights:
    """Compares a query's rows, night by night."""

    def __init__(self, s3: Any, bucket: str, folder: Path) -> None:
        self.s3, self.bucket, self.folder = s3, bucket, folder
        self.known: list[tuple[Hashes, Hashes]] = []
        self.number = 0

    def comparison(
        self, area: StagingArea, *, sends_all: bool = False, sends: bool = True, on_duplicate_key: Any = "fail"
    ) -> Comparison:
        self.number += 1
        scratch = self.folder / str(self.number)
        scratch.mkdir()

        def known(columns: Iterable[str]) -> tuple[KnownRows, bool]:
            assert list(columns) == ["EMAIL", "NAME"]
            return KnownRows(scratch, self.known), sends_all

        return Comparison(
            area, SyncSecret("k3y", "nightly"), scratch, known, on_duplicate_key=on_duplicate_key, sends=sends
        )

    def area(self, rows_per_file: int | None = None) -> StagingArea:
        given: dict[str, Any] = {"columns": {"name": "NAME"}, "primary_key": "EMAIL", "arguments": {}}
        return StagingArea(self.s3, self.bucket, new_folder("staged"), rows_per_file=rows_per_file, **given)

    def night(self, rows: Rows, rows_per_file: int | None = None, **arguments: Any) -> Night:
        """Compare with the last night."""
        area, hashes = self.area(rows_per_file), list[tuple[Hashes, Hashes]]()
        compared = self.comparison(area, **arguments)
        assert compared.begin(["EMAIL", "name"]) == 0
        for row in rows:
            lines = bytearray(csv_format.lines([row], ["EMAIL", "NAME"]))
            compared.add(lines, 1)
            # A driver may use its buffer again.
            lines.clear()
        compared.flush()
        is_same = compared.is_same
        changes = compared.finish(lambda keys, lines: hashes.append((keys, lines)))
        area.complete()
        files = [self.s3.get_object(Bucket=self.bucket, Key=file.key)["Body"].read() for file in area.files]
        self.known = hashes
        return Night(changes, files, hashes, is_same)


@pytest.fixture(params=["one batch", "many by rows", "many by bytes"])
def nights(
    request: pytest.FixtureRequest, s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Nights:
    if request.param == "many by rows":
        monkeypatch.setattr(comparison, "BATCH_ROWS", 2)
    if request.param == "many by bytes":
        monkeypatch.setattr(comparison, "BATCH_BYTES", 1)
    return Nights(s3, bucket, tmp_path)


def file_of(rows: Rows) -> bytes:
    return csv_format.header(["EMAIL", "NAME"]) + csv_format.lines(rows, ["EMAIL", "NAME"])


def counts(changes: Changes) -> tuple[int, ...]:
    return changes.rows, changes.new, changes.changed, changes.unchanged, changes.removed


def test_only_new_and_changed_rows_are_passed_on_in_their_order(nights: Nights) -> None:
    first = nights.night(FIRST)
    assert (counts(first.changes), first.files) == ((4, 4, 0, 0, 0), [file_of(FIRST)])
    second = nights.night(SECOND)
    assert (counts(second.changes), second.files) == ((4, 1, 1, 2, 1), [file_of(SECOND[:2])])
    third = nights.night(SECOND)
    assert (counts(third.changes), third.files) == ((4, 0, 0, 4, 0), [])
    assert [first.is_same, second.is_same, third.is_same] == [False, False, True]


def test_rows_that_are_gone_are_counted_and_make_a_difference(nights: Nights) -> None:
    nights.night(FIRST)
    fewer = nights.night(FIRST[1:])
    assert (counts(fewer.changes), fewer.files, fewer.is_same) == ((3, 0, 0, 3, 1), [], False)


def test_all_rows_can_be_passed_on_and_are_counted_the_same(nights: Nights) -> None:
    nights.night(FIRST)
    second = nights.night(SECOND, sends_all=True)
    assert (counts(second.changes), second.files) == ((4, 1, 1, 2, 1), [file_of(SECOND)])


def test_no_row_is_passed_on_where_changes_are_only_counted(nights: Nights) -> None:
    nights.night(FIRST)
    second = nights.night(SECOND, sends=False, sends_all=True)
    assert (counts(second.changes), second.files) == ((4, 1, 1, 2, 1), [])


def test_files_take_as_many_rows_as_fit(nights: Nights) -> None:
    night = nights.night(FIRST, rows_per_file=3)
    assert night.files == [file_of(FIRST[:3]), file_of(FIRST[3:])]
    assert nights.night(SECOND, rows_per_file=1).files == [file_of([row]) for row in SECOND[:2]]


def test_rows_with_the_same_key_are_an_error_after_all_rows_were_read(nights: Nights) -> None:
    with pytest.raises(ContactsKeyRepeated, match="2 of 6 rows repeat the EMAIL") as caught:
        nights.night([*FIRST, ("a", "Ann"), ("a", "Ada")])
    assert (caught.value.repeated, caught.value.rows) == (2, 6)


def test_rows_with_the_same_key_that_are_kept_are_all_passed_on_while_they_differ(nights: Nights) -> None:
    twice: Rows = [*FIRST, ("a", "Ada")]
    keep: dict[str, Any] = {"on_duplicate_key": "keep"}
    first = nights.night(twice, **keep)
    assert (counts(first.changes), first.files) == ((5, 5, 0, 0, 0), [file_of(twice)])
    second = nights.night(twice, **keep)
    assert (counts(second.changes), second.files) == ((5, 0, 2, 3, 0), [file_of([FIRST[0], twice[-1]])])
    # Smartech may have kept either of them.
    once: Rows = [("a", "Ada"), *FIRST[1:]]
    assert nights.night(once, **keep).files == [file_of(once[:1])]
    assert nights.night(once, **keep).files == []


@pytest.mark.parametrize("limits", [{"BATCH_ROWS": 3}, {"BATCH_BYTES": 20}])
def test_rows_do_not_wait_for_more_than_a_batch(
    s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(comparison, name, limit)
    nights = Nights(s3, bucket, tmp_path)
    compared = nights.comparison(nights.area())
    compared.begin(["EMAIL", "name"])
    seen = []
    for number in range(7):
        compared.add(b"key %d,x\n" % number, 1)
        seen.append(compared.rows)
    assert seen == [0, 0, 3, 3, 3, 6, 6]


def test_what_is_written_for_the_next_night_does_not_depend_on_batches(
    s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for rows in (1, 3, 1000):
        monkeypatch.setattr(comparison, "BATCH_ROWS", rows)
        folder = tmp_path / f"batches-of-{rows}"
        folder.mkdir()
        hashes = Nights(s3, bucket, folder).night([(f"key {number}", "x") for number in range(50)]).hashes
        found.append([(keys.tolist(), lines.tolist()) for keys, lines in hashes])
    assert found[0] == found[1] == found[2]
    [(keys, lines)] = found[0]
    assert (keys, len(lines)) == (sorted(set(keys)), 50)


def test_rows_without_a_key_are_counted_by_the_area(nights: Nights) -> None:
    area = nights.area()
    nights.comparison(area).skip(3)
    assert area.missing_keys == 3


def test_without_a_primary_key_nothing_can_be_compared(s3: Any, bucket: str, tmp_path: Path) -> None:
    nights = Nights(s3, bucket, tmp_path)
    area = StagingArea(s3, bucket, "staged", columns={}, primary_key=None, rows_per_file=None, arguments={})
    with pytest.raises(ValueError, match="needs a primary_key"):
        nights.comparison(area).begin(["EMAIL"])
