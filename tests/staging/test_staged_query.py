"""A query's rows that have no key, no rows at all, columns that are not fit, and a database without a provider."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_smartech.errors import (
    ContactsEmpty,
    ContactsRefused,
    ContactsWithoutKey,
    SmartechConfigurationError,
)
from airflow_provider_smartech.sandbox import SandboxServer
from tests.support.submissions import submitted
from tests.support.tasks import run
from tests.support.transfers import from_sql, keys

pytestmark = pytest.mark.usefixtures("receiver", "warehouse")


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
            ({"columns": {"mail": "EMAIL"}}, "columns renames 'mail', but the query returns EMAIL, name"),
            ({"columns": {"EMAIL": "name"}}, "columns 1 and 2 have the same name"),
            ({"columns": {"EMAIL": " "}}, "column 1 has no name"),
            (
                {"primary_key": "email", "columns": {"name": "NAME"}},
                "from the query were not uploaded: none of the 2 columns is named 'email', the primary key. "
                "The columns are EMAIL, NAME, after renaming.",
            ),
            ({"sql": 'SELECT 1 AS " "'}, "column 1 has no name. Give it one in the query."),
            ({"sql": "SELECT 1 AS a, 2 AS a"}, "columns 1 and 2 have the same name"),
        ],
    )
    def test_columns_that_are_not_fit_are_refused_before_a_row_is_read(
        self, sandbox: SandboxServer, s3: Any, bucket: str, arguments: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(ContactsRefused, match=re.escape(reason)):
            run(from_sql(bucket, **arguments))
        assert (keys(s3, bucket), submitted(sandbox)) == ([], [])


@pytest.mark.parametrize(
    ("conn_type", "package"),
    [
        ("mysql", "apache-airflow-providers-mysql"),
        ("mssql", "apache-airflow-providers-microsoft-mssql"),
        ("no_such_database", "the provider package of that database"),
        ("generic", "the provider package of that database"),
    ],
)
def test_a_database_without_its_provider_is_named_with_the_package_to_install(
    sandbox: SandboxServer, bucket: str, monkeypatch: pytest.MonkeyPatch, conn_type: str, package: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": conn_type, "password": "s3cret"}))
    with pytest.raises(SmartechConfigurationError) as caught:
        run(from_sql(bucket, conn_id="other"))
    said = str(caught.value)
    assert f"connection 'other', which has the type '{conn_type}'" in said
    assert f"Install {package} wherever Airflow runs and restart Airflow's components" in said
    assert ("set the connection's type" in said) is (conn_type == "generic")
    assert "s3cret" not in said
    assert submitted(sandbox) == []


def test_a_database_connection_that_is_not_there_is_named(sandbox: SandboxServer, bucket: str) -> None:
    with pytest.raises(SmartechConfigurationError, match="There is no connection 'nothere', which conn_id names"):
        run(from_sql(bucket, conn_id="nothere"))
    assert submitted(sandbox) == []


def test_several_statements_are_refused_when_the_dag_is_read() -> None:
    with pytest.raises(ValueError, match="sql must be one SELECT"):
        from_sql("bucket", sql=["SELECT 1", "SELECT 2"])
