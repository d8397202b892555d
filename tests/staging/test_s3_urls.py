"""Links to objects of S3, and the credentials that sign them."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from airflow_provider_smartech.errors import ContactsStorageError, SmartechConfigurationError
from airflow_provider_smartech.sandbox import SandboxServer
from tests.support.contacts import CSV
from tests.support.submissions import submitted
from tests.support.tasks import run
from tests.support.transfers import from_s3, s3_refuses

pytestmark = pytest.mark.usefixtures("receiver", "csv_in_s3")


def test_the_link_is_signed_with_version_4_for_a_day(sandbox: SandboxServer, bucket: str, sent: list[str]) -> None:
    run(from_s3(bucket))
    query = parse_qs(urlsplit(sent[0]).query)
    assert (query["X-Amz-Algorithm"], query["X-Amz-Expires"]) == (["AWS4-HMAC-SHA256"], ["86400"])


def test_the_link_may_live_for_seven_days(sandbox: SandboxServer, bucket: str, sent: list[str]) -> None:
    run(from_s3(bucket, url_validity=timedelta(days=7)))
    assert parse_qs(urlsplit(sent[0]).query)["X-Amz-Expires"] == ["604800"]


def test_a_direct_link_has_no_signature(
    sandbox: SandboxServer, s3: Any, moto: str, bucket: str, sent: list[str]
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
    monkeypatch: pytest.MonkeyPatch, region: str, mode: Any, expected: str
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
    moto: str, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, temporary: str
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


class TestBucket:
    """What is known of the bucket before a query runs."""

    @pytest.mark.usefixtures("s3")
    @pytest.mark.parametrize(
        ("name", "problem"),
        [("no-such-bucket", "there is no such bucket"), ("not a bucket", "a bucket cannot have that name")],
    )
    def test_one_that_cannot_be_there_is_refused(self, name: str, problem: str) -> None:
        with pytest.raises(SmartechConfigurationError, match=f"'aws_default' .* bucket '{name}': {problem}"):
            from_s3(name)._urls.check_bucket(name)

    def test_it_is_refused_without_credentials(self, bucket: str, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = {"endpoint_url": moto, "region_name": "us-east-1"}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": extra}))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with pytest.raises(SmartechConfigurationError, match="it has no credentials"):
            from_s3(bucket, url_mode="direct")._urls.check_bucket(bucket)

    def test_a_connection_that_is_not_there_is_named(self, bucket: str) -> None:
        with pytest.raises(SmartechConfigurationError, match="no connection 'aws_nothere', which aws_conn_id names"):
            from_s3(bucket, aws_conn_id="aws_nothere")._urls.check_bucket(bucket)

    @pytest.mark.parametrize("code", ["403", "AccessDenied", "SlowDown"])
    def test_any_other_answer_goes_on(self, bucket: str, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        s3_refuses(monkeypatch, "HeadBucket", code)
        from_s3(bucket)._urls.check_bucket(bucket)


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
        assert "their expiry time is not known" in caplog.text

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
        with pytest.raises(ContactsStorageError, match="no URL could be signed"):
            run(from_s3(bucket))
        assert submitted(sandbox) == []
