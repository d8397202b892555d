"""``airflow smartech …``, and ``python -m airflow_provider_smartech …`` where Airflow takes no provider's commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import pytest
import yaml
from packaging.version import Version

from airflow_provider_smartech.cli.definition import main
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

MODULE = [sys.executable, "-m", "airflow_provider_smartech"]
# Providers bring commands from Airflow 3.2 on.
HAS_GROUPS = Version(version("apache-airflow-core")) >= Version("3.2")
GROUP = [sys.executable, "-m", "airflow", "smartech"] if HAS_GROUPS else MODULE


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


def said(*arguments: str, command: list[str] = GROUP, typed: str = "") -> str:
    done = subprocess.run([*command, *arguments], input=typed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def called(*arguments: str) -> None:
    main(arguments)


@pytest.mark.usefixtures("uploads")
def test_uploads_are_listed_as_a_table_json_and_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    table = said("uploads")
    assert table.index("request-34") < table.index("request-33")
    assert all(word in table for word in ("completed", "accepted", "33.csv", "nightly"))
    as_json = json.loads(said("uploads", "--output", "json"))
    assert [upload["requestid"] for upload in as_json] == ["request-34", "request-33"]
    assert as_json[1]["state"] == "completed"
    assert (as_json[1]["rows"], as_json[1]["seconds"], as_json[1]["dag_id"]) == (7, 90.0, "nightly")
    assert (as_json[0]["rows"], as_json[0]["ended_at"], as_json[0]["contradicted"]) == (None, None, False)
    called("uploads", "--output", "yaml")
    as_yaml = yaml.safe_load(capsys.readouterr().out)
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
def test_the_list_can_be_cut_down(capsys: pytest.CaptureFixture[str], arguments: list[str], found: list[str]) -> None:
    called("uploads", "--output", "json", *arguments)
    assert [upload["requestid"] for upload in json.loads(capsys.readouterr().out)] == found


@pytest.mark.usefixtures("uploads")
def test_one_upload_is_shown_with_what_happened_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    called("show", "request-33", "--output", "json")
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["path"] == "https://x.example.com/33.csv"
    whats = [event["what"] for event in shown["events"]]
    assert whats[-2:] == ["ping-back: completed", "completed: its ping-back has no row counts"]
    assert shown["events"][-2]["payload"] == {"status": "completed", "total": 7}
    called("show", "request-33")
    assert "Smartech accepted it as request-33" in capsys.readouterr().out


def test_a_pingback_that_is_not_recognised_is_shown_with_the_line_that_would_make_it_known(
    store: UploadStore, uploads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store.add_pingback(next(store.keys()), PingBack(payload={"status": "imported"}))
    line = f"completed_words = {OPTIONS['completed_words']['default']}, imported"
    called("show", uploads[1], "--output", "json")
    (shown,) = json.loads(capsys.readouterr().out)
    (event,) = [event for event in shown["events"] if event["what"] == "ping-back: unrecognised"]
    assert event["read"].startswith("Field status, word 'imported'")
    assert any(one.endswith(line) for one in event["advice"].splitlines())
    for output in ("table", "plain"):
        called("show", uploads[1], "--output", output)
        assert any(one.endswith(line) for one in capsys.readouterr().out.splitlines())


def test_accounts_rows_and_contradictions_are_listed_and_shown(
    store: UploadStore, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    key = f"{now:%Y%m%dT%H%M%S}-{'a' * 40}"
    store.create(
        Record(key=key, path="https://x/y.csv", account_name="retail", rows=9, smartech_conn_id="c", tracked=True)
    )
    store.answered(key, Answer(outcome="accepted", requestid="r1"))
    store.add_pingback(key, PingBack(payload={"status": "completed", "accepted": 7}))
    store.concluded(key, Conclusion(pingbacks=tuple(pingback.name for pingback in store.read(key).pingbacks)))
    called("uploads", "--output", "plain")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("r1")]
    assert line.split()[:11] == ["r1", "completed", "(with", "rejected", "rows)", "retail", "c", "y.csv", "9", "7", "2"]
    store.add_pingback(key, PingBack(payload={"status": "failed"}))
    called("uploads", "--output", "table")
    assert "(contradicted)" in " ".join(capsys.readouterr().out.split())
    called("show", "r1", "--output", "json")
    (shown,) = json.loads(capsys.readouterr().out)
    names = ("state", "account", "smartech_conn_id", "rows", "accepted", "rejected", "contradicted")
    assert [shown[name] for name in names] == ["completed", "retail", "c", 9, 7, 2, True]
    whats = [event["what"] for event in shown["events"]]
    assert "completed: 7 accepted, 2 rejected of 9 rows; its ping-backs contradict each other" in whats
    assert whats[-1] == "ping-back: failed"


def test_an_upload_of_what_changed_is_shown_with_the_rows_of_its_query(
    store: UploadStore, capsys: pytest.CaptureFixture[str]
) -> None:
    key = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{'a' * 40}"
    fields: dict[str, Any] = {"rows": 10_000, "of_rows": 1_000_000}
    store.create(Record(key=key, path="https://x/y.csv", smartech_conn_id="c", tracked=True, **fields))
    for arguments in (("uploads",), ("show", key)):
        called(*arguments, "--output", "plain")
        shown = capsys.readouterr().out
        assert "10,000 of 1,000,000" in shown
        assert "of_rows" not in shown
        called(*arguments, "--output", "json")
        (upload,) = json.loads(capsys.readouterr().out)
        assert (upload["rows"], upload["of_rows"]) == (10_000, 1_000_000)


def test_a_requestid_of_two_accounts_is_an_error_that_names_both(store: UploadStore) -> None:
    keys = [str(key_of(new_upload_id())) for _ in range(2)]
    for key, name in zip(keys, ("retail", "travel"), strict=True):
        store.create(
            Record(key=key, path="https://x/y.csv", account=name, account_name=name, smartech_conn_id="c", tracked=True)
        )
        store.answered(key, Answer(outcome="accepted", requestid="r1"))
    with pytest.raises(SystemExit, match=r"retail.*travel|travel.*retail"):
        called("show", "r1")
    called("show", keys[1])


def test_an_upload_without_a_requestid_has_none_and_is_found_by_its_key(
    store: UploadStore, uploads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    called("uploads", "--output", "plain")
    assert capsys.readouterr().out.split()[:2] == ["requestid", "state"]
    key = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{'f' * 40}"
    store.create(Record(key=key, path="https://x/y.csv", smartech_conn_id="c", tracked=True))
    called("uploads", "--output", "json")
    found = json.loads(capsys.readouterr().out)
    assert [upload["requestid"] for upload in found] == [None, "request-34", "request-33"]
    assert [upload["key"] for upload in found] == list(store.keys())
    called("uploads", "--output", "plain")
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["requestid", "key", "state"]
    assert [line.split()[0] for line in lines] == [key, *reversed(uploads)]
    called("show", key, "--output", "json")
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["requestid"], shown["key"]) == (None, key)


@pytest.mark.parametrize("command", [GROUP, MODULE])
def test_the_log_goes_to_stderr_and_only_the_result_to_stdout(
    s3: Any, bucket: str, s3_folder: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", s3_folder)
    store, keys = open_upload_store(s3_folder), [f"20260301T02000{number}-{'a' * 40}" for number in range(2)]
    for key in keys:
        store.create(Record(key=key, path="https://x/y.csv", smartech_conn_id="c", tracked=True))
    name = f"prefix/uploads/20260301/{keys[0]}/record.json"
    s3.put_object(Bucket=bucket, Key=name, Body=b"{}", StorageClass="GLACIER")

    def run(*arguments: str) -> tuple[str, str]:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    for output, loads in (("json", json.loads), ("yaml", yaml.safe_load)):
        listed, log = run("uploads", "--output", output)
        assert [(line["key"], line["state"], line["rows"]) for line in loads(listed)] == [
            (keys[1], "submitting", None),
            (keys[0], "unreadable", None),
        ]
        assert keys[0] in log
        shown, log = run("show", keys[1], "--output", output)
        assert [line["key"] for line in loads(shown)] == [keys[1]]
        assert "AWS Connection" in log


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_what_smartech_says_is_shown_as_it_is_and_does_nothing_to_the_terminal(
    store: UploadStore, uploads: list[str], capsys: pytest.CaptureFixture[str], output: str
) -> None:
    key = next(store.keys())
    store.add_pingback(key, PingBack(payload={"said": "[/b] [error] 12 rows [red]lost[/red]"}))
    store.add_pingback(key, PingBack(payload="\x1b]0;owned\x07"))
    called("show", uploads[1], "--output", output)
    shown = capsys.readouterr().out
    assert "\x1b]0;owned" not in shown
    assert "[error]" in shown
    assert "[red]lost[/red]" in "".join(shown.split())


def test_an_unknown_upload_and_a_store_that_does_not_answer_are_one_line_of_error(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*arguments: str) -> str:
        done = subprocess.run([*MODULE, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    assert failed("show", "nope").startswith("No upload with requestid 'nope' is recorded")
    monkeypatch.setenv("AIRFLOW__SMARTECH__UPLOAD_STORE", "nonsense://nowhere")
    assert failed("uploads").startswith("Cannot read or write the upload store at nonsense://nowhere")


def test_purge_says_what_it_would_remove_asks_and_removes(store: UploadStore, uploads: list[str]) -> None:
    purge = ("purge", "--older-than", "30d")
    assert said(*purge, "--dry-run").startswith("Would remove 1 upload(s) recorded before 20")
    for typed in ("n\n", ""):
        done = subprocess.run([*GROUP, *purge], input=typed, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.strip().endswith("Nothing was removed.")
        assert "Traceback" not in done.stderr
    assert store.find(uploads[0])
    assert "Removed 1 upload(s)." in said(*purge, typed="y\n")
    assert "Removed 0 upload(s)." in said(*purge, "--yes")
    assert [store.read(key).requestid for key in store.keys(before="")] == uploads[1:]


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
