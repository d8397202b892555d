"""The hook: one upload, tried again only while nothing was sent, and the test of a connection."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import traceback
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from urllib.parse import quote, quote_plus

import pytest
from packaging.version import Version

from airflow_provider_smartech.errors import (
    SmartechConfigurationError,
    SmartechError,
    SmartechInvalidParameter,
    SmartechNotReached,
    SmartechOutcomeUnknown,
    SmartechRefused,
)
from airflow_provider_smartech.hooks import SmartechHook, purge_uploads
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.upload import Record
from tests.conftest import API_KEY, SetConnection
from tests.support.servers import answering, http


def test_an_accepted_upload_gives_its_requestid(sandbox: SandboxServer, csv_url: str) -> None:
    requestid = SmartechHook().bulk_upload(csv_url, 33)
    assert [upload["requestid"] for upload in sandbox.state.uploads()] == [requestid]


def test_a_request_that_was_never_sent_is_tried_again_a_few_times(
    connection: SetConnection, csv_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    connection(host=f"http://127.0.0.1:{port}")
    with caplog.at_level(logging.DEBUG, "urllib3"), pytest.raises(SmartechNotReached, match="nothing was sent"):
        SmartechHook().bulk_upload(csv_url)
    assert sum("Starting new HTTP connection" in record.message for record in caplog.records) == SmartechHook.attempts


def test_a_server_that_comes_up_meanwhile_gets_the_request_once(
    connection: SetConnection, csv_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    connection(host=f"http://127.0.0.1:{port}")
    servers: list[SandboxServer] = []
    ask = SmartechHook._ask

    def ask_then_start(self: SmartechHook, *arguments: object) -> object:
        try:
            return ask(self, *arguments)  # type: ignore[arg-type]
        except SmartechNotReached:
            servers.append(SandboxServer(port=port, api_key=API_KEY).start())
            raise

    monkeypatch.setattr(SmartechHook, "_ask", ask_then_start)
    try:
        requestid = SmartechHook().bulk_upload(csv_url)
        assert [upload["requestid"] for upload in servers[0].state.uploads()] == [requestid]
    finally:
        for server in servers:
            server.stop()


@pytest.mark.parametrize("listid", [33, "33"])
def test_the_connection_s_list_and_e_mail_stand_in_where_an_upload_names_none(
    connection: SetConnection, listid: int | str
) -> None:
    connection(extra={"listid": listid, "notifyemail": "ops@example.com"})
    hook, path = SmartechHook(), "https://x.example.com/y.csv"
    assert hook.parameters(path).form() == {"path": path, "listid": "33", "notifyemail": "ops@example.com"}
    named = hook.parameters(path, 34, "me@example.com")
    assert (named.listid, named.notifyemail) == (34, "me@example.com")


@pytest.mark.parametrize(
    ("callback", "host", "is_warned_of"),
    [
        ("http://localhost:8080/smartech/pingback/1d", None, True),
        ("https://airflow.localhost/pingback/1d", None, True),
        ("http://10.1.2.3/pingback/1d", None, True),
        ("http://[::1]:8080/pingback/1d", None, True),
        ("https://receiver/pingback/1d", None, True),
        ("https://172.20.1.1/pingback/1d", "https://proxy.example.com/apiv2", True),
        ("https://airflow.example.com/pingback/1d", None, False),
        ("https://8.8.8.8/pingback/1d", None, False),
        ("http://localhost:8080/pingback/1d", "http://127.0.0.1:8095", False),
        ("https://receiver/pingback/1d", "https://sandbox:8095/apiv2", False),
        (None, None, False),
    ],
)
def test_a_callback_that_smartech_cannot_reach_is_warned_of_before_anything_is_sent(
    connection: SetConnection,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    callback: str | None,
    host: str | None,
    is_warned_of: bool,
) -> None:
    connection(host=host)
    said: list[str] = []

    def ask(self: SmartechHook, *arguments: object) -> object:
        said.append(caplog.text)
        raise SmartechOutcomeUnknown("nobody was asked")

    monkeypatch.setattr(SmartechHook, "_ask", ask)
    with pytest.raises(SmartechOutcomeUnknown):
        SmartechHook().bulk_upload(csv_url, 33, callback=callback)
    assert ("is not reachable from the internet" in said[0]) is is_warned_of
    assert "1d" not in said[0]


@pytest.mark.parametrize("by_connection", [False, True])
def test_an_upload_to_no_list_is_warned_of(
    sandbox: SandboxServer,
    connection: SetConnection,
    csv_url: str,
    caplog: pytest.LogCaptureFixture,
    by_connection: bool,
) -> None:
    connection(host=sandbox.api_url, extra={"listid": 33} if by_connection else {})
    SmartechHook().bulk_upload(f"{csv_url}?a=s3cret")
    assert (f"No list is named for {csv_url}, " in caplog.text) is not by_connection
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("conn_type", ["postgres", "http"])
def test_the_password_of_another_kind_of_connection_is_never_sent(
    sandbox: SandboxServer, csv_url: str, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    other = {"conn_type": conn_type, "password": sandbox.api_key, "host": sandbox.api_url}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(other))
    hook = SmartechHook("warehouse")
    with pytest.raises(SmartechConfigurationError, match=f"has the type '{conn_type}', not 'smartech'"):
        hook.bulk_upload(csv_url, 33)
    assert (hook.test_connection()[0], sandbox.state.uploads()) == (False, [])


def test_the_test_of_a_connection_uploads_nothing_and_tells_a_key_that_is_refused(
    sandbox: SandboxServer, connection: SetConnection
) -> None:
    works, message = SmartechHook().test_connection()
    assert works
    assert message == (
        "127.0.0.1 was reached and did not refuse the API key (HTTP 400, result 'path is required'). "
        "The request had no file."
    )
    connection(host=sandbox.api_url, password="an0ther-key-than-the-right-one")
    works, message = SmartechHook().test_connection()
    assert not works
    assert message == "127.0.0.1 was reached and refused the API key (HTTP 200, result 'Invalid API key')."
    assert sandbox.state.uploads() == []


@pytest.mark.parametrize(
    ("answer", "works", "said"),
    [
        (http("401 Unauthorized", b'{"result": "who?"}'), False, "refused the API key (HTTP 401, result 'who?')"),
        (http("200 OK", b'{"result": "API-KEY is missing"}'), False, "refused the API key (HTTP 200"),
        (http("200 OK", b'{"result": "Success", "requestid": "r"}'), True, "did not refuse the API key (HTTP 200"),
        (
            http("401 Unauthorized", b"<html>proxy</html>"),
            False,
            "does not show whether the API key is right (HTTP 401)",
        ),
        (http("200 OK", b'{"result": "path missing; apikey ok"}'), False, "does not show whether"),
        (http("200 OK", b'{"result": "Unauthorized"}'), False, "does not show whether"),
        (http("200 OK", b'{"result": "Error: missing key"}'), False, "does not show whether"),
        (http("404 Not Found", b'{"result": "no such page"}'), False, "does not show whether"),
        (http("429 Too Many Requests", b'{"result": "slowly"}'), False, "does not show whether"),
        (http("500 Oh", b'{"result": "Success"}'), False, "does not show whether"),
        (http("200 OK", b"<html>welcome</html>"), False, "does not show whether the API key is right (HTTP 200)"),
        (b"", False, "did not answer"),
    ],
)
def test_the_test_of_a_connection_says_what_it_saw(
    connection: SetConnection, answer: bytes, works: bool, said: str
) -> None:
    with answering(answer) as (url, seen):
        connection(host=url)
        status, message = SmartechHook().test_connection()
    assert (status, said in message) == (works, True), message
    assert len(seen) == 1
    assert API_KEY not in message


def test_the_test_of_a_connection_says_that_smartech_was_not_reached_or_what_is_wrong_with_it(
    connection: SetConnection,
) -> None:
    connection(host="http://127.0.0.1:1/apiv2")
    assert SmartechHook().test_connection() == (
        False,
        "Could not connect to Smartech (ConnectionError; host 127.0.0.1); nothing was sent. Check the host and the "
        "network",
    )
    connection(password=None)
    assert SmartechHook().test_connection()[0] is False
    assert "no API key" in SmartechHook().test_connection()[1]


def test_airflow_s_command_says_what_the_test_button_says(sandbox: SandboxServer, connection: SetConnection) -> None:
    def said() -> tuple[int, str]:
        command = [sys.executable, "-m", "airflow", "connections", "test", "smartech_default"]
        enabled = {**os.environ, "AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
        done = subprocess.run(command, env=enabled, capture_output=True, text=True, check=False)
        assert API_KEY not in done.stdout + done.stderr
        return done.returncode, " ".join(done.stdout.split())

    code, text = said()
    assert (code, text.endswith("Connection success!")) == (0, True)
    for wrong in ({"password": "an0ther-key-than-the-right-one"}, {"extra": {"idc": "[/no such]"}}):
        connection(**{"host": sandbox.api_url, **wrong})
        code, text = said()
        assert text.endswith(f"Connection failed! {SmartechHook().test_connection()[1]}"), text
        # Older versions of Airflow end with 0 here too.
        assert code == (Version(version("apache-airflow-core")) >= Version("3.3"))
    assert sandbox.state.uploads() == []


def test_the_test_of_a_connection_does_not_name_the_random_id_of_airflow_s_button(
    connection: SetConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection(password=None)
    monkeypatch.setenv("AIRFLOW_CONN_RANDOM123", os.environ["AIRFLOW_CONN_SMARTECH_DEFAULT"])
    said = SmartechHook("random123").test_connection()
    assert said == SmartechHook().test_connection()
    assert said[1].startswith("The connection has no API key.")


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        (http("200 OK", b'{"result": "Invalid API key"}'), True),
        (http("401 Unauthorized", b'{"result": "who?"}'), True),
        (http("403 Forbidden", b'{"result": "API key is inactive"}'), True),
        (http("403 Forbidden", b'{"result": "who?"}'), False),
        (http("401 Unauthorized", b"<html>proxy</html>"), False),
        (http("200 OK", b'{"result": "missing key: path"}'), False),
        (http("429 Too Many", b'{"result": "Invalid API key"}'), False),
        (http("500 Oh", b'{"result": "Invalid API key"}'), False),
        (http("400 Bad Request", b'{"result": "path is required"}'), False),
        (http("200 OK", b'{"result": "Success", "requestid": "r"}'), False),
        (b"", False),
    ],
)
def test_a_key_is_refused_in_advance_only_by_a_clear_answer(
    connection: SetConnection, answer: bytes, refuses: bool
) -> None:
    with answering(answer) as (url, seen):
        connection(host=url)
        if refuses:
            with pytest.raises(SmartechRefused, match=r"API key .connection 'smartech_default', host 127"):
                SmartechHook().check_api_key()
        else:
            SmartechHook().check_api_key()
    assert len(seen) == 1
    assert b"path=" not in seen[0]


def test_a_smartech_that_cannot_be_reached_refuses_no_key(connection: SetConnection) -> None:
    connection(host="http://127.0.0.1:1/apiv2")
    SmartechHook().check_api_key()


def test_a_wrong_parameter_is_refused_before_anything_is_sent(sandbox: SandboxServer) -> None:
    with pytest.raises(SmartechInvalidParameter):
        SmartechHook().bulk_upload("contacts.csv")
    assert sandbox.state.uploads() == []


@pytest.mark.parametrize("fault", [None, Fault.INVALID_KEY, Fault.HTML, Fault.CUT_BEFORE, Fault.HANG])
def test_no_error_and_no_log_record_holds_a_secret(
    sandbox: SandboxServer,
    csv_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Fault | None,
) -> None:
    monkeypatch.setattr(SmartechHook, "read_timeout", 0.2)
    sandbox.faults = frozenset({fault} if fault else ())
    signed, callback = f"{csv_url}?X-Amz-Signature=s1gnature0123456789", f"{sandbox.url}/c/t0ken0123456789"
    email = "ops@example.com"
    written = ""
    with caplog.at_level(logging.DEBUG):
        try:
            SmartechHook().bulk_upload(signed, 33, email, callback)
        except SmartechError as error:
            written = "".join(traceback.format_exception(error)) + repr(vars(error))
            written += repr((error.__cause__, error.__context__))
    # The sandbox, in threads of its own, logs what it fetches.
    ours = (threading.current_thread().name, "smartech-request")
    assert any(one.threadName == "smartech-request" for one in caplog.records)
    written += "\n".join(one.getMessage() for one in caplog.records if one.threadName in ours)
    for secret in (API_KEY, "s1gnature0123456789", "t0ken0123456789", email):
        for form in (secret, quote(secret, safe=""), quote_plus(secret)):
            assert form not in written


def test_old_uploads_are_purged_from_a_task(store: UploadStore) -> None:
    for days in (2, 40):
        at = datetime.now(UTC) - timedelta(days=days)
        key = f"{at:%Y%m%dT%H%M%S}-{'0' * 40}"
        store.create(Record(key=key, at=at, path="https://x/1.csv", smartech_conn_id="c", tracked=True))
    assert purge_uploads(older_than=timedelta(days=30)) == 1
    assert len(list(store.keys())) == 1
    with pytest.raises(ValueError, match="must be a day or more"):
        purge_uploads(older_than=timedelta(hours=23))
