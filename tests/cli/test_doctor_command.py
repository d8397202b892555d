"""``airflow smartech doctor``: one line for each link, or JSON or YAML, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from tests.support.commands import BOTH, MODULE, called, started

pytestmark = [pytest.mark.usefixtures("receiver"), pytest.mark.once]


@pytest.mark.parametrize("command", BOTH)
def test_each_link_is_a_line_and_the_status_is_0_if_none_is_broken(
    sandbox: SandboxServer, store: UploadStore, bucket: str, command: tuple[str, ...]
) -> None:
    status, shown, log = started("doctor", "--s3-bucket", bucket, command=command)
    assert status == 0, log
    *lines, end = shown.splitlines()
    assert end == "Nothing is broken."
    assert len(lines) == 14
    assert all(line.startswith("✓ ") for line in lines)
    assert (list(store.keys()), store.probe_keys(), sandbox.state.uploads()) == ([], [], [])


def test_a_broken_link_is_named_with_what_to_do_and_the_status_is_1(sandbox: SandboxServer, tmp_path: Path) -> None:
    status, shown, _ = started("doctor", AIRFLOW__SMARTECH__UPLOAD_STORE=f"file://{tmp_path}/another")
    assert status == 1
    assert shown.splitlines()[-1] == "Broken: ping-back."
    (line,) = [line for line in shown.splitlines() if line.startswith("✗")]
    assert line.startswith("✗ ping-back ")
    assert "→ The receiver runs, but does not find what this process wrote" in shown


@pytest.mark.parametrize(("output", "loads"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_json_and_yaml_are_pure_and_the_log_and_the_question_go_to_stderr(
    sandbox: SandboxServer, csv_url: str, output: str, loads: object
) -> None:
    assert callable(loads)
    sandbox.fail_next(Fault.STATUS_UNKNOWN)
    status, shown, log = started(
        "doctor", "--output", output, "--upload", csv_url, "--listid", "33", command=MODULE, typed="y\n"
    )
    assert status == 1
    rows = {row["link"]: row for row in loads(shown)}
    assert set(rows["ping-back"]) == {"link", "result", "seen", "advice", "seconds", "payload"}
    assert (rows["ping-back"]["result"], rows["ping-back"]["advice"]) == ("ok", None)
    assert rows["its ping-back"]["payload"]["status"] == "hibernating"
    assert "processed, hibernating" in rows["its ping-back"]["advice"]
    assert f"Send {csv_url} to list 33 with connection smartech_default" in log
    assert "Smartech accepted the upload" in log


def test_an_upload_is_sent_only_after_a_yes(sandbox: SandboxServer, csv_url: str) -> None:
    for typed in ("", "n\n"):
        status, shown, _ = called("doctor", "--upload", csv_url, typed=typed)
        assert status == 0
        assert "- upload " in shown
        assert shown.splitlines()[-1] == "Nothing is broken, but not everything was tried."
    assert sandbox.state.uploads() == []
    status, shown, _ = called("doctor", "--upload", csv_url, "--listid", "33", "--timeout", "20", "--yes")
    assert (status, len(sandbox.state.uploads())) == (0, 1)
    assert "completed: 3 rows accepted" in shown


def test_no_secret_is_shown_in_any_format(sandbox: SandboxServer, csv_url: str) -> None:
    signed = f"{csv_url}?X-Amz-Signature=5ignature-of-the-link"
    for output in ("table", "json"):
        _, shown, log = started(
            "doctor", "--upload", signed, "--listid", "33", "--yes", "--output", output, command=MODULE
        )
        for secret in (sandbox.api_key, "5ignature", "probe-2"):
            assert secret not in shown + log


def test_a_terminal_without_the_marks_gets_simple_ones(sandbox: SandboxServer) -> None:
    status, shown, _ = started(
        "doctor",
        command=MODULE,
        PYTHONIOENCODING="ascii",
        AIRFLOW__SMARTECH__CALLBACK_BASE_URL="http://127.0.0.1:1",
    )
    assert status == 1
    assert "+ upload store" in shown
    assert "x ping-back" in shown


def test_what_a_server_says_does_nothing_to_the_terminal(
    store: UploadStore, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SMARTECH__ODD", "x")
    monkeypatch.setenv("AIRFLOW__SMARTECH__COMPLETED_WORDS", "done, \x1b]0;owned\x07")
    assert "\x1b" not in called("doctor").stdout
