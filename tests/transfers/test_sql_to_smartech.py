"""The transfers: from an object in S3, and from a query, to contacts in the sandbox."""

from __future__ import annotations

import gzip
import json
import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import boto3
import duckdb
import psycopg
import psycopg2
import psycopg2.extensions
import pyarrow as pa
import pyarrow.parquet
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred
from airflow.sdk import DAG
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from airflow_provider_smartech import extracts
from airflow_provider_smartech.errors import (
    ContactsEmpty,
    ContactsQueryFailed,
    ContactsRefused,
    ContactsStorageError,
    ContactsWithoutKey,
    SmartechConfigurationError,
    SmartechInvalidParameter,
    SmartechOutcomeUnknown,
    SmartechRefused,
    TaskKilled,
    UploadFailed,
    UploadRowsRejected,
    UploadTimeout,
)
from airflow_provider_smartech.extracts import postgres as postgres_way
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.staging import area as staging_area
from airflow_provider_smartech.staging import s3_multipart as multipart
from airflow_provider_smartech.tasks.submission import Submission, task_try
from airflow_provider_smartech.transfers import S3ToSmartechOperator, SqlToSmartechOperator
from airflow_provider_smartech.uploads.store import UploadStore
from tests.support.postgres import PostgresServer
from tests.support.servers import eventually
from tests.support.tasks import FakeTaskInstance, context, run
from tests.test_operators import crashing, submitted

pytestmark = pytest.mark.usefixtures("receiver")

CSV = b'EMAIL,NAME\na@example.com,"M\xc3\xbcller, Ana"\nb@example.com,\n'
QUERY = """SELECT 'c' || i || '@example.com' AS "EMAIL", 'Name, ' || i AS name
           FROM generate_series(1, 10) AS i ORDER BY i"""


