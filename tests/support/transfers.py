"""The transfers of contacts: the operators, what they left in S3, and what goes wrong on demand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.sandbox import Fault, SandboxServer
from airflow_provider_smartech.transfers import S3ToSmartechOperator, SqlToSmartechOperator
from tests.support.postgres import PostgresServer
from tests.support.submissions import submitted

QUERY = """SELECT 'c' || i || '@example.com' AS "EMAIL", 'Name, ' || i AS name
           FROM generate_series(1, 10) AS i ORDER BY i"""


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


def value(postgres: PostgresServer, sql: str) -> Any:
    connection = psycopg2.connect(postgres.uri)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return next(iter(cursor))[0]
    finally:
        connection.close()


def s3_refuses(monkeypatch: pytest.MonkeyPatch, call: str, code: str, message: str = "m") -> None:
    """Let one call of S3 fail, as the stand-in cannot be told to."""
    get_conn = S3Hook.get_conn
    status = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 503}}

    def breaking(self: S3Hook) -> Any:
        client = get_conn(self)
        answer = SimpleNamespace(status_code=503, headers={})
        client.meta.events.register_first(f"before-call.s3.{call}", lambda model, **_: (answer, status))
        return client

    monkeypatch.setattr(S3Hook, "get_conn", breaking)


MUCH = """SELECT i AS id, repeat('0123456789', 100) AS text, 1 / (CASE WHEN i = {zero} THEN 0 ELSE 1 END) AS one
          FROM generate_series(1, 30000) AS i"""
