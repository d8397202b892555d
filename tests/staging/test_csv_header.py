"""What must be at the beginning of an object before Smartech is told of it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.sandbox import SandboxServer
from tests.support.contacts import CSV
from tests.support.submissions import submitted
from tests.support.tasks import run
from tests.support.transfers import from_s3

pytestmark = pytest.mark.usefixtures("receiver", "csv_in_s3")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(CSV, mtime=0), "compressed with gzip"),
        (b"PAR1....PAR1", "a Parquet file"),
        ("EMAIL,NAME\n".encode("utf-16"), "encoded in UTF-16"),
        (b"EMAIL,,NAME\n", "column 2 has no name"),
        (b"EMAIL, \t\n", "column 2 has no name"),
        (b"EMAIL,NAME,EMAIL\n", "columns 1 and 3 have the same name"),
        (b"EMAIL,NAME, EMAIL\n", "columns 1 and 3 have the same name"),
        (b"E_MAIL,NAME\n", "none of the 2 columns is named 'EMAIL'"),
        (b"NAME,email\n", "none of the 2 columns is named 'EMAIL', the primary key. Column 2 is named 'email'"),
        (b"EMAIL ,NAME\n", "Column 1 is named 'EMAIL '"),
        ("EMAIL,STRAßE\n".encode("latin-1"), "name of column 2 is not valid UTF-8"),
        (b"\nEMAIL,NAME\n", "first line is blank"),
        (b'EMAIL,"NAME\n' + b"x" * 100_000, "the header row does not end"),
        (b"EMAIL," + b"x" * 100_000, "the header row does not end"),
    ],
)
def test_an_object_that_is_no_csv_of_contacts_is_refused_before_anything_is_sent(
    sandbox: SandboxServer, s3: Any, bucket: str, content: bytes, reason: str
) -> None:
    s3.put_object(Bucket=bucket, Key="bad.csv", Body=content)
    with pytest.raises(ContactsRefused, match=re.escape(reason)) as caught:
        run(from_s3(bucket, s3_key="bad.csv", primary_key="EMAIL"))
    assert caught.value.source == f"s3://{bucket}/bad.csv"
    assert submitted(sandbox) == []


@pytest.mark.usefixtures("sandbox")
def test_a_file_without_a_header_is_refused_without_showing_whom_it_holds(s3: Any, bucket: str) -> None:
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
def test_a_real_parquet_file_is_told_from_a_csv(s3: Any, bucket: str, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"EMAIL": ["a@example.com"]}), tmp_path / "x.parquet")
    s3.upload_file(str(tmp_path / "x.parquet"), bucket, "x.csv")
    with pytest.raises(ContactsRefused, match="a Parquet file"):
        run(from_s3(bucket, s3_key="x.csv"))


@pytest.mark.parametrize(
    "content",
    [
        b"EMAIL,NAME\na@example.com,",
        b'"EMAIL","two\nlines"\r\na@example.com,"x\ny"\r\n',
        b"EMAIL,STADT\n" + "Düsseldorf".encode("latin-1"),
        b"EMAIL,NAME\n" + "ü".encode() * 100_000,
        b"\xef\xbb\xbfEMAIL,NAME\na@example.com,Ana\n",
    ],
)
def test_only_the_header_is_looked_at(sandbox: SandboxServer, s3: Any, bucket: str, content: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="good.csv", Body=content)
    run(from_s3(bucket, s3_key="good.csv", primary_key="EMAIL"))
    assert len(submitted(sandbox)) == 1


@pytest.mark.parametrize("where", [{"s3_key": "nowhere.csv"}, {"s3_bucket": "no-such-bucket"}])
def test_an_object_that_is_not_there_is_refused(sandbox: SandboxServer, bucket: str, where: dict[str, str]) -> None:
    task = from_s3(bucket)
    for name, value in where.items():
        setattr(task, name, value)
    with pytest.raises(ContactsRefused, match="there is no such object"):
        run(task)
    assert submitted(sandbox) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\r\n \n", b"\xef\xbb\xbf", b"EMAIL,NAME", b'"EMAIL","two\nlines"\r\n', b"EMAIL\n\n", b"EMAIL,NAME\n"],
)
def test_an_object_without_a_row_is_not_sent(sandbox: SandboxServer, s3: Any, bucket: str, content: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="empty.csv", Body=content)
    with pytest.raises(AirflowSkipException, match=r"There are no contacts to upload from .*empty\.csv"):
        run(from_s3(bucket, s3_key="empty.csv"))
    assert submitted(sandbox) == []
