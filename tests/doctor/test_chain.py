"""The whole chain: a broken link does not end the walk, and what depends on it says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_smartech.airflow_compat import AirflowException
from airflow_provider_smartech.doctor import chain as module
from airflow_provider_smartech.doctor.chain import Chain
from airflow_provider_smartech.doctor.finding import Finding, Result
from airflow_provider_smartech.doctor.first_upload import FirstUpload
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from tests.conftest import SetConnection
from tests.doctor.conftest import Findings, by_link

Option = Callable[[str, str], None]
pytestmark = pytest.mark.usefixtures("receiver")


def walked(**arguments: Any) -> Findings:
    return by_link(Chain(**arguments).walk())


def but_ok(findings: Findings) -> dict[str, Result]:
    return {link: finding.result for link, finding in findings.items() if finding.result is not Result.OK}


def never(question: str) -> bool:
    raise AssertionError(question)


def test_everything_is_fine_from_the_settings_to_a_real_upload_and_a_bucket(
    sandbox: SandboxServer, store: UploadStore, bucket: str, csv_url: str
) -> None:
    upload = FirstUpload(path=csv_url, listid=33, timeout=timedelta(seconds=20), agree=lambda question: True)
    findings = walked(s3_bucket=bucket, upload=upload)
    assert but_ok(findings) == {}
    assert list(findings) == [
        "[smartech] upload_store",
        "[smartech] callback_base_url",
        "[smartech] poll_interval",
        "other settings",
        "upload store",
        "connection",
        "API key",
        "AWS credentials",
        "bucket",
        "signed link",
        "callback address",
        "ping-back",
        "receiver",
        "clock",
        "upload",
        "its ping-back",
        "its result",
    ]
    assert [upload["state"] for upload in sandbox.state.uploads()] == ["completed"]
    assert len(list(store.keys())) == 1


def test_without_a_bucket_and_an_upload_neither_is_looked_at(sandbox: SandboxServer) -> None:
    findings = walked()
    assert but_ok(findings) == {}
    assert not {"bucket", "upload"} & findings.keys()


def test_a_store_that_is_not_there_leaves_the_pingback_untried_but_not_the_key(
    sandbox: SandboxServer, option: Option
) -> None:
    option("upload_store", "s3://nobody@bucket/x")
    findings = walked()
    untried = ("callback address", "ping-back", "receiver", "clock")
    assert but_ok(findings) == {"upload store": Result.BROKEN, **dict.fromkeys(untried, Result.NOT_TRIED)}
    assert findings["ping-back"].seen == "not tried: the upload store cannot be used"


def test_a_wrong_setting_leaves_the_pingback_untried(sandbox: SandboxServer, option: Option) -> None:
    option("poll_interval", "soon")
    findings = walked()
    assert findings["settings"].result is Result.BROKEN
    assert findings["ping-back"].seen == "not tried: the settings are wrong"


def test_without_an_address_the_pingback_is_not_tried(
    sandbox: SandboxServer, option: Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    option("callback_base_url", "")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    assert walked()["ping-back"].seen == "not tried: there is no callback_base_url"


def test_without_a_connection_the_pingback_is_tried_but_nothing_is_sent(connection: SetConnection) -> None:
    connection(password="")
    upload = FirstUpload(path="https://x/y.csv", listid=33, timeout=timedelta(seconds=1), agree=never)
    findings = walked(upload=upload)
    assert but_ok(findings) == {
        "connection": Result.BROKEN,
        "API key": Result.NOT_TRIED,
        "upload": Result.NOT_TRIED,
    }
    assert findings["upload"].seen == "not tried: first repair connection"


def test_what_nobody_thought_of_breaks_its_own_link_only_and_shows_no_secret(
    sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(store: UploadStore) -> Iterator[Finding]:
        raise AirflowException("https://x.example.com/?apikey=hush")
        yield

    monkeypatch.setattr(module, "store_link", failing)
    findings = walked()
    assert findings["upload store"].seen.startswith("it could not be examined: AirflowException")
    assert "hush" not in str(findings)
    assert findings["API key"].result is Result.OK