@pytest.fixture(autouse=True)
def warehouse(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Airflow connection ``warehouse`` to a real PostgreSQL."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(postgres.connection))


@pytest.fixture(autouse=True)
def put(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="exports/contacts.csv", Body=CSV)


def from_s3(bucket: str, **arguments: Any) -> S3ToSmartechOperator:
    given = {"s3_key": "exports/contacts.csv", "listid": 33, "deferrable": False, **arguments}
    return S3ToSmartechOperator(task_id="upload", s3_bucket=bucket, **given)


def from_sql(bucket: str, **arguments: Any) -> SqlToSmartechOperator:
    given = {"sql": QUERY, "conn_id": "warehouse", "s3_prefix": "staged/", "listid": 33, "deferrable": False}
    return SqlToSmartechOperator(task_id="upload", **{"s3_bucket": bucket, **given, **arguments})


def keys(s3: Any, bucket: str, prefix: str = "staged/") -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def unfinished(s3: Any, bucket: str) -> list[Any]:
    return list(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def loaded(sandbox: SandboxServer) -> list[str]:
    return [upload["state"] for upload in reversed(sandbox.state.uploads())]


@contextmanager
def the_second_gets(sandbox: SandboxServer, fault: Fault) -> Iterator[None]:
    """Let the second request to the sandbox go wrong."""
    submit = SmartechHook.submit

    def watched(self: SmartechHook, parameters: Any) -> str:
        if len(submitted(sandbox)) == 1:
            sandbox.fail_next(fault)
        return submit(self, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SmartechHook, "submit", watched)
        yield


class TestS3ToSmartech:
    def test_it_submits_a_signed_link_and_returns_the_requestid(self, sandbox: SandboxServer, bucket: str) -> None:
        ti = FakeTaskInstance()
        requestid = run(from_s3(bucket, primary_key="EMAIL", wait_for_completion=True), ti)
        assert [requestid] == submitted(sandbox)
        assert ti.xcoms["requestid"] == requestid
        assert [summary["accepted"] for summary in ti.xcoms["summaries"]] == [2]
        assert sandbox.state.count(33) == 2

    def test_it_waits_in_the_triggerer_too(self, sandbox: SandboxServer, bucket: str) -> None:
        sandbox.late_seconds = 0.3
        sandbox.fail_next(Fault.PINGBACK_LATE)
        run(from_s3(bucket, wait_for_completion=True, deferrable=True))
        assert sandbox.state.count(33) == 2

    @pytest.mark.parametrize(("max_rejected", "is_green"), [(5, True), (0.09, False)])
    def test_more_rejected_rows_than_allowed_fail_it(
        self, sandbox: SandboxServer, s3: Any, bucket: str, max_rejected: float, is_green: bool
    ) -> None:
        rows = "".join(f"c{number}@example.com\n" for number in range(50))
        s3.put_object(Bucket=bucket, Key="many.csv", Body=f"EMAIL\n{rows}".encode())
        sandbox.faults = frozenset({Fault.ROWS_REJECTED})
        task = from_s3(bucket, s3_key="many.csv", wait_for_completion=True, max_rejected=max_rejected)
        if is_green:
            run(task)
        else:
            with pytest.raises(UploadRowsRejected, match=r"many\.csv.*45 accepted, 5 rejected of 50 rows"):
                run(task)

    def test_the_link_is_signed_with_version_4_for_a_day(
        self, sandbox: SandboxServer, bucket: str, sent: list[str]
    ) -> None:
        run(from_s3(bucket))
        query = parse_qs(urlsplit(sent[0]).query)
        assert (query["X-Amz-Algorithm"], query["X-Amz-Expires"]) == (["AWS4-HMAC-SHA256"], ["86400"])

    def test_the_link_may_live_for_seven_days(self, sandbox: SandboxServer, bucket: str, sent: list[str]) -> None:
        run(from_s3(bucket, url_validity=timedelta(days=7)))
        assert parse_qs(urlsplit(sent[0]).query)["X-Amz-Expires"] == ["604800"]

    def test_a_direct_link_has_no_signature(
        self, sandbox: SandboxServer, s3: Any, moto: str, bucket: str, sent: list[str]
    ) -> None:
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
        s3.put_object(Bucket=bucket, Key="a b/ü.csv", Body=CSV, ACL="public-read")
        run(from_s3(bucket, s3_key="a b/ü.csv", url_mode="direct", wait_for_completion=True))
        assert sent == [f"{moto}/{bucket}/a%20b/%C3%BC.csv"]
        assert sandbox.state.count(33) == 2

    @pytest.mark.parametrize(
        ("region", "mode", "expected"),
        [
            ("eu-west-1", "direct", "https://my-bucket.s3.eu-west-1.amazonaws.com/a.csv"),
            ("eu-west-1", "presigned", "https://my-bucket.s3.eu-west-1.amazonaws.com/a.csv"),
            ("us-east-1", "direct", "https://my-bucket.s3.amazonaws.com/a.csv"),
        ],
    )
    def test_on_amazon_the_link_leads_to_the_bucket_s_region(
        self, monkeypatch: pytest.MonkeyPatch, region: str, mode: Any, expected: str
    ) -> None:
        connection = {"conn_type": "aws", "login": "test", "password": "secret", "extra": {"region_name": region}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        link = from_s3("my-bucket", url_mode=mode)._urls.fetch_url("my-bucket", "a.csv")
        assert link.get_secret_value().partition("?")[0] == expected
        assert bool(urlsplit(link.get_secret_value()).query) == (mode == "presigned")

    @pytest.mark.parametrize("mode", ["presigned", "direct"])
    @pytest.mark.parametrize(
        "extra",
        [
            {"region_name": "us-east-1"},
            {"region_name": "eu-west-1"},
            {"region_name": "cn-north-1"},
            {"region_name": "eu-west-1", "config_kwargs": {"s3": {"addressing_style": "path"}}},
            {"region_name": "eu-west-1", "config_kwargs": {"s3": {"use_dualstack_endpoint": True}}},
            {"region_name": "us-east-1", "endpoint_url": "http://127.0.0.1:5000"},
        ],
    )
    def test_an_object_s_address_is_its_link_without_the_signature_and_signs_nothing(
        self,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        extra: dict[str, Any],
        mode: Any,
    ) -> None:
        connection = {"conn_type": "aws", "login": "test", "password": "secret", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        links, key = from_s3("any", url_mode=mode)._urls, "a b/ü+~(1)&?#%20.csv"
        for name in ("my-bucket", "my.bucket"):
            caplog.clear()
            with caplog.at_level(logging.DEBUG):
                address = links.plain_url(name, key).get_secret_value()
                assert "botocore.auth" not in {record.name for record in caplog.records}
            assert address == links.fetch_url(name, key).get_secret_value().partition("?")[0]

    @pytest.mark.parametrize("temporary", ["given", "of a role"])
    def test_no_library_logs_a_link_or_what_signs_it(
        self, moto: str, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, temporary: str
    ) -> None:
        service_config = {service: {"endpoint_url": moto} for service in ("s3", "sts")}
        role = {"role_arn": "arn:aws:iam::123456789012:role/r", "assume_role_kwargs": {"DurationSeconds": 43200}}
        more = {"aws_session_token": "s3ss1on/t0ken+" * 9} if temporary == "given" else role
        extra = {"region_name": "us-east-1", "service_config": service_config, **more}
        connection = {"conn_type": "aws", "login": "AKIA0123456789", "password": "s3cret/k3y", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        links = from_s3(bucket, url_validity=timedelta(hours=10))._urls
        with caplog.at_level(logging.DEBUG):
            links.plain_url(bucket, "exports/contacts.csv")
            links.client.head_object(Bucket=bucket, Key="exports/contacts.csv")
            link = links.fetch_url(bucket, "exports/contacts.csv").get_secret_value()
        assert "Calculating signature using v4 auth." in caplog.messages
        query = parse_qs(urlsplit(link).query)
        secrets = [query[f"X-Amz-{name}"][0] for name in ("Signature", "Credential", "Security-Token")]
        for secret in (*secrets, "s3cret/k3y", "SecretAccessKey"):
            for form in (secret, quote(secret, safe=""), quote(secret)):
                assert not [record.name for record in caplog.records if form in f"{record.getMessage()} {record.args}"]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "the object is empty"),
            (gzip.compress(CSV, mtime=0), "compressed with gzip"),
            (b"PAR1....PAR1", "a Parquet file"),
            ("EMAIL,NAME\n".encode("utf-16"), "encoded in UTF-16"),
            (b"EMAIL,,NAME\n", "column 2 has no name"),
            (b"EMAIL, \t\n", "column 2 has no name"),
            (b"EMAIL,NAME,EMAIL\n", "columns 1 and 3 have the same name"),
            (b"EMAIL,NAME, EMAIL\n", "columns 1 and 3 have the same name"),
            (b"E_MAIL,NAME\n", "none of the 2 columns is named 'EMAIL'"),
            (b"email,NAME\n", "none of the 2 columns is named 'EMAIL'"),
            ("EMAIL,STRAßE\n".encode("latin-1"), "name of column 2 is not valid UTF-8"),
            (b"\nEMAIL,NAME\n", "first line is blank"),
            (b'EMAIL,"NAME\n' + b"x" * 100_000, "no header row ends"),
            (b"EMAIL," + b"x" * 100_000, "no header row ends"),
        ],
    )
    def test_an_object_that_is_no_csv_of_contacts_is_refused_before_anything_is_sent(
        self, sandbox: SandboxServer, s3: Any, bucket: str, content: bytes, reason: str
    ) -> None:
        s3.put_object(Bucket=bucket, Key="bad.csv", Body=content)
        with pytest.raises(ContactsRefused, match=re.escape(reason)) as caught:
            run(from_s3(bucket, s3_key="bad.csv", primary_key="EMAIL"))
        assert caught.value.source == f"s3://{bucket}/bad.csv"
        assert submitted(sandbox) == []

    @pytest.mark.usefixtures("sandbox")
    def test_a_file_without_a_header_is_refused_without_showing_whom_it_holds(self, s3: Any, bucket: str) -> None:
        for row in (
            b"john@example.com,John,Doe\n",
            b"x,john@example.com,john@example.com\n",
            b'{"a": "john@example.com"}\n',
        ):
            s3.put_object(Bucket=bucket, Key="rows.csv", Body=row)
            with pytest.raises(ContactsRefused) as caught:
                run(from_s3(bucket, s3_key="rows.csv", primary_key="EMAIL"))
            assert "john@" not in str(caught.value)

    @pytest.mark.usefixtures("sandbox")
    def test_a_real_parquet_file_is_told_from_a_csv(self, s3: Any, bucket: str, tmp_path: Path) -> None:
        pyarrow.parquet.write_table(pa.table({"EMAIL": ["a@example.com"]}), tmp_path / "x.parquet")
        s3.upload_file(str(tmp_path / "x.parquet"), bucket, "x.csv")
        with pytest.raises(ContactsRefused, match="a Parquet file"):
            run(from_s3(bucket, s3_key="x.csv"))

    @pytest.mark.parametrize(
        "content",
        [
            b"EMAIL,NAME",
            b'"EMAIL","two\nlines"\r\n',
            b"EMAIL,STADT\n" + "Düsseldorf".encode("latin-1"),
            b"EMAIL,NAME\n" + "ü".encode() * 100_000,
            b"\xef\xbb\xbfEMAIL,NAME\n",
        ],
    )
    def test_only_the_header_is_looked_at(self, sandbox: SandboxServer, s3: Any, bucket: str, content: bytes) -> None:
        s3.put_object(Bucket=bucket, Key="good.csv", Body=content)
        run(from_s3(bucket, s3_key="good.csv", primary_key="EMAIL"))
        assert len(submitted(sandbox)) == 1

    @pytest.mark.parametrize("where", [{"s3_key": "nowhere.csv"}, {"s3_bucket": "no-such-bucket"}])
    def test_an_object_that_is_not_there_is_refused(
        self, sandbox: SandboxServer, bucket: str, where: dict[str, str]
    ) -> None:
        task = from_s3(bucket)
        for name, value in where.items():
            setattr(task, name, value)
        with pytest.raises(ContactsRefused, match="there is no such object"):
            run(task)
        assert submitted(sandbox) == []

    def test_a_retry_takes_the_upload_although_its_link_is_signed_anew(
        self, sandbox: SandboxServer, bucket: str
    ) -> None:
        with crashing(SmartechHook, "submit", after=True):
            run(from_s3(bucket))
        eventually(lambda: loaded(sandbox) == ["completed"])
        run(from_s3(bucket, wait_for_completion=True), FakeTaskInstance(try_number=2))
        assert len(submitted(sandbox)) == 1

    def test_a_retry_of_an_accepted_upload_needs_the_object_no_more(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        with crashing(Submission, "hand_over", after=False):
            run(from_s3(bucket))
        s3.delete_object(Bucket=bucket, Key="exports/contacts.csv")
        assert [run(from_s3(bucket), FakeTaskInstance(try_number=2))] == submitted(sandbox)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"url_mode": "signed"},
            {"url_validity": timedelta(days=8)},
            {"url_validity": timedelta(0)},
            {"url_validity": timedelta(minutes=5)},
            {"url_validity": 8 * 24 * 3600},
            {"url_minimum_validity": timedelta(0)},
        ],
    )
    def test_a_wrong_choice_is_refused_when_the_dag_is_read(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="must"):
            from_s3("bucket", **wrong)

    def test_the_link_and_the_callback_are_in_no_log(
        self, sandbox: SandboxServer, bucket: str, sent: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, "airflow_provider_smartech"):
            run(from_s3(bucket, wait_for_completion=True))
        # The stand-in of S3 has a log of its own.
        said = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
        assert said
        assert parse_qs(urlsplit(sent[0]).query)["X-Amz-Signature"][0] not in "".join(said)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that were submitted."""
    urls: list[str] = []
    submit = SmartechHook.submit

    def spy(self: SmartechHook, parameters: Any) -> str:
        urls.append(parameters.path.get_secret_value())
        return submit(self, parameters)

    monkeypatch.setattr(SmartechHook, "submit", spy)
    return urls


class TestCredentials:
    """What becomes of links whose credentials are temporary. Real ones come from Amazon only, so they are made here."""

    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch, s3: Any) -> Any:
        def give(credentials: Any) -> None:
            session = boto3.session.Session(region_name="us-east-1")
            monkeypatch.setattr(session, "get_credentials", lambda: credentials)
            monkeypatch.setattr(S3Hook, "get_session", lambda self, **_: session)

        client = S3Hook("aws_default").get_conn()
        monkeypatch.setattr(S3Hook, "get_conn", lambda self: client)
        return give

    @staticmethod
    def expiring(after: timedelta) -> RefreshableCredentials:
        return RefreshableCredentials("key", "secret", "token", datetime.now(UTC) + after, dict, "test")

    def test_they_are_warned_of_when_they_expire_before_the_link(
        self, sandbox: SandboxServer, bucket: str, given: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        given(self.expiring(timedelta(minutes=150)))
        run(from_s3(bucket))
        assert "expire in less than 3 hour(s)" in caplog.text
        assert len(submitted(sandbox)) == 1

    def test_they_are_refused_when_they_expire_before_the_minimum(
        self, sandbox: SandboxServer, bucket: str, given: Any
    ) -> None:
        given(self.expiring(timedelta(minutes=50)))
        with pytest.raises(SmartechConfigurationError, match=r"expire within 1:00:00"):
            run(from_s3(bucket, url_minimum_validity=timedelta(hours=1)))
        assert submitted(sandbox) == []

    def test_nothing_is_said_when_they_outlive_the_link(
        self, sandbox: SandboxServer, bucket: str, given: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        given(self.expiring(timedelta(hours=30)))
        run(from_s3(bucket))
        assert "temporary" not in caplog.text

    def test_a_session_token_of_unknown_age_is_warned_of(
        self, sandbox: SandboxServer, bucket: str, given: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        given(Credentials("key", "secret", "token"))
        run(from_s3(bucket))
        assert "when they expire is not known" in caplog.text

    @pytest.mark.usefixtures("sandbox")
    def test_without_credentials_no_link_can_be_signed(self, bucket: str, given: Any) -> None:
        given(None)
        with pytest.raises(SmartechConfigurationError, match="no credentials"):
            run(from_s3(bucket))

    @pytest.mark.usefixtures("sandbox")
    def test_credentials_that_cannot_be_renewed_are_an_error_of_the_storage(self, bucket: str, given: Any) -> None:
        def fail(self: Any) -> Any:
            raise CredentialRetrievalError(provider="sso", error_msg="expired")

        given(type("Broken", (), {"get_frozen_credentials": fail})())
        with pytest.raises(ContactsStorageError, match="CredentialRetrievalError"):
            run(from_s3(bucket))

    def test_a_link_that_could_not_be_made_is_an_error(
        self, sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(S3Hook, "generate_presigned_url", lambda self, *a, **k: None)
        with pytest.raises(ContactsStorageError, match="no link could be signed"):
            run(from_s3(bucket))
        assert submitted(sandbox) == []


class TestSqlToSmartech:
    def test_a_query_becomes_contacts_and_xcom_says_how_many(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        ti = FakeTaskInstance()
        columns = {"name": "NAME"}
        result = run(from_sql(bucket, columns=columns, primary_key="EMAIL", wait_for_completion=True), ti)
        [requestid] = submitted(sandbox)
        content = "EMAIL,NAME\n" + "".join(f'c{i}@example.com,"Name, {i}"\n' for i in range(1, 11))
        assert ti.xcoms["requestids"] == [requestid]
        [file] = result.pop("files")
        assert re.fullmatch(r"staged/[0-9a-f]{32}/contacts-00001\.csv", file.pop("key"))
        numbers = {"rows": 10, "bytes": len(content), "accepted": 10, "rejected": 0}
        assert file == {"requestid": requestid, **numbers}
        assert result == {"requestids": [requestid], "missing_keys": 0, **numbers}
        assert sandbox.state.count(33) == 10

    def test_what_is_staged_is_the_csv_that_was_asked_for(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        sql = "SELECT NULL AS id, '' AS \"first name\", %(name)s::text AS name -- one\n;"
        result = run(from_sql(bucket, sql=sql, parameters={"name": 'O\'Neil, "x"'}, columns={"name": "N,1"}))
        staged = s3.get_object(Bucket=bucket, Key=result["files"][0]["key"])
        assert staged["Body"].read() == b'id,first name,"N,1"\n,"","O\'Neil, ""x"""\n'
        assert staged["ContentType"] == "text/csv; charset=utf-8"

    def test_a_prefix_may_have_a_blank(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        run(from_sql(bucket, s3_prefix="my prefix/ü", wait_for_completion=True, delete_staged="never"))
        assert len(keys(s3, bucket, "my prefix/ü/")) == 1
        assert sandbox.state.count(33) == 10

    def test_rows_are_split_into_files_that_are_all_waited_for(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        ti = FakeTaskInstance()
        result = run(from_sql(bucket, max_rows_per_file=4, wait_for_completion=True, deferrable=True), ti)
        assert [file["rows"] for file in result["files"]] == [4, 4, 2]
        assert result["requestids"] == submitted(sandbox) == ti.xcoms["requestids"]
        assert loaded(sandbox) == ["completed"] * 3
        assert sandbox.state.count(33) == 10

    def test_one_failed_upload_of_several_fails_the_task_and_a_retry_sends_only_that_one(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=4, wait_for_completion=True)
        with the_second_gets(sandbox, Fault.STATUS_FAILED), pytest.raises(UploadFailed):
            run(task)
        assert len(keys(s3, bucket)) == 3, "the retry needs them"
        result = run(task, FakeTaskInstance(try_number=2))
        first, failed, third, again = submitted(sandbox)
        assert result["requestids"] == [first, again, third]
        assert failed not in result["requestids"]
        assert keys(s3, bucket) == []

    @pytest.mark.parametrize(
        "faults", [(Fault.NO_PINGBACK, Fault.STATUS_FAILED), (Fault.STATUS_FAILED, Fault.NO_PINGBACK)]
    )
    def test_where_one_file_timed_out_and_another_failed_no_retry_is_made(
        self, sandbox: SandboxServer, bucket: str, faults: tuple[Fault, Fault], caplog: pytest.LogCaptureFixture
    ) -> None:
        for fault in faults:
            sandbox.fail_next(fault)
        with pytest.raises(UploadTimeout):
            run(from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, timeout=5))
        assert "requested by the fault" in caplog.text, "the other one is told as well"

    def test_airflow_s_own_deadline_is_no_timeout_if_the_pingbacks_have_come_meanwhile(
        self, sandbox: SandboxServer, store: UploadStore, bucket: str
    ) -> None:
        sandbox.faults = frozenset({Fault.PINGBACK_LATE})
        arguments: dict[str, Any] = {"wait_for_completion": True, "deferrable": True, "timeout": 60}
        task, ti = from_sql(bucket, max_rows_per_file=5, **arguments), FakeTaskInstance()
        with pytest.raises(TaskDeferred):
            task.execute(context(ti))
        sandbox.release()
        eventually(lambda: all(store.find(requestid).pingbacks for requestid in submitted(sandbox)))
        result = task.resume_execution("__fail__", {"error": "Trigger timeout"}, context(ti))
        assert result["requestids"] == submitted(sandbox)

    def test_too_many_rejected_rows_of_one_file_fail_the_task_which_names_that_file_and_leaves_all_of_them(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, max_rejected=1)
        with (
            the_second_gets(sandbox, Fault.ROWS_LOST),
            pytest.raises(UploadRowsRejected, match=r"contacts-00002\.csv.*3 accepted, 2 rejected of 5 rows"),
        ):
            run(task)
        assert len(keys(s3, bucket)) == 2

    def test_a_file_of_which_no_row_was_accepted_fails_the_task_and_stays(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        with (
            the_second_gets(sandbox, Fault.ALL_ROWS_REJECTED),
            pytest.raises(UploadRowsRejected, match=r"contacts-00002\.csv.*0 accepted, 5 rejected of 5 rows"),
        ):
            run(from_sql(bucket, max_rows_per_file=5, wait_for_completion=True))
        assert len(keys(s3, bucket)) == 2

    def test_rows_of_which_the_pingback_does_not_speak_count_as_rejected_and_are_a_warning(
        self, sandbox: SandboxServer, bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.faults = frozenset({Fault.ROWS_LOST})
        ti = FakeTaskInstance()
        result = run(from_sql(bucket, wait_for_completion=True), ti)
        assert (result["rows"], result["accepted"], result["rejected"]) == (10, 5, 5)
        assert [(one["rows"], one["accepted"], one["rejected"]) for one in ti.xcoms["summaries"]] == [(10, 5, 5)]
        assert "5 accepted, 5 rejected of 10 rows" in caplog.text

    @pytest.mark.parametrize("waits", [False, True])
    def test_numbers_that_nobody_named_are_none_and_not_zero(
        self, sandbox: SandboxServer, bucket: str, waits: bool
    ) -> None:
        with the_second_gets(sandbox, Fault.NO_COUNTS):
            result = run(from_sql(bucket, max_rows_per_file=5, wait_for_completion=waits, max_rejected=0))
        assert (result["rows"], result["accepted"], result["rejected"]) == (10, None, None)
        assert [file["accepted"] for file in result["files"]] == ([5, None] if waits else [None, None])

    def test_a_retry_goes_on_with_the_staged_files_and_does_not_ask_the_database_again(
        self, sandbox: SandboxServer, postgres: PostgresServer, bucket: str
    ) -> None:
        postgres.execute("CREATE SEQUENCE asked")
        sql = "SELECT nextval('asked') || '@example.com' AS email FROM generate_series(1, 6) AS i"
        task = from_sql(bucket, sql=sql, max_rows_per_file=2)
        sandbox.fail_next(Fault.CUT_BEFORE)
        with pytest.raises(SmartechOutcomeUnknown):
            run(task)
        result = run(task, FakeTaskInstance(try_number=2))
        assert (result["rows"], len(submitted(sandbox))) == (6, 3)
        assert value(postgres, "SELECT last_value FROM asked") == 6
        run(task, FakeTaskInstance(try_number=3, max_tries=4))
        assert value(postgres, "SELECT last_value FROM asked") == 12, "a cleared task asks anew"
        postgres.execute("DROP SEQUENCE asked")

    @pytest.mark.parametrize("lost", [1, 3])
    def test_a_retry_asks_again_when_staged_files_are_gone_that_it_needs(
        self, sandbox: SandboxServer, s3: Any, bucket: str, lost: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=4)
        with crashing(UploadStore, "create", after=False):
            run(task)
        for key in keys(s3, bucket)[:lost]:
            s3.delete_object(Bucket=bucket, Key=key)
        assert run(task, FakeTaskInstance(try_number=2))["rows"] == 10
        assert "asking the database again" in caplog.text
        assert len(submitted(sandbox)) == 3

    def test_a_retry_needs_no_staged_file_when_all_uploads_were_accepted(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=4, wait_for_completion=True)
        with crashing(SqlToSmartechOperator, "outcome", after=True):
            run(task)
        assert keys(s3, bucket) == []
        result = run(task, FakeTaskInstance(try_number=2))
        assert result["requestids"] == submitted(sandbox)
        assert len(submitted(sandbox)) == 3

    def test_half_an_upload_with_lost_files_is_not_sent_again_if_that_is_forbidden(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=5, on_unknown_outcome="fail")
        with the_second_gets(sandbox, Fault.INVALID_KEY), pytest.raises(SmartechRefused):
            run(task)
        for key in keys(s3, bucket):
            s3.delete_object(Bucket=bucket, Key=key)
        with pytest.raises(SmartechOutcomeUnknown, match="the others are gone"):
            run(task, FakeTaskInstance(try_number=2))
        assert len(submitted(sandbox)) == 1

    @pytest.mark.parametrize("second", [{}, {"sql": QUERY.replace("10", "3")}])
    def test_nothing_is_sent_again_after_an_unknown_outcome_if_that_is_forbidden(
        self, sandbox: SandboxServer, s3: Any, bucket: str, second: dict[str, Any]
    ) -> None:
        sandbox.fail_next(Fault.CUT_AFTER, Fault.NO_PINGBACK)
        with pytest.raises(SmartechOutcomeUnknown):
            run(from_sql(bucket, on_unknown_outcome="fail"))
        # A retry with another query, or the same query after the task was cleared.
        ti = FakeTaskInstance(try_number=2, max_tries=2 if second else 3)
        with pytest.raises(SmartechOutcomeUnknown, match="nothing is sent again"):
            run(from_sql(bucket, on_unknown_outcome="fail", **second), ti)
        assert (len(submitted(sandbox)), len(keys(s3, bucket))) == (1, 1)

    def test_another_query_in_a_retry_is_asked(self, sandbox: SandboxServer, bucket: str) -> None:
        with crashing(UploadStore, "create", after=False):
            run(from_sql(bucket))
        result = run(from_sql(bucket, sql=QUERY.replace("10", "3")), FakeTaskInstance(try_number=2))
        assert result["rows"] == 3


def value(postgres: PostgresServer, sql: str) -> Any:
    connection = psycopg2.connect(postgres.uri)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return next(iter(cursor))[0]
    finally:
        connection.close()


class TestKeysAndEmptiness:
    SOME = """SELECT CASE WHEN i % 3 = 0 THEN NULL WHEN i % 3 = 1 THEN ' ' ELSE 'c' || i END AS email
              FROM generate_series(1, 9) AS i"""

    def test_rows_without_a_primary_key_fail_the_task_with_their_number(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        with pytest.raises(ContactsWithoutKey, match=r"6 of 9 rows have a NULL or blank email") as caught:
            run(from_sql(bucket, sql=self.SOME, primary_key="email"))
        assert (caught.value.missing, caught.value.rows, caught.value.primary_key) == (6, 9, "email")
        assert (keys(s3, bucket), submitted(sandbox)) == ([], [])

    def test_they_are_left_out_and_reported_if_that_is_wanted(
        self, sandbox: SandboxServer, bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = run(from_sql(bucket, sql=self.SOME, primary_key="email", on_missing_key="skip"))
        assert (result["rows"], result["missing_keys"]) == (3, 6)
        assert "6 of 9 rows have no email" in caplog.text

    @pytest.mark.parametrize("sql", ["SELECT 1 AS id WHERE false", "SELECT NULL::int AS id"])
    def test_an_empty_result_skips_the_task(self, sandbox: SandboxServer, s3: Any, bucket: str, sql: str) -> None:
        with pytest.raises(AirflowSkipException, match="no contacts"):
            run(from_sql(bucket, sql=sql, primary_key="id", on_missing_key="skip"))
        assert (keys(s3, bucket), submitted(sandbox)) == ([], [])

    def test_an_empty_result_fails_the_task_if_that_is_wanted(self, sandbox: SandboxServer, bucket: str) -> None:
        with pytest.raises(ContactsEmpty):
            run(from_sql(bucket, sql="SELECT 1 AS id WHERE false", on_empty="fail"))
        assert submitted(sandbox) == []

    def test_an_empty_result_is_submitted_as_a_header_if_that_is_wanted(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        result = run(from_sql(bucket, sql="SELECT 1 AS id WHERE false", on_empty="submit"))
        assert (result["rows"], result["bytes"]) == (0, 3)
        assert s3.get_object(Bucket=bucket, Key=result["files"][0]["key"])["Body"].read() == b"id\n"

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"columns": {"mail": "EMAIL"}}, "columns renames 'mail', but the query gives EMAIL, name"),
            ({"columns": {"EMAIL": "name"}}, "columns 1 and 2 have the same name"),
            ({"columns": {"EMAIL": " "}}, "column 1 has no name"),
            ({"primary_key": "email"}, "none of the 2 columns is named 'email'"),
            ({"sql": "SELECT 1 AS a, 2 AS a"}, "columns 1 and 2 have the same name"),
        ],
    )
    def test_columns_that_are_not_fit_are_refused_before_a_row_is_read(
        self, sandbox: SandboxServer, s3: Any, bucket: str, arguments: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(ContactsRefused, match=reason):
            run(from_sql(bucket, **arguments))
        assert (keys(s3, bucket), submitted(sandbox)) == ([], [])


# How PostgreSQL is read.
WAYS = ["psycopg2", "psycopg", "psycopg2 by rows", "psycopg by rows"]


class TestRefusals:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """The hooks of the databases that were asked."""
        hooks: list[Any] = []
        original = extracts.extract_of

        def spy(hook: Any) -> Any:
            hooks.append(hook)
            return original(hook)

        monkeypatch.setattr(extracts, "extract_of", spy)
        return hooks

    def test_whatever_can_be_refused_is_refused_before_the_query_runs(
        self, sandbox: SandboxServer, bucket: str, asked: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(SmartechInvalidParameter):
            run(from_sql(bucket, listid="none"))
        with pytest.raises(SmartechConfigurationError):
            run(from_sql(bucket, smartech_conn_id="nowhere"))
        monkeypatch.delenv("AIRFLOW__SMARTECH__CALLBACK_BASE_URL")
        with pytest.raises(SmartechConfigurationError, match="callback_base_url"):
            run(from_sql(bucket, wait_for_completion=True))
        assert asked == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"on_missing_key": "ignore"},
            {"on_empty": "ignore"},
            {"max_rows_per_file": 0},
            {"max_rows_per_file": 1.5},
            {"columns": ["EMAIL"]},
            {"s3_bucket": "s3://bucket"},
            {"url_mode": "direct", "upload_args": {"ServerSideEncryption": "aws:kms"}},
            {"delete_staged": "sometimes"},
            {"delete_staged": "on_success"},
            {"delete_staged": "always"},
            {"upload_args": {"ChecksumAlgorithm": "SHA256"}},
            {"upload_args": {"SSECustomerKey": "k"}},
        ],
    )
    def test_a_wrong_choice_is_refused_when_the_dag_is_read(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            from_sql(**{"bucket": "bucket", **wrong})

    def test_a_connection_that_is_no_database_is_refused(self, sandbox: SandboxServer, bucket: str) -> None:
        with pytest.raises(SmartechConfigurationError, match="'aws', which is no database"):
            run(from_sql(bucket, conn_id="aws_default"))

    def test_an_error_that_quotes_the_data_is_not_shown(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        sql = """SELECT 'c' || i AS email, (CASE WHEN i = 4000 THEN 'ana@example.com' ELSE '1' END)::int AS age
                 FROM generate_series(1, 9999) AS i"""
        with pytest.raises(ContactsQueryFailed, match=r"InvalidTextRepresentation, SQLSTATE 22P02") as caught:
            run(from_sql(bucket, sql=sql))
        assert_hides("ana@", caught.value)
        assert (keys(s3, bucket), submitted(sandbox)) == ([], [])

    @pytest.mark.parametrize("way", [*WAYS, "adbc"])
    @pytest.mark.parametrize(
        "expression",
        [
            "to_tsquery(email)::text",
            "email::regtype::text",
            "has_table_privilege(email, 'select')",
            "(SELECT max(email) FROM people)::regclass::text",
        ],
    )
    def test_no_error_while_rows_are_read_is_shown_whatever_its_class(
        self, warehouses: Any, bucket: str, expression: str, way: str
    ) -> None:
        warehouses(way)
        with pytest.raises(ContactsQueryFailed) as caught:
            run(from_sql(bucket, sql=f"SELECT {expression} AS a FROM people"))
        assert_hides("ana", caught.value)

    def test_a_value_that_the_driver_itself_cannot_read_is_not_shown(self, warehouses: Any, bucket: str) -> None:
        warehouses("psycopg by rows")
        with pytest.raises(ContactsQueryFailed, match=r"\(DataError\)") as caught:
            run(from_sql(bucket, sql="SELECT '20000-01-01'::date AS a"))
        assert_hides("20000", caught.value)

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("function", ["sql IMMUTABLE", "plpgsql STABLE", "plpgsql VOLATILE"])
    def test_what_a_function_says_that_the_planner_runs_is_not_shown(
        self, warehouses: Any, postgres: PostgresServer, bucket: str, way: str, function: str
    ) -> None:
        warehouses(way)
        read = "SELECT max(email)::regclass::int FROM people"
        body = read if function.startswith("sql") else f"BEGIN RETURN ({read}); END"
        postgres.execute(f"CREATE FUNCTION bad() RETURNS int LANGUAGE {function} AS $${body}$$")
        with pytest.raises(ContactsQueryFailed) as caught:
            run(from_sql(bucket, sql="SELECT id FROM people WHERE id < bad()"))
        assert_hides("ana", caught.value)

    @pytest.fixture
    def warehouses(self, sandbox: SandboxServer, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Choose the driver by which ``people`` are read, and whether by rows."""
        postgres.execute(
            "CREATE TABLE people (id int, email text)",
            "INSERT INTO people SELECT i, 'ana & | @example.com' FROM generate_series(1, 3000) AS i",
            "ANALYZE people",
        )

        def choose(way: str) -> None:
            driver, _, by_rows = way.partition(" ")
            connect = {"psycopg2": psycopg2, "psycopg": psycopg, "adbc": adbc_driver_postgresql.dbapi}[driver].connect
            if by_rows:
                monkeypatch.setattr(postgres_way.CopyExtract, "suits", lambda connection: False)
            hook = SimpleNamespace(get_conn=lambda: connect(postgres.uri))
            monkeypatch.setattr(SqlToSmartechOperator, "_database", lambda self: hook)

        yield choose
        postgres.execute("DROP TABLE people", "DROP FUNCTION IF EXISTS bad")

    @pytest.mark.parametrize("way", [*WAYS, "adbc"])
    def test_what_a_server_says_of_the_query_is_shown_by_every_way(
        self, warehouses: Any, bucket: str, way: str
    ) -> None:
        warehouses(way)
        for sql, message in (
            ("SELECT nothing FROM people", 'column "nothing" does not exist'),
            ("SELECT id FROM people, WHERE", "syntax error"),
        ):
            with pytest.raises((psycopg.Error, psycopg2.Error, adbc_driver_manager.Error), match=message):
                run(from_sql(bucket, sql=sql))

    @pytest.mark.parametrize("driver", ["psycopg2", "sqlite3"])
    def test_what_breaks_while_a_value_is_converted_is_not_shown(
        self,
        sandbox: SandboxServer,
        postgres: PostgresServer,
        bucket: str,
        driver: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(value: Any, *rest: Any) -> Any:
            raise KeyError(value)

        def connect() -> Any:
            if driver == "sqlite3":
                sqlite3.register_converter("broken", fail)
                return sqlite3.connect(":memory:", detect_types=sqlite3.PARSE_COLNAMES)
            connection = psycopg2.connect(postgres.uri)
            broken = psycopg2.extensions.new_type((25,), "broken", fail)
            psycopg2.extensions.register_type(broken, connection)
            return connection

        monkeypatch.setattr(postgres_way.CopyExtract, "suits", lambda connection: False)
        monkeypatch.setattr(SqlToSmartechOperator, "_database", lambda self: SimpleNamespace(get_conn=connect))
        with pytest.raises(ContactsQueryFailed, match=r"\(KeyError\)") as caught:
            run(from_sql(bucket, sql="SELECT 'ana@example.com' AS \"a [broken]\""))
        assert_hides("ana@", caught.value)

    @pytest.mark.parametrize("parameters", [None, [1]])
    @pytest.mark.parametrize(
        ("connect", "expression"),
        [
            (lambda: sqlite3.connect(":memory:"), "json_extract('{}', email)"),
            (duckdb.connect, "CAST(email AS INT)"),
            (duckdb.connect, "error(email)"),
        ],
        ids=["sqlite", "duckdb", "duckdb's error"],
    )
    def test_nor_does_an_embedded_database_s_error_quote_the_data(
        self,
        sandbox: SandboxServer,
        bucket: str,
        connect: Any,
        expression: str,
        parameters: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def filled() -> Any:
            connection = connect()
            connection.execute("CREATE TABLE people (email VARCHAR)")
            connection.execute("INSERT INTO people VALUES ('ana@example.com')")
            return connection

        monkeypatch.setattr(SqlToSmartechOperator, "_database", lambda self: SimpleNamespace(get_conn=filled))
        where = "" if parameters is None else " WHERE 1 = ?"
        with pytest.raises(ContactsQueryFailed) as caught:
            run(from_sql(bucket, sql=f"SELECT {expression} AS a FROM people{where}", parameters=parameters))
        assert_hides("ana@", caught.value)

    def test_columns_that_are_contacts_are_not_shown(
        self, sandbox: SandboxServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "rows.csv").write_text("ana@example.com,Ana\nbob@example.com,Bob\n", "utf-8")
        monkeypatch.setattr(SqlToSmartechOperator, "_database", lambda self: SimpleNamespace(get_conn=duckdb.connect))
        with pytest.raises(duckdb.BinderException, match='"email" not found') as caught:
            run(from_sql(bucket, sql=f"SELECT email FROM '{tmp_path}/rows.csv'"))
        assert_hides("Ana", caught.value)

    def test_of_other_databases_only_the_type_of_an_error_is_shown(
        self, sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken:
            def cursor(self) -> Any:
                return self

            def execute(self, sql: str) -> None:
                raise LookupError("bad address ana@example.com")

            def close(self) -> None:
                pass

        monkeypatch.setattr(SqlToSmartechOperator, "_database", lambda self: SimpleNamespace(get_conn=Broken))
        with pytest.raises(ContactsQueryFailed, match=r"\(LookupError\)") as caught:
            run(from_sql(bucket, sql="SELECT 1 AS a"))
        assert_hides("ana@", caught.value)

    def test_an_error_of_connecting_is_shown(
        self, sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nowhere = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "schema": "x"}
        monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", json.dumps(nowhere))
        with pytest.raises((psycopg.Error, psycopg2.Error), match="Connection refused"):
            run(from_sql(bucket, conn_id="nowhere"))

    @pytest.mark.parametrize("driver", ["sqlite", "duckdb", "adbc", "raise"])
    def test_no_driver_s_error_quotes_the_data(
        self,
        sandbox: SandboxServer,
        postgres: PostgresServer,
        bucket: str,
        driver: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cast = "SELECT CAST('ana@example.com' || i AS INT) AS age FROM generate_series(1, 3000) AS c (i)"
        connect, sql = {
            "sqlite": (
                lambda: sqlite3.connect(":memory:"),
                "SELECT CAST(x'616e61406578616d706c652e636f6dff' AS TEXT) AS a",
            ),
            "duckdb": (duckdb.connect, cast),
            "adbc": (lambda: adbc_driver_postgresql.dbapi.connect(postgres.uri), cast),
            "raise": (lambda: psycopg2.connect(postgres.uri), "SELECT bad()"),
        }[driver]
        if driver == "raise":
            body = "BEGIN RAISE 'bad address ana@example.com'; END"
            postgres.execute(f"CREATE OR REPLACE FUNCTION bad() RETURNS int LANGUAGE plpgsql AS $${body}$$")
        hook = SimpleNamespace(get_conn=connect)
        monkeypatch.setattr(SqlToSmartechOperator, "_database", lambda self: hook)
        with pytest.raises(ContactsQueryFailed) as caught:
            run(from_sql(bucket, sql=sql))
        assert_hides("ana@", caught.value)

    @pytest.mark.parametrize("parameters", [None, [1]])
    @pytest.mark.parametrize(
        ("connect", "message"),
        [
            (lambda: sqlite3.connect(":memory:"), "no such table: nowhere"),
            (duckdb.connect, "Table with name nowhere does not exist"),
        ],
    )
    def test_other_drivers_errors_in_the_query_itself_are_shown_too(
        self,
        sandbox: SandboxServer,
        bucket: str,
        connect: Any,
        message: str,
        parameters: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(SqlToSmartechOperator, "_database", lambda self: SimpleNamespace(get_conn=connect))
        sql = "SELECT * FROM nowhere" if parameters is None else "SELECT * FROM nowhere WHERE 1 = ?"
        with pytest.raises((sqlite3.Error, duckdb.Error), match=message):
            run(from_sql(bucket, sql=sql, parameters=parameters))

    @pytest.mark.parametrize(
        ("sql", "parameters"),
        [
            ("SELECT 1 AS a WHERE 'x' LIKE 'a%' AND 'IN' = %(country)s", {"country": "IN"}),
            ("SELECT %(country)s AS a", {"contry": "IN"}),
            ("SELECT %(country)s AS a", ["IN"]),
        ],
    )
    def test_an_error_in_the_parameters_is_shown(
        self, sandbox: SandboxServer, bucket: str, sql: str, parameters: Any
    ) -> None:
        with pytest.raises((psycopg.Error, psycopg2.Error, TypeError, LookupError)) as caught:
            run(from_sql(bucket, sql=sql, parameters=parameters))
        assert str(caught.value)

    def test_an_error_in_the_query_itself_is_shown_as_it_is(self, sandbox: SandboxServer, bucket: str) -> None:
        with pytest.raises((psycopg.Error, psycopg2.Error), match='relation "nowhere" does not exist'):
            run(from_sql(bucket, sql="SELECT * FROM nowhere"))


def assert_hides(text: str, error: BaseException | None) -> None:
    """See that neither an error nor what it is chained to holds a text."""
    while error:
        assert text not in str(error)
        assert not error.__cause__ or not error.__context__ or error.__cause__ is error.__context__
        error = error.__cause__ or error.__context__


def s3_refuses(monkeypatch: pytest.MonkeyPatch, call: str, code: str) -> None:
    """Let one call of S3 fail, as the stand-in cannot be told to."""
    get_conn = S3Hook.get_conn
    status = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": 503}}

    def breaking(self: S3Hook) -> Any:
        client = get_conn(self)
        answer = SimpleNamespace(status_code=503, headers={})
        client.meta.events.register_first(f"before-call.s3.{call}", lambda model, **_: (answer, status))
        return client

    monkeypatch.setattr(S3Hook, "get_conn", breaking)


MUCH = """SELECT i AS id, repeat('0123456789', 100) AS text, 1 / (CASE WHEN i = {zero} THEN 0 ELSE 1 END) AS one
          FROM generate_series(1, 30000) AS i"""


class TestStaging:
    def test_a_large_file_is_sent_in_parts_and_arrives_whole(
        self,
        sandbox: SandboxServer,
        s3: Any,
        bucket: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(staging_area, "REPORT", 0.0)
        with caplog.at_level(logging.INFO, "airflow_provider_smartech.staging.area"):
            result = run(from_sql(bucket, sql=MUCH.format(zero=0)))
        key = result["files"][0]["key"]
        assert s3.head_object(Bucket=bucket, Key=key)["ETag"].endswith('-6"'), "six parts"
        expected = b"id,text,one\n" + b"".join(b"%d,%s,1\n" % (i, b"0123456789" * 100) for i in range(1, 30001))
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == expected
        assert result["bytes"] == len(expected)
        assert re.search(r"Streaming: [\d,]+ rows, [\d.]+ MB, [\d,]+ rows/s\.", caplog.text)
        assert re.search(r"Staged 30,000 rows, 30\.\d MB", caplog.text)

    def test_a_query_that_breaks_off_leaves_nothing_in_s3(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        with pytest.raises(ContactsQueryFailed, match="DivisionByZero"):
            run(from_sql(bucket, sql=MUCH.format(zero=29_000), max_rows_per_file=12_000))
        assert (keys(s3, bucket), unfinished(s3, bucket), submitted(sandbox)) == ([], [], [])

    @pytest.mark.parametrize("call", ["UploadPart", "CompleteMultipartUpload", "CreateMultipartUpload"])
    def test_a_storage_that_breaks_off_leaves_nothing_in_s3(
        self, sandbox: SandboxServer, s3: Any, bucket: str, call: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        s3_refuses(monkeypatch, call, "SlowDown")
        with pytest.raises(ContactsStorageError, match="SlowDown"):
            run(from_sql(bucket, sql=MUCH.format(zero=0)))
        assert (keys(s3, bucket), unfinished(s3, bucket), submitted(sandbox)) == ([], [], [])

    @pytest.mark.parametrize("rows", [30, 30_000])
    def test_a_task_that_is_killed_sends_nothing_and_leaves_nothing_in_s3(
        self, sandbox: SandboxServer, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, rows: int
    ) -> None:
        task = from_sql(bucket, sql=MUCH.format(zero=0).replace("30000", str(rows)), max_rows_per_file=rows // 3)
        add = staging_area.StagingArea.add

        def killed(self: Any, lines: Any, count: int) -> None:
            add(self, lines, count)
            if self.rows > rows / 2:
                # As the handler of the signal does it, between two instructions of the task.
                task.on_kill()

        monkeypatch.setattr(staging_area.StagingArea, "add", killed)
        with pytest.raises(TaskKilled):
            run(task)
        assert (keys(s3, bucket), unfinished(s3, bucket), submitted(sandbox)) == ([], [], [])
        task.on_kill()

    def test_encryption_is_asked_for_as_configured(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        for sql in (QUERY, MUCH.format(zero=0)):
            result = run(from_sql(bucket, sql=sql, upload_args={"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"}))
            head = s3.head_object(Bucket=bucket, Key=result["files"][0]["key"])
            assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "k")

    def test_no_more_than_a_few_parts_are_held_at_once(
        self, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: list[int] = []
        send = multipart.MultipartUpload._send

        def watched(self: Any) -> None:
            send(self)
            held.append(len(self._sending))

        monkeypatch.setattr(multipart.MultipartUpload, "_send", watched)
        upload = multipart.MultipartUpload(s3, bucket, "x", {})
        for _ in range(12):
            upload.write(bytes(multipart.PART_BYTES))
        upload.complete()
        assert max(held) <= multipart.PARTS_UNDER_WAY
        assert s3.head_object(Bucket=bucket, Key="x")["ContentLength"] == 12 * multipart.PART_BYTES


class TestRounds:
    """What becomes of the files that the tries and rounds of a task have staged."""

    def test_a_staging_is_kept_before_its_first_file(
        self, sandbox: SandboxServer, store: UploadStore, s3: Any, bucket: str
    ) -> None:
        with crashing(multipart.MultipartUpload, "__init__", after=False):
            run(from_sql(bucket))
        (staging,) = store.stagings(task_try(context()))
        assert (staging.bucket, staging.complete, keys(s3, bucket)) == (bucket, None, [])
        assert staging.folder.startswith("staged/")

    @pytest.mark.parametrize("max_tries", [2, 3])
    def test_what_a_task_left_that_was_killed_between_two_files_is_removed_by_the_next_try(
        self, sandbox: SandboxServer, s3: Any, bucket: str, max_tries: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=4)
        with monkeypatch.context() as patch:
            # Nothing tidies up after a SIGKILL.
            patch.setattr(staging_area.StagingArea, "discard", lambda self: False)
            with crashing(staging_area.StagingArea, "_close", after=True):
                run(task)
        (left,) = keys(s3, bucket)
        result = run(task, FakeTaskInstance(try_number=2, max_tries=max_tries))
        assert left not in keys(s3, bucket)
        assert keys(s3, bucket) == [file["key"] for file in result["files"]]

    @pytest.mark.parametrize("delete_staged", ["on_success", "always"])
    def test_after_a_failure_a_clearing_and_a_success_no_file_is_left(
        self, sandbox: SandboxServer, s3: Any, bucket: str, delete_staged: Any
    ) -> None:
        task = from_sql(bucket, wait_for_completion=True, delete_staged=delete_staged)
        sandbox.fail_next(Fault.STATUS_FAILED)
        with pytest.raises(UploadFailed):
            run(task, FakeTaskInstance(max_tries=0))
        run(task, FakeTaskInstance(try_number=2, max_tries=1))
        assert keys(s3, bucket) == []

    @pytest.mark.parametrize("waits", [False, True])
    def test_after_a_retry_with_a_corrected_query_the_first_try_s_file_is_gone(
        self, sandbox: SandboxServer, s3: Any, bucket: str, waits: bool
    ) -> None:
        with crashing(UploadStore, "create", after=False):
            run(from_sql(bucket, wait_for_completion=waits))
        (left,) = keys(s3, bucket)
        corrected = from_sql(bucket, sql=QUERY.replace("10", "3"), wait_for_completion=waits)
        result = run(corrected, FakeTaskInstance(try_number=2))
        assert keys(s3, bucket) == ([] if waits else [result["files"][0]["key"]])
        assert left != result["files"][0]["key"]

    def test_never_leaves_what_was_sent_and_removes_what_never_was(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        task = from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, delete_staged="never")
        with the_second_gets(sandbox, Fault.INVALID_KEY), pytest.raises(SmartechRefused):
            run(task, FakeTaskInstance(max_tries=0))
        sent, unsent = keys(s3, bucket)
        result = run(task, FakeTaskInstance(try_number=2, max_tries=1))
        left = keys(s3, bucket)
        assert sent in left
        assert unsent not in left
        assert sorted(left) == sorted([sent, *(file["key"] for file in result["files"])])

    def test_a_retry_goes_on_with_the_latest_try_s_files_although_its_clock_was_an_hour_behind(
        self,
        sandbox: SandboxServer,
        postgres: PostgresServer,
        s3: Any,
        bucket: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        postgres.execute("CREATE SEQUENCE asked_by_clock")
        sql = "SELECT nextval('asked_by_clock') || '@example.com' AS email FROM generate_series(1, 2) AS i"
        with crashing(UploadStore, "create", after=False):
            run(from_sql(bucket, sql=sql))
        s3.delete_object(Bucket=bucket, Key=keys(s3, bucket)[0])
        with monkeypatch.context() as patch, crashing(UploadStore, "create", after=False):
            patch.setattr("airflow_provider_smartech.uploads.upload.datetime", AnHourBehind)
            run(from_sql(bucket, sql=sql), FakeTaskInstance(try_number=2))
        result = run(from_sql(bucket, sql=sql), FakeTaskInstance(try_number=3))
        assert [file["key"] for file in result["files"]] == keys(s3, bucket)
        assert value(postgres, "SELECT last_value FROM asked_by_clock") == 4, "asked by the first two tries only"
        postgres.execute("DROP SEQUENCE asked_by_clock")


class AnHourBehind(datetime):
    """The clock of a worker that goes wrong."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) - timedelta(hours=1)


class TestDeletion:
    def test_staged_files_are_gone_after_success_when_the_task_waits(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        run(from_sql(bucket, wait_for_completion=True, max_rows_per_file=4))
        assert keys(s3, bucket) == []

    def test_they_stay_when_nobody_knows_whether_smartech_has_fetched_them(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        run(from_sql(bucket))
        assert len(keys(s3, bucket)) == 1

    def test_they_stay_if_that_is_wanted(self, sandbox: SandboxServer, s3: Any, bucket: str) -> None:
        run(from_sql(bucket, wait_for_completion=True, delete_staged="never"))
        assert len(keys(s3, bucket)) == 1

    @pytest.mark.parametrize(
        ("delete_staged", "try_number", "left"), [("always", 2, 1), ("always", 3, 0), ("on_success", 3, 1)]
    )
    def test_always_means_also_when_the_last_try_has_failed(
        self, sandbox: SandboxServer, s3: Any, bucket: str, delete_staged: Any, try_number: int, left: int
    ) -> None:
        sandbox.fail_next(Fault.STATUS_FAILED)
        task = from_sql(bucket, wait_for_completion=True, delete_staged=delete_staged)
        with pytest.raises(UploadFailed):
            run(task, FakeTaskInstance(try_number=try_number, max_tries=2))
        assert len(keys(s3, bucket)) == left

    @pytest.mark.parametrize("by_airflow", [False, True])
    def test_always_means_also_after_a_timeout_which_is_not_tried_again(
        self, sandbox: SandboxServer, s3: Any, bucket: str, by_airflow: bool
    ) -> None:
        sandbox.fail_next(Fault.NO_PINGBACK)
        task = from_sql(bucket, wait_for_completion=True, delete_staged="always", timeout=0.3, deferrable=by_airflow)
        ti = FakeTaskInstance()
        with pytest.raises(TaskDeferred if by_airflow else UploadTimeout):
            task.execute(context(ti))
        if by_airflow:
            with pytest.raises(UploadTimeout):
                task.resume_execution("__fail__", {"error": "Trigger timeout"}, context(ti))
        assert keys(s3, bucket) == []

    def test_always_means_also_after_an_error_that_is_not_tried_again(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        sandbox.fail_next(Fault.INVALID_KEY)
        with pytest.raises(SmartechRefused):
            run(from_sql(bucket, wait_for_completion=True, delete_staged="always"))
        assert keys(s3, bucket) == []

    def test_always_spares_a_file_that_smartech_may_have_yet_to_fetch(
        self, sandbox: SandboxServer, s3: Any, bucket: str
    ) -> None:
        sandbox.faults = frozenset({Fault.NO_PINGBACK})
        with the_second_gets(sandbox, Fault.INVALID_KEY), pytest.raises(SmartechRefused):
            run(from_sql(bucket, max_rows_per_file=5, wait_for_completion=True, delete_staged="always"))
        assert [key[-9:] for key in keys(s3, bucket)] == ["00001.csv"]

    @pytest.mark.parametrize(("faults", "left"), [({Fault.NO_PINGBACK}, 1), (set(), 0)])
    def test_a_file_of_the_round_before_is_spared_while_smartech_may_have_yet_to_fetch_it(
        self, sandbox: SandboxServer, s3: Any, bucket: str, store: UploadStore, faults: set[Fault], left: int
    ) -> None:
        sandbox.faults = frozenset(faults)
        [requestid] = run(from_sql(bucket))["requestids"]
        eventually(lambda: bool(left) or bool(store.find(requestid).pingbacks))
        task = from_sql(bucket, conn_id="aws_default", wait_for_completion=True, delete_staged="always")
        with pytest.raises(SmartechConfigurationError):
            run(task, FakeTaskInstance(try_number=2, max_tries=3))
        assert len(keys(s3, bucket)) == left

    def test_a_file_that_cannot_be_removed_is_named_and_fails_nothing(
        self,
        sandbox: SandboxServer,
        s3: Any,
        bucket: str,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        s3_refuses(monkeypatch, "DeleteObject", "AccessDenied")
        run(from_sql(bucket, wait_for_completion=True))
        assert f"Contact data may be left at s3://{bucket}/{keys(s3, bucket)[0]}" in caplog.text

    def test_parts_that_a_killed_worker_left_are_removed_with_its_folder(self, s3: Any, bucket: str) -> None:
        for folder in ("staged/one", "staged/other"):
            s3.create_multipart_upload(Bucket=bucket, Key=f"{folder}/contacts-00001.csv")
        assert staging_area.remove_folder(s3, bucket, "staged/one")
        left = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert [upload["Key"] for upload in left] == ["staged/other/contacts-00001.csv"]

    def test_a_damaged_record_of_what_was_staged_stops_nobody(
        self, sandbox: SandboxServer, s3: Any, bucket: str, store: UploadStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.fail_next(Fault.STATUS_FAILED)
        task = from_sql(bucket, wait_for_completion=True)
        with pytest.raises(UploadFailed):
            run(task)
        (begun,) = Path(store.shown_url.removeprefix("file://")).glob("stagings/*/*-begun.json")
        begun.write_text("{", "utf-8")
        assert run(task, FakeTaskInstance(try_number=2))["accepted"] == 10
        assert begun.name.removesuffix("-begun.json") in caplog.text


class TestOtherDatabases:
    def test_sqlite_is_a_warehouse_too(
        self, sandbox: SandboxServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = sqlite3.connect(tmp_path / "warehouse.db")
        connection.execute("CREATE TABLE contact (email TEXT, age INT)")
        connection.execute("INSERT INTO contact VALUES ('a@example.com', 1), ('b@example.com', NULL)")
        connection.commit()
        connection.close()
        monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/warehouse.db"}))
        sql = "SELECT * FROM contact WHERE age IS NOT ?"
        result = run(
            from_sql(
                bucket, sql=sql, conn_id="lite", parameters=[7], columns={"email": "EMAIL"}, wait_for_completion=True
            )
        )
        assert result["rows"] == 2
        assert sandbox.state.count(33) == 2


def test_sql_is_a_template_and_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "contacts.sql").write_text("SELECT '{{ ds }}' AS day", "utf-8")
    with DAG("d", template_searchpath=str(tmp_path)) as dag:
        task = from_sql("bucket", sql="contacts.sql", columns={"day": "{{ ds }}"}, parameters=["{{ ds }}"])
    task.resolve_template_files()
    task.render_template_fields({"ds": "2026-01-31", "dag": dag}, dag.get_template_env())
    assert (task.sql, task.columns, task.parameters) == (
        "SELECT '2026-01-31' AS day",
        {"day": "2026-01-31"},
        ["2026-01-31"],
    )
    assert task.template_fields_renderers["sql"] == "sql"
