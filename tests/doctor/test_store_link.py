"""Whether this process can use the upload store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.doctor import store_link as module
from airflow_provider_smartech.doctor.finding import Finding
from airflow_provider_smartech.doctor.store_link import store_link
from airflow_provider_smartech.uploads.store import UploadStore


def only(store: UploadStore) -> Finding:
    (finding,) = store_link(store)
    return finding


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_it_is_written_read_listed_and_emptied_again_and_each_is_timed(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(module, "SLOW_SECONDS", 60.0)
    url = f"file://{tmp_path}/not/there" if kind == "file" else request.getfixturevalue("s3_folder")
    store = open_upload_store(url)
    finding = only(store)
    assert finding.result == "ok"
    assert all(re.search(rf"{step} \d+\.\d+ s", finding.seen) for step in ("write", "read", "list", "remove"))
    assert ("a folder that all of Airflow's components must share" in finding.seen) == (kind == "file")
    assert store.probe_keys() == []


def test_a_missing_connection_and_a_missing_bucket_are_broken_with_the_step_that_failed(s3: Any) -> None:
    missing = only(open_upload_store("s3://nobody@bucket/x"))
    assert (missing.result, missing.seen[:12]) == ("broken", "cannot write")
    assert "nobody" in missing.seen
    assert only(open_upload_store("s3://s3_test@there-is-no-such-bucket/x")).result == "broken"


def test_what_cannot_be_removed_is_broken_and_says_what_worked(
    store: UploadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UploadStore, "remove_probe", lambda self, key: None)
    finding = only(store)
    assert finding.result == "broken"
    assert "(remove)" in finding.seen


def test_what_is_written_but_not_seen_is_broken(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UploadStore, "create_probe", lambda self, key: None)
    finding = only(store)
    assert "is not seen by the next call (read)" in finding.seen
    assert "cache" in finding.advice


def test_a_slow_store_is_a_warning(store: UploadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.0)
    assert only(store).result == "warning"
