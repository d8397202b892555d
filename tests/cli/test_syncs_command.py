"""``airflow smartech syncs``: what is listed of each sync, and its reset."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.syncs import STANDINGS, Changes, SyncRun
from tests.support.commands import BOTH, called, started
from tests.support.records import sync_run

DAY = timedelta(days=1)


def failed(*arguments: str, typed: str = "", status: int = 1) -> str:
    done = called(*arguments, typed=typed)
    assert done.status == status
    return done.stderr.splitlines()[-1]


def listed(output: str = "json") -> Any:
    done = called("syncs", "--output", output)
    assert done.status == 0
    return json.loads(done.stdout) if output == "json" else done.stdout


@pytest.fixture
def base(store: UploadStore) -> SyncRun:
    """The base of the sync ``nightly``, and a run without a base of another."""
    at = datetime.now(UTC) - timedelta(hours=30)
    changes = Changes(rows=1_000_000, new=0, changed=10_000, unchanged=990_000, removed=0)
    run = store.syncs.add_run(sync_run(at=at, full_at=at - 10 * DAY, changes=changes, sent=10_000))
    store.syncs.make_base(run)
    store.syncs.write_rows("nightly", run.snapshot, 0, b"hashes")
    store.syncs.add_run(sync_run(sync="hourly [1]"))
    return run


def test_syncs_are_listed_by_name_as_json_yaml_and_a_table(base: SyncRun) -> None:
    as_json = listed()
    assert [sync["name"] for sync in as_json] == ["hourly [1]", "nightly"]
    without, nightly = as_json
    assert nightly["age_seconds"] == pytest.approx(30 * 3600, abs=600)
    assert nightly == {
        "name": "nightly",
        "state": "ready",
        "listid": 33,
        "rows": 1_000_000,
        "sent": 10_000,
        "base_at": base.at.isoformat(),
        "age_seconds": nightly["age_seconds"],
        "full_at": base.full_at.isoformat(),
        "open_runs": 0,
    }
    assert (without["state"], without["listid"], without["rows"], without["base_at"]) == ("no base", None, None, None)
    as_yaml = yaml.safe_load(listed("yaml"))
    assert [list(sync) for sync in as_yaml] == [list(sync) for sync in as_json]
    plain = listed("plain")
    header, *_, line = [line.split() for line in plain.splitlines() if line.startswith(("name", "nightly"))]
    assert header == ["name", "state", "listid", "rows", "sent", "base_at", "age", "full_at", "open_runs"]
    at, full_at = (f"{moment:%Y-%m-%d %H:%M:%S}".split() for moment in (base.at, base.full_at))
    assert line == ["nightly", "ready", "33", "1000000", "10000", *at, "30h", *full_at, "0"]
    assert "hourly [1]" in " ".join(listed("table").split())


def test_an_age_of_two_days_or_more_is_in_days(store: UploadStore) -> None:
    store.syncs.make_base(store.syncs.add_run(sync_run(at=datetime.now(UTC) - 12 * DAY)))
    assert " 12d " in listed("plain")


def test_what_the_next_run_compares_with_is_a_state_that_the_help_explains(store: UploadStore, base: SyncRun) -> None:
    store.syncs.add_run(sync_run(base=base.name, generation=2))
    assert [(sync["state"], sync["open_runs"]) for sync in listed()] == [("no base", None), ("open runs", 1)]
    for _ in range(2):
        store.syncs.make_base(store.syncs.add_run(sync_run(base=base.name, generation=2)))
    assert [sync["state"] for sync in listed()] == ["no base", "two bases"]
    lines = [" ".join(line.split()) for line in called("syncs", "--help").stdout.splitlines()]
    assert [state for state, meaning in STANDINGS.items() if f"{state} {meaning}" not in lines] == []


def test_hashes_alone_are_no_sync(store: UploadStore) -> None:
    assert listed() == []
    store.syncs.write_rows("nightly", sync_run().snapshot, 0, b"hashes of a first run that is about to send")
    assert listed() == []


@pytest.mark.parametrize("command", BOTH)
def test_a_reset_asks_first_and_says_that_the_next_run_uploads_all_rows(
    store: UploadStore, base: SyncRun, command: tuple[str, ...]
) -> None:
    reset = ("syncs", "reset", "nightly")
    for typed in ("n\n", ""):
        assert failed(*reset, typed=typed).endswith("Nothing was reset.")
    assert store.syncs.state("nightly").base == base
    done = started(*reset, command=command, typed="y\n")
    assert (done.status, "Traceback" in done.stderr) == (0, False)
    assert done.stdout.endswith("The sync nightly was reset. Its next run uploads all rows.\n")
    assert store.syncs.state("nightly").base is None
    assert store.syncs.read_rows("nightly", base.snapshot, 0) is None


def test_a_sync_that_was_reset_is_listed_without_a_base_and_can_be_reset_again(base: SyncRun) -> None:
    for _ in range(2):
        assert (
            called("syncs", "reset", "nightly", "--yes").stdout
            == "The sync nightly was reset. Its next run uploads all rows.\n"
        )
        nightly = listed()[1]
        assert (nightly.pop("name"), nightly.pop("state")) == ("nightly", "no base")
        assert set(nightly.values()) == {None}
        assert listed("plain").splitlines()[-1].split() == ["nightly", "no", "base"]


@pytest.mark.usefixtures("base")
def test_a_reset_of_an_unknown_sync_or_of_none_is_one_line_that_names_the_known_ones() -> None:
    known = "Recorded are: hourly [1], nightly."
    unknown = failed("syncs", "reset", "Nightly", "--yes")
    assert unknown.startswith("No sync 'Nightly' is recorded in file:///")
    assert unknown.endswith(f"/uploads. {known}")
    assert failed("syncs", "reset") == f"Name the sync to reset. {known}"


def test_where_no_sync_is_recorded_a_reset_says_so(store: UploadStore) -> None:
    assert failed("syncs", "reset", "nightly").endswith(f"is recorded in {store.shown_url}. None is recorded.")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [(("forget", "nightly"), "invalid choice: 'forget'"), (("reset", "nightly", "hourly"), "hourly")],
)
def test_other_words_are_refused(store: UploadStore, arguments: tuple[str, ...], error: str) -> None:
    assert error in failed("syncs", *arguments, status=2)


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_a_name_does_nothing_to_the_terminal(store: UploadStore, output: str) -> None:
    store.syncs.add_run(sync_run(sync="\x1b]0;owned\x07[red]"))
    assert "\x1b" not in called("syncs", "--output", output).stdout
    error = failed("syncs", "reset", "\x1b]0;owned", "--yes")
    assert "\x1b" not in error
    assert "[red]" in error
    asked = called("syncs", "reset", "\x1b]0;owned\x07[red]", typed="y\n").stdout
    assert "Forget what the sync \\x1b]0;owned\\x07[red] has uploaded?" in asked
    assert "\x1b" not in asked


def test_a_store_that_does_not_answer_is_one_line_of_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", "nonsense://nowhere")
    for arguments in ((), ("reset", "nightly", "--yes")):
        assert failed("syncs", *arguments).startswith("Cannot read or write the upload store at nonsense://nowhere")
