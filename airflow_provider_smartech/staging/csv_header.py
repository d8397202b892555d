"""What is checked of a CSV before Smartech is asked to load it: its beginning, and the names of its columns."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from typing import Any

from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.staging.s3_errors import storage_errors

log = logging.getLogger(__name__)

# The first bytes that are read; a header of some hundred columns is a few kilobytes.
HEAD_BYTES = 64 << 10

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAGIC = {
    b"\x1f\x8b": "compressed with gzip",
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a ZIP archive or an Excel file",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"BZh": "compressed with bzip2",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\xff\xfe": "encoded in UTF-16",
    b"\xfe\xff": "encoded in UTF-16",
}


def check_object(client: Any, bucket: str, key: str, primary_key: str | None) -> None:
    """Read the first bytes of an S3 object and see that it can be a CSV of contacts.

    :raises ContactsRefused: it is not there, is empty, or does not begin with a header in UTF-8 that is fit.
    :raises ContactsStorageError: S3 does not show it.
    """
    source = f"s3://{bucket}/{key}"
    head, whole = _read(client, source, bucket, key)
    if not head:
        raise ContactsRefused(source, "the object is empty.")
    for magic, meaning in MAGIC.items():
        if head.startswith(magic):
            raise ContactsRefused(source, f"the object is {meaning}. Smartech loads plain CSV in UTF-8.")
    if head.startswith(BYTE_ORDER_MARK):
        log.warning("%s begins with a byte order mark, which Smartech may take for a part of the first column.", source)
    check_columns(_header(head.removeprefix(BYTE_ORDER_MARK), whole, source), primary_key, source)


def check_columns(names: Sequence[str], primary_key: str | None, source: str) -> None:
    """See that the columns' names are fit for a header.

    The messages give their positions, not the names: without a header, they would be a contact's.

    :raises ContactsRefused: one is blank or comes twice, or the primary key is not among them.
    """
    seen: dict[str, int] = {}
    for position, name in enumerate((name.strip() for name in names), start=1):
        if not name:
            raise ContactsRefused(source, f"column {position} has no name. Give it one in the header.")
        if name in seen:
            raise ContactsRefused(
                source, f"columns {seen[name]} and {position} have the same name. Rename or drop one."
            )
        seen[name] = position
    if primary_key is not None and primary_key not in names:
        raise ContactsRefused(
            source,
            f"none of the {len(names)} columns is named {primary_key!r}, which is to be the primary key. Is the first "
            "row a header, and are the names spelt alike, in upper or lower case?",
        )


def _read(client: Any, source: str, bucket: str, key: str) -> tuple[bytes, bool]:
    """Return the first bytes, and whether they are all."""
    from botocore.exceptions import ClientError

    with storage_errors({"Bucket": bucket, "Key": key}):
        try:
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{HEAD_BYTES - 1}")
            head: bytes = answer["Body"].read()
        except ClientError as error:
            missing = error.response.get("Error", {}).get("Code")
            if missing == "InvalidRange":
                return b"", True
            if missing not in ("NoSuchKey", "NoSuchBucket", "404"):
                raise
        else:
            return head, len(head) < HEAD_BYTES
    raise ContactsRefused(source, f"there is no such object ({missing}). Check s3_bucket, s3_key and what writes it.")


def _header(head: bytes, whole: bool, source: str) -> list[str]:
    text = io.StringIO(head.decode(errors="surrogateescape"), newline="")
    try:
        names = next(csv.reader(text, strict=True), [])
    except csv.Error:
        names = None
    if names is None or (not whole and not text.read(1)):
        raise ContactsRefused(
            source, f"no header row ends within the first {HEAD_BYTES >> 10} KiB. Is it a CSV, separated by commas?"
        )
    for position, name in enumerate(names, start=1):
        if any("\udc80" <= character <= "\udcff" for character in name):
            raise ContactsRefused(source, f"the name of column {position} is not valid UTF-8. Write the file in UTF-8.")
    if not names:
        raise ContactsRefused(source, "the first line is blank, where the names of the columns belong.")
    return names
