"""The records of syncs, over a local folder and S3: what the next sync compares with, and what is removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from airflow_provider_smartech.config.upload_store import open_folder
from airflow_provider_smartech.uploads.folder import Folder
from airflow_provider_smartech.uploads.syncs import STANDINGS, Standing, Subject, SyncRun, SyncStore, new_name
from tests.support.records import sync_run, task

DAY = timedelta(days=1)


@pytest.fixture(params=["file", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    url = f"file://{tmp_path}/store" if request.param == "file" else request.getfixturevalue("s3_folder")
    return open_folder(url)


@pytest.fixture
def syncs(folder: Folder) -> SyncStore:
    return SyncStore(folder)


def sent(syncs: SyncStore, **fields: Any) -> SyncRun:
    """Keep a run, and the hashes that it names."""
    run = syncs.add_run(sync_run(**fields))
    if syncs.read_rows(run.sync, run.snapshot, 0) is None:
        syncs.write_rows(run.sync, run.snapshot, 0, b"hashes")
    return run


def completed(syncs: SyncStore, **fields: Any) -> SyncRun:
    run = sent(syncs, **fields)
    syncs.make_base(run)
    return run


def has_rows(syncs: SyncStore, *runs: SyncRun) -> list[bool]:
    return [syncs.read_rows(run.sync, run.snapshot, 0) is not None for run in runs]


def kept(syncs: SyncStore) -> set[str]:
    return set(syncs.state("nightly").runs)


def damaged(folder: Folder) -> str:
    """Keep a run that cannot be read."""
    [sync] = folder.folders("syncs")
    name = new_name()
    folder.write(f"syncs/{sync}/run-{name}.json", b"{}")
    return name


class TestTheBase:
    def test_a_sync_that_never_ran_has_none(self, syncs: SyncStore) -> None:
        state = syncs.state("nightly")
        assert (state.base, state.token, state.generation, state.unsettled()) == (None, "", 0, [])
        assert (state.is_recorded, state.sync, syncs.all()) == (False, None, [])

    def test_it_is_the_last_run_that_completed(self, syncs: SyncStore) -> None:
        first = completed(syncs)
        second = sent(syncs, base=first.name, generation=2)
        state = syncs.state("nightly")
        assert (state.base, state.token, state.generation) == (first, first.name, 1)
        state = syncs.make_base(second)
        assert (state.base, state.token, state.generation) == (second, second.name, 2)
        assert (state.runs, state) == ({run.name: run for run in (first, second)}, syncs.state("nightly"))

    def test_to_make_a_run_the_base_twice_is_the_same_as_once(self, syncs: SyncStore) -> None:
        run = completed(syncs)
        assert syncs.make_base(run) == syncs.state("nightly")
        assert syncs.state("nightly").base == run

    def test_of_two_runs_that_compared_with_the_same_one_neither_is_it(self, syncs: SyncStore) -> None:
        first = completed(syncs)
        names = sorted(completed(syncs, base=first.name, generation=2).name for _ in range(2))
        state = syncs.state("nightly")
        assert (state.base, state.token, state.generation) == (None, "+".join(names), 2)

    def test_one_whose_record_is_damaged_is_none_but_no_other_takes_its_place(
        self, syncs: SyncStore, folder: Folder
    ) -> None:
        first = completed(syncs)
        lost = sync_run(generation=2).model_copy(update={"name": damaged(folder)})
        state = syncs.make_base(lost)
        assert (state.base, state.token, state.damaged) == (None, lost.name, [lost.name])
        assert state.runs == {first.name: first}

    def test_syncs_of_other_names_have_their_own(self, syncs: SyncStore) -> None:
        names = ["nightly", "Nightly", "../nightly", "nächtlich.sync[3]", "n" * 500]
        runs = [completed(syncs, sync=name) for name in names]
        assert [syncs.state(name).base for name in names] == runs
        assert {state.sync for state in syncs.all()} == set(names)


class TestRunsThatAreOpen:
    def test_all_are_that_the_base_does_not_settle(self, syncs: SyncStore) -> None:
        over, open_one = sent(syncs), sent(syncs)
        base = completed(syncs, settled=(over.name,), pending=(open_one.name,))
        later = sent(syncs, base=base.name, generation=2)
        assert {run.name for run in syncs.state("nightly").unsettled()} == {open_one.name, later.name}

    def test_the_tries_of_one_folder_are_one_run_whose_last_one_counts(self, syncs: SyncStore) -> None:
        second = sent(syncs, folder="staged/x", task=task(2))
        first = sent(syncs, folder="staged/x", task=task(1))
        state = syncs.state("nightly")
        assert state.of_folder("staged/x") == [first, second]
        assert state.unsettled() == [second]
        assert syncs.make_base(first).unsettled() == []


class TestWhatTheNextRunDoes:
    def test_it_is_known_from_the_records(self, syncs: SyncStore, folder: Folder) -> None:
        def standing() -> Standing:
            return syncs.state("nightly").standing

        sent(syncs)
        assert standing() is Standing.NO_BASE
        first = completed(syncs)
        assert standing() is Standing.OPEN_RUNS
        syncs.make_base(sent(syncs, base=first.name, generation=2, settled=tuple(kept(syncs))))
        assert standing() is Standing.READY
        completed(syncs, base=first.name, generation=2)
        assert standing() is Standing.TWO_BASES
        damaged(folder)
        assert standing() is Standing.UNREADABLE

    def test_every_answer_has_a_meaning_that_fits_into_a_line(self) -> None:
        assert list(STANDINGS) == [*Standing]
        assert max(map(len, STANDINGS.values())) <= 60

    @pytest.mark.parametrize(
        ("changed", "differences"),
        [
            ({}, []),
            ({"secret": "t"}, ["the API key"]),
            ({"account": "b"}, ["the API key or the address of the account"]),
            ({"account": "b", "secret": "t"}, ["the API key or the address of the account"]),
            ({"listid": None, "columns": ("NAME",)}, ["the list", "the columns"]),
            ({"primary_key": "NAME"}, ["the primary key"]),
        ],
    )
    def test_what_is_different_is_said_in_words(self, changed: dict[str, Any], differences: list[str]) -> None:
        subject = sync_run().subject
        assert subject.differences(Subject.model_validate(subject.model_dump() | changed)) == differences


class TestWhatIsRemoved:
    def test_a_base_removes_what_it_settles_and_what_it_replaces(self, syncs: SyncStore, folder: Folder) -> None:
        old = completed(syncs)
        over, open_one = sent(syncs), sent(syncs)
        unread = damaged(folder)
        base = completed(
            syncs, base=old.name, generation=2, settled=(old.name, over.name, unread), pending=(open_one.name,)
        )
        before = syncs.state("nightly")
        syncs.remove_settled("nightly", base)
        state = syncs.state("nightly")
        assert (kept(syncs), state.damaged) == ({open_one.name, base.name}, [])
        assert has_rows(syncs, old, over, open_one, base) == [False, False, True, True]
        assert (state.base, state.token, state.generation) == (before.base, before.token, before.generation)
        assert len([name for name in folder.names_below("syncs") if "/base-" in name]) == 1

    def test_the_hashes_that_several_tries_share_stay_with_the_base(self, syncs: SyncStore) -> None:
        first = sent(syncs, folder="staged/x")
        base = completed(syncs, folder="staged/x", snapshot=first.snapshot, task=task(2))
        syncs.remove_settled("nightly", base)
        assert (kept(syncs), has_rows(syncs, base)) == ({base.name}, [True])

    def test_a_sync_that_is_forgotten_has_no_base_but_still_its_open_runs(self, syncs: SyncStore) -> None:
        open_one = sent(syncs)
        base, other = completed(syncs, pending=(open_one.name,)), completed(syncs, sync="other")
        assert syncs.forget("nightly")
        state = syncs.state("nightly")
        assert (state.base, state.standing) == (None, Standing.NO_BASE)
        assert has_rows(syncs, open_one, base, other) == [True, False, True]
        assert open_one in state.unsettled()
        assert syncs.state("other").base == other

    def test_no_run_that_began_before_a_sync_was_forgotten_becomes_its_base(self, syncs: SyncStore) -> None:
        open_one = sent(syncs)
        base = completed(syncs)
        under_way = sent(syncs, base=base.name, generation=2)
        syncs.forget("nightly")
        token = syncs.state("nightly").token
        assert token not in (open_one.base, base.base, under_way.base)
        # One that compared with the base at the same moment.
        assert syncs.make_base(under_way).base is None
        syncs.forget("nightly")
        state = syncs.state("nightly")
        after = completed(syncs, base=state.token, generation=state.generation + 1, settled=tuple(kept(syncs)))
        assert syncs.state("nightly").base == after
        syncs.remove_settled("nightly", after)
        assert kept(syncs) == {after.name}

    def test_a_sync_that_is_not_there_cannot_be_forgotten(self, syncs: SyncStore) -> None:
        completed(syncs)
        assert not syncs.forget("weekly")
        assert [state.sync for state in syncs.all()] == ["nightly"]

    def test_a_purge_keeps_bases_however_old_and_removes_old_hashes_that_no_run_names(
        self, syncs: SyncStore, folder: Folder
    ) -> None:
        now = datetime.now(UTC)
        with time_machine.travel(now - 90 * DAY):
            base, orphan = completed(syncs), new_name()
            syncs.write_rows("nightly", orphan, 0, b"of a worker that died")
        fresh = new_name()
        syncs.write_rows("nightly", fresh, 0, b"of a worker that is about to send")
        syncs.purge(now - 30 * DAY)
        assert syncs.state("nightly").base == base
        assert has_rows(syncs, base) == [True]
        assert [syncs.read_rows("nightly", name, 0) is not None for name in (orphan, fresh)] == [False, True]

    def test_a_purge_removes_runs_that_none_followed_and_then_no_base_can_be_trusted(
        self, syncs: SyncStore, folder: Folder
    ) -> None:
        now = datetime.now(UTC)
        with time_machine.travel(now - 90 * DAY):
            base = completed(syncs)
            failed = sent(syncs, base=base.name, generation=2)
            damaged(folder)
        newer = sent(syncs, base=base.name, generation=2)
        syncs.purge(now - 30 * DAY)
        state = syncs.state("nightly")
        assert (kept(syncs), state.damaged, state.base) == ({base.name, newer.name}, [], None)
        assert has_rows(syncs, failed, newer) == [False, True]
        # It compared with that base.
        assert syncs.make_base(newer).base is None

    def test_a_purge_keeps_the_runs_that_may_still_be_loaded_however_soon_it_comes(self, syncs: SyncStore) -> None:
        base = completed(syncs)
        with time_machine.travel(datetime.now(UTC) - 7 * DAY):
            open_one = sent(syncs, base=base.name, generation=2)
        syncs.purge(datetime.now(UTC) + DAY)
        assert (kept(syncs), syncs.state("nightly").base) == ({base.name, open_one.name}, base)

    def test_a_purge_removes_no_hashes_that_a_damaged_run_may_name(self, syncs: SyncStore, folder: Folder) -> None:
        with time_machine.travel(datetime.now(UTC) - 90 * DAY):
            completed(syncs)
            snapshot = new_name()
            syncs.write_rows("nightly", snapshot, 0, b"hashes")
        damaged(folder)
        syncs.purge(datetime.now(UTC) - 30 * DAY)
        assert syncs.read_rows("nightly", snapshot, 0) is not None

    def test_a_file_that_a_worker_left_half_written_goes_with_its_hashes(
        self, syncs: SyncStore, folder: Folder
    ) -> None:
        with time_machine.travel(datetime.now(UTC) - 90 * DAY):
            completed(syncs)
            snapshots = [new_name() for _ in range(2)]
        [sync] = folder.folders("syncs")
        left = [f"syncs/{sync}/.rows-{snapshot}-000000.0123456789abcdef" for snapshot in snapshots]
        for name in left:
            folder.write(name, b"half")
        syncs.remove_snapshot("nightly", snapshots[0])
        assert [folder.read(name) is None for name in left] == [True, False]
        syncs.purge(datetime.now(UTC) - 30 * DAY)
        assert folder.read(left[1]) is None
