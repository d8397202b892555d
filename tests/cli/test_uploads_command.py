"""``airflow smartech …``, and ``python -m airflow_provider_smartech …`` where Airflow takes no provider's commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from airflow_provider_smartech.config.options import OPTIONS
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import (
    Answer,
    Conclusion,
    PingBack,
    Record,
    TaskTry,
    key_of,
    new_upload_id,
)
from tests.support.commands import GROUP, MODULE, called, started


@pytest.fixture
def uploads(store: UploadStore) -> list[str]:
    """An old upload that completed and a new one that was accepted; gives their requestids."""
    now = datetime.now(UTC)
    task = TaskTry(dag_id="nightly", run_id="r", task_id="sync", try_number=1, max_tries=2)
    for at, listid in ((now - timedelta(days=40), 33), (now, 34)):
        key = f"{at:%Y%m%dT%H%M%S}-{listid:040}"
        fields: dict[str, Any] = {"key": key, "at": at, "listid": listid, "idc": "in", "task": task}
        path = f"https://x.example.com/{listid}.csv"
        store.create(Record(path=path, smartech_conn_id="c", tracked=True, **fields))
        store.answered(key, Answer(at=at, outcome="accepted", requestid=f"request-{listid}"))
        if listid == 33:
            store.add_pingback(
                key, PingBack(at=at + timedelta(seconds=90), payload={"status": "completed", "total": 7})
            )
    return ["request-33", "request-34"]


def printed(*arguments: str, typed: str = "") -> str:
    done = called(*arguments, typed=typed)
    assert done.status == 0, done.stderr
    return done.stdout


def printed_as_json(*arguments: str) -> Any:
    return json.loads(printed(*arguments, "--output", "json"))


@pytest.mark.usefixtures("uploads")
def test_uploads_are_listed_as_a_table_json_and_yaml() -> None:
    done = started("uploads")
    assert done.status == 0, done.stderr
    table = done.stdout
    assert table.index("request-34") < table.index("request-33")
    assert all(word in table for word in ("completed", "accepted", "33.csv", "nightly"))
    as_json = printed_as_json("uploads")
    assert [upload["requestid"] for upload in as_json] == ["request-34", "request-33"]
    assert as_json[1]["state"] == "completed"
    assert (as_json[1]["rows"], as_json[1]["seconds"], as_json[1]["dag_id"]) == (7, 90.0, "nightly")
    assert (as_json[0]["rows"], as_json[0]["ended_at"], as_json[0]["contradicted"]) == (None, None, False)
    as_yaml = yaml.safe_load(printed("uploads", "--output", "yaml"))
    assert [list(upload) for upload in as_yaml] == [list(upload) for upload in as_json]
    assert as_yaml[1] == as_json[1]


@pytest.mark.usefixtures("uploads")
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--limit", "1"], ["request-34"]),
        (["--state", "completed"], ["request-33"]),
        (["--state", "accepted,completed"], ["request-34", "request-33"]),
        (["--state", "failed", "--state", "completed"], ["request-33"]),
        (["--state", "attention"], []),
        (["--listid", "34"], ["request-34"]),
        (["--dag-id", "nightly"], ["request-34", "request-33"]),
        (["--dag-id", "weekly"], []),
    ],
)
def test_the_list_can_be_cut_down(arguments: list[str], found: list[str]) -> None:
    assert [upload["requestid"] for upload in printed_as_json("uploads", *arguments)] == found


@pytest.mark.usefixtures("uploads")
def test_one_upload_is_shown_with_what_happened_to_it() -> None:
    (shown,) = printed_as_json("show", "request-33")
    assert shown["path"] == "https://x.example.com/33.csv"
    whats = [event["what"] for event in shown["events"]]
    assert whats[-2:] == ["ping-back: completed", "completed: its ping-back has no row counts"]
    assert shown["events"][-2]["payload"] == {"status": "completed", "total": 7}
    assert "Smartech accepted it as request-33" in printed("show", "request-33")


def test_a_pingback_that_is_not_recognised_is_shown_with_the_line_that_would_make_it_known(
    store: UploadStore, uploads: list[str]
) -> None:
    store.add_pingback(next(store.keys()), PingBack(payload={"status": "imported"}))
    line = f"completed_words = {OPTIONS['completed_words']['default']}, imported"
    (shown,) = printed_as_json("show", uploads[1])
    (event,) = [event for event in shown["events"] if event["what"] == "ping-back: unrecognised"]
    assert event["read"].startswith("Field status, word 'imported'")
    assert any(one.endswith(line) for one in event["advice"].splitlines())
    for output in ("table", "plain"):
        assert any(one.endswith(line) for one in printed("show", uploads[1], "--output", output).splitlines())


def test_accounts_rows_and_contradictions_are_listed_and_shown(store: UploadStore) -> None:
    now = datetime.now(UTC)
    key = f"{now:%Y%m%dT%H%M%S}-{'a' * 40}"
    store.create(
        Record(key=key, path="https://x/y.csv", account_name="retail", rows=9, smartech_conn_id="c", tracked=True)
    )
    store.answered(key, Answer(outcome="accepted", requestid="r1"))
    store.add_pingback(key, PingBack(payload={"status": "completed", "accepted": 7}))
    store.concluded(key, Conclusion(pingbacks=tuple(pingback.name for pingback in store.read(key).pingbacks)))
    (line,) = [line for line in printed("uploads", "--output", "plain").splitlines() if line.startswith("r1")]
    assert line.split()[:11] == ["r1", "completed", "(with", "rejected", "rows)", "retail", "c", "y.csv", "9", "7", "2"]
    store.add_pingback(key, PingBack(payload={"status": "failed"}))
    assert "(contradicted)" in " ".join(printed("uploads", "--output", "table").split())
    (shown,) = printed_as_json("show", "r1")
    names = ("state", "account", "smartech_conn_id", "rows", "accepted", "rejected", "contradicted")
    assert [shown[name] for name in names] == ["completed", "retail", "c", 9, 7, 2, True]
    whats = [event["what"] for event in shown["events"]]
    assert "completed: 7 accepted, 2 rejected of 9 rows; its ping-backs contradict each other" in whats
    assert whats[-1] == "ping-back: failed"


def test_an_upload_of_what_changed_is_shown_with_the_rows_of_its_query(store: UploadStore) -> None:
    key = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{'a' * 40}"
    fields: dict[str, Any] = {"rows": 10_000, "of_rows": 1_000_000}
    store.create(Record(key=key, path="https://x/y.csv", smartech_conn_id="c", tracked=True, **fields))
    for arguments in (("uploads",), ("show", key)):
        shown = printed(*arguments, "--output", "plain")
        assert "10,000 of 1,000,000" in shown
        assert "of_rows" not in shown
        (upload,) = printed_as_json(*arguments)
        assert (upload["rows"], upload["of_rows"]) == (10_000, 1_000_000)


def test_a_requestid_of_two_accounts_is_an_error_that_names_both(store: UploadStore) -> None:
    keys = [str(key_of(new_upload_id())) for _ in range(2)]
    for key, name in zip(keys, ("retail", "travel"), strict=True):
        store.create(
            Record(key=key, path="https://x/y.csv", account=name, account_name=name, smartech_conn_id="c", tracked=True)
        )
        store.answered(key, Answer(outcome="accepted", requestid="r1"))
    done = called("show", "r1")
    assert done.status == 1
    assert all(name in done.stderr for name in ("retail", "travel"))
    assert printed("show", keys[1])


def test_an_upload_without_a_requestid_has_none_and_is_found_by_its_key(store: UploadStore, uploads: list[str]) -> None:
    assert printed("uploads", "--output", "plain").split()[:2] == ["requestid", "state"]
    key = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{'f' * 40}"
    store.create(Record(key=key, path="https://x/y.csv", smartech_conn_id="c", tracked=True))
    found = printed_as_json("uploads")
    assert [upload["requestid"] for upload in found] == [None, "request-34", "request-33"]
    assert [upload["key"] for upload in found] == list(store.keys())
    header, *lines = printed("uploads", "--output", "plain").splitlines()
    assert header.split()[:3] == ["requestid", "key", "state"]
    assert [line.split()[0] for line in lines] == [key, *reversed(uploads)]
    (shown,) = printed_as_json("show", key)
    assert (shown["requestid"], shown["key"]) == (None, key)


@pytest.mark.parametrize(
    ("command", "output", "loads"), [(GROUP, "json", json.loads), (MODULE, "yaml", yaml.safe_load)]
)
@pytest.mark.once
def test_the_log_goes_to_stderr_and_only_the_result_to_stdout(
    s3: Any,
    bucket: str,
    s3_folder: str,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    output: str,
    loads: Callable[[str], Any],
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", s3_folder)
    store, keys = open_upload_store(s3_folder), [f"20260301T02000{number}-{'a' * 40}" for number in range(2)]
    for key in keys:
        store.create(Record(key=key, path="https://x/y.csv", smartech_conn_id="c", tracked=True))
    name = f"prefix/uploads/20260301/{keys[0]}/record.json"
    s3.put_object(Bucket=bucket, Key=name, Body=b"{}", StorageClass="GLACIER")
    listed = started("uploads", "--output", output, command=command)
    assert [(line["key"], line["state"], line["rows"]) for line in loads(listed.stdout)] == [
        (keys[1], "submitting", None),
        (keys[0], "unreadable", None),
    ]
    assert keys[0] in listed.stderr
    shown = started("show", keys[1], "--output", output, command=command)
    assert [line["key"] for line in loads(shown.stdout)] == [keys[1]]
    assert "AWS Connection" in shown.stderr


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_what_smartech_says_is_shown_as_it_is_and_does_nothing_to_the_terminal(
    store: UploadStore, uploads: list[str], output: str
) -> None:
    key = next(store.keys())
    store.add_pingback(key, PingBack(payload={"said": "[/b] [error] 12 rows [red]lost[/red]"}))
    store.add_pingback(key, PingBack(payload="\x1b]0;owned\x07"))
    shown = printed("show", uploads[1], "--output", output)
    assert "\x1b]0;owned" not in shown
    assert "[error]" in shown
    assert "[red]lost[/red]" in "".join(shown.split())


def test_an_unknown_upload_and_a_store_that_does_not_answer_are_one_line_of_error(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*arguments: str) -> str:
        done = called(*arguments)
        assert done.status == 1
        (line,) = done.stderr.splitlines()
        return line

    assert failed("show", "nope").startswith("No upload with requestid 'nope' is recorded")
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", "nonsense://nowhere")
    assert failed("uploads").startswith("Cannot read or write the upload store at nonsense://nowhere")


@pytest.mark.once
def test_purge_says_what_it_would_remove_asks_and_removes(store: UploadStore, uploads: list[str]) -> None:
    purge = ("purge", "--older-than", "30d")
    assert printed(*purge, "--dry-run").startswith("Would remove 1 upload(s) recorded before 20")
    for typed in ("n\n", ""):
        done = started(*purge, typed=typed)
        assert done.status == 1
        assert done.stderr.strip().endswith("Nothing was removed.")
        assert "Traceback" not in done.stderr
    assert store.find(uploads[0])
    assert "Removed 1 upload(s)." in printed(*purge, typed="y\n")
    assert "Removed 0 upload(s)." in printed(*purge, "--yes")
    assert [store.read(key).requestid for key in store.keys(before="")] == uploads[1:]


@pytest.mark.once
def test_the_store_s_connection_is_found_in_airflow_s_database(bucket: str, moto: str) -> None:
    """As on a host where nobody put it into the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")}
    environment |= {"AIRFLOW__SMARTECH__UPLOAD_STORE": f"s3://in_database@{bucket}/smartech"}
    extra = json.dumps({"endpoint_url": moto, "region_name": "us-east-1"})
    arguments = ["--conn-type", "aws", "--conn-login", "test", "--conn-password", "test-secret", "--conn-extra", extra]
    for command in (["db", "migrate"], ["connections", "add", "in_database", *arguments]):
        airflow = [sys.executable, "-m", "airflow", *command]
        subprocess.run(airflow, env=environment, capture_output=True, check=True)
    done = subprocess.run(
        [*GROUP, "uploads", "--output", "json"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
