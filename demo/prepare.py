"""``python -m demo.prepare``: creates the buckets, CSV and warehouse for the example DAGs in the Docker deployment.

Skips what already exists, and creates nothing in the real S3.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_provider_smartech.config.settings import upload_store_url
from tests.support.contacts import COLUMNS, write_contacts

STAGING = "my-company-staging"
HOSTED_CSV = "contacts.csv"
CONTACTS, WAREHOUSE = 12_000, 120_000


def main() -> None:
    """Create what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        if S3Hook.get_connection("aws_default").extra_dejson.get("endpoint_url"):
            _fill_s3(Path(folder, "hosted.csv"))
        _fill_warehouse(Path(folder, "warehouse.csv"))


def _fill_s3(csv: Path) -> None:
    s3 = S3Hook("aws_default")
    for bucket in (urlsplit(upload_store_url()).hostname, STAGING):
        if not s3.check_for_bucket(bucket):
            s3.create_bucket(bucket)
            print(f"made the bucket {bucket}")
    if not s3.check_for_key(HOSTED_CSV, STAGING):
        write_contacts(csv, CONTACTS)
        # Public, as on a web server: these contacts are not real.
        s3.load_file(csv, HOSTED_CSV, STAGING, acl_policy="public-read")
        print(f"wrote {CONTACTS:,} contacts to s3://{STAGING}/{HOSTED_CSV}")


def _fill_warehouse(csv: Path) -> None:
    warehouse, server = PostgresHook("warehouse"), PostgresHook("warehouse", database="postgres")
    if not server.get_first("SELECT 1 FROM pg_database WHERE datname = 'warehouse'"):
        server.run("CREATE DATABASE warehouse", autocommit=True)
    if warehouse.get_first("SELECT to_regclass('contacts')") != (None,):
        return
    columns = ", ".join(f"{column.lower()} {_TYPES.get(column, 'text')}" for column in COLUMNS)
    warehouse.run(["DROP TABLE IF EXISTS loading", f"CREATE TABLE loading ({columns}, agreed integer)"])
    write_contacts(csv, WAREHOUSE)
    warehouse.copy_expert(f"COPY loading ({', '.join(COLUMNS)}) FROM STDIN (FORMAT csv, HEADER)", str(csv))
    # Renamed to its final name only when it is complete.
    warehouse.run(
        [
            "UPDATE loading SET agreed = CASE WHEN points % 20 = 0 THEN 0 ELSE 1 END",
            "UPDATE loading SET email = NULL WHERE points % 99 = 1",
            "ALTER TABLE loading RENAME TO contacts",
        ]
    )
    print(f"wrote {WAREHOUSE:,} contacts to the warehouse")


_TYPES = {"BIRTHDAY": "date", "POINTS": "integer"}


if __name__ == "__main__":
    main()
