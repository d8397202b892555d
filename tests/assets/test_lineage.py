"""Hook lineage and OpenLineage: where contacts came from, and to which list they went."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import HookLineageCollector
from airflow.providers.openlineage.extractors import OperatorLineage

from airflow_provider_smartech.assets import lineage
from airflow_provider_smartech.hooks import SmartechHook
from airflow_provider_smartech.operators import SmartechBulkUploadOperator
from airflow_provider_smartech.sandbox import SandboxServer
from airflow_provider_smartech.transfers import S3ToSmartechOperator, SqlToSmartechOperator
from tests.support.postgres import PostgresServer
from tests.support.tasks import FakeTaskInstance, run

pytestmark = pytest.mark.usefixtures("receiver")


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> HookLineageCollector:
    """Airflow's collector, as where a plugin reads it."""
    collector = HookLineageCollector()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(lineage, "get_hook_lineage_collector", lambda: collector)
    return collector


def uris(collector: HookLineageCollector) -> tuple[list[str], list[str]]:
    found = collector.collected_assets
    return [one.asset.uri for one in found.inputs], [one.asset.uri for one in found.outputs]


def facets(operator: Any) -> OperatorLineage[Any, Any]:
    found = operator.get_openlineage_facets_on_complete(SimpleNamespace())
    assert isinstance(found, OperatorLineage)
    return found


def names(datasets: list[Any]) -> list[tuple[str, str]]:
    return [(dataset.namespace, dataset.name) for dataset in datasets]


def test_a_hosted_csv_goes_to_the_list_without_its_query(
    sandbox: SandboxServer, csv_url: str, collected: HookLineageCollector
) -> None:
    task = SmartechBulkUploadOperator(task_id="upload", path=f"{csv_url}?X-Amz-Signature=s1gn", listid=33)
    run(task)
    assert uris(collected) == ([csv_url], ["smartech://us/33"])
    found = facets(task)
    host, _, name = csv_url.rpartition("/")
    assert (names(found.inputs), names(found.outputs)) == ([(host, name)], [("smartech://us", "33")])


def test_the_hook_alone_tells_it_as_well(sandbox: SandboxServer, csv_url: str, collected: HookLineageCollector) -> None:
    SmartechHook().bulk_upload(f"{csv_url}?a=1", 33)
    assert uris(collected) == ([csv_url], ["smartech://us/33"])


def test_without_a_list_there_is_no_output(
    sandbox: SandboxServer, csv_url: str, collected: HookLineageCollector
) -> None:
    task = SmartechBulkUploadOperator(task_id="upload", path=csv_url)
    run(task)
    assert uris(collected) == ([csv_url], [])
    assert facets(task).outputs == []


def test_a_file_that_no_asset_can_name_does_not_fail_the_upload(
    sandbox: SandboxServer, csv_url: str, collected: HookLineageCollector
) -> None:
    path = csv_url.replace("contacts.csv", f"{'x' * 2000}.csv")
    run(SmartechBulkUploadOperator(task_id="upload", path=path, listid=33))
    assert uris(collected) == ([], ["smartech://us/33"])


@pytest.mark.parametrize("key", ["a/b.csv", "a#1?x=1/b.csv"])
def test_an_object_of_s3_is_named_as_s3_names_it(
    sandbox: SandboxServer, s3: Any, bucket: str, collected: HookLineageCollector, key: str
) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=b"EMAIL\na@example.com\n")
    task = S3ToSmartechOperator(task_id="upload", s3_bucket=bucket, s3_key=key, listid=33)
    run(task)
    assert uris(collected) == ([f"s3://{bucket}/{quote(key)}"], ["smartech://us/33"])
    found = facets(task)
    assert (names(found.inputs), names(found.outputs)) == ([(f"s3://{bucket}", key)], [("smartech://us", "33")])


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "warehouse.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE contacts (email TEXT)")
        database.executemany("INSERT INTO contacts VALUES (?)", [("a@example.com",), ("b@example.com",)])
    database.close()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    return file


@pytest.mark.usefixtures("warehouse")
def test_a_query_that_nobody_can_parse_for_its_database_still_gives_the_lists(
    sandbox: SandboxServer, bucket: str
) -> None:
    """SQLite's hook tells OpenLineage nothing of its database."""
    task = SqlToSmartechOperator(
        task_id="sync",
        sql="SELECT email FROM contacts",
        conn_id="warehouse",
        s3_bucket=bucket,
        s3_prefix="p",
        listid=33,
    )
    run(task, FakeTaskInstance(task_id="sync"))
    assert names(facets(task).outputs) == [("smartech://us", "33")]


def test_a_query_s_tables_are_the_inputs_where_the_database_is_known(
    sandbox: SandboxServer, bucket: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.uri)
    postgres.execute("CREATE TABLE IF NOT EXISTS lineage_contacts AS SELECT 'a@example.com' AS email")
    task = SqlToSmartechOperator(
        task_id="sync",
        sql="SELECT email FROM lineage_contacts",
        conn_id="warehouse",
        s3_bucket=bucket,
        s3_prefix="p",
        listid=33,
    )
    run(task, FakeTaskInstance(task_id="sync"))
    found = facets(task)
    ((namespace, name),) = names(found.inputs)
    assert namespace.startswith("postgres://")
    assert name.endswith("public.lineage_contacts")
    assert names(found.outputs) == [("smartech://us", "33")]
    assert "lineage_contacts" in found.job_facets["sql"].query
