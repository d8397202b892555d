"""Checks of a CSV before Smartech is asked to load it: its first bytes, and the names of its columns."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.extracts.csv_format import QUERY
from airflow_provider_smartech.staging.s3_errors import storage_errors

log = logging.getLogger(__name__)

# How many bytes are read; a header of some hundred columns is a few kilobytes.
HEAD_BYTES = 64 << 10

# How many characters of the columns' names a message shows.
LONGEST_LIST = 500

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


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the beginning of an object shows: its columns, whether a row follows; the whole object's ETag and bytes.

    ``columns`` is empty if there is nothing in it.
    """

    columns: tuple[str, ...]
    has_rows: bool
    etag: str
    bytes: int


def read_head(client: Any, bucket: str, key: str) -> Head:
    """Read the first bytes of an S3 object, and check that it can be a CSV of contacts.

    :raises ContactsRefused: it does not exist, or does not begin with a valid header in UTF-8.
    :raises ContactsStorageError: it cannot be read.
    """
    source = f"s3://{bucket}/{key}"
    head, etag, size = _read(client, source, bucket, key)
    for magic, meaning in MAGIC.items():
        if head.startswith(magic):
            raise ContactsRefused(source, f"the object is {meaning}. Smartech loads plain CSV in UTF-8.")
    text, whole = head.removeprefix(BYTE_ORDER_MARK), size == len(head)
    if whole and not text.strip():
        return Head(columns=(), has_rows=False, etag=etag, bytes=size)
    if head.startswith(BYTE_ORDER_MARK):
        log.warning("%s begins with a byte order mark, which Smartech may read as part of the first column.", source)
    columns, rest = _header(text, whole, source)
    return Head(columns=tuple(columns), has_rows=not whole or bool(rest.strip()), etag=etag, bytes=size)


def check_columns(names: Sequence[str], primary_key: str | None, source: str) -> None:
    """Check that the columns' names are a valid header.

    For a file, the messages show positions, not names: in a file without a header, the names are a contact's data.

    :raises ContactsRefused: a name is blank or repeated, or the primary key is missing.
    """
    seen: dict[str, int] = {}
    for position, name in enumerate((name.strip() for name in names), start=1):
        if not name:
            where = "query" if source == QUERY else "header"
            raise ContactsRefused(source, f"column {position} has no name. Give it one in the {where}.")
        if name in seen:
            raise ContactsRefused(
                source, f"columns {seen[name]} and {position} have the same name. Rename or drop one."
            )
        seen[name] = position
    if primary_key is not None and primary_key not in names:
        missing = f"none of the {len(names)} columns is named {primary_key!r}, the primary key."
        hint = _columns_of_query(names) if source == QUERY else _columns_of_file(names, primary_key)
        raise ContactsRefused(source, f"{missing} {hint}")


def _columns_of_query(names: Sequence[str]) -> str:
    return (
        f"The columns are {', '.join(names)[:LONGEST_LIST]}, after renaming. Name one of them so, in the query or with "
        "the parameter columns. Upper and lower case must be the same."
    )


def _columns_of_file(names: Sequence[str], primary_key: str) -> str:
    """Show no name but one that is the primary key's, apart from its spelling."""
    for position, name in enumerate(names, start=1):
        if name.strip().casefold() == primary_key.strip().casefold():
            return f"Column {position} is named {name!r}: blanks, and upper and lower case, must be the same."
    return "Is the first row a header, and is the name spelled the same, with the same upper and lower case?"


def _read(client: Any, source: str, bucket: str, key: str) -> tuple[bytes, str, int]:
    """Return the first bytes of an object, its ETag, and how many bytes it has."""
    from botocore.exceptions import ClientError

    with storage_errors({"Bucket": bucket, "Key": key}):
        try:
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{HEAD_BYTES - 1}")
            head: bytes = answer["Body"].read()
        except ClientError as error:
            missing = error.response.get("Error", {}).get("Code")
            if missing == "InvalidRange":
                # There is no first byte.
                return b"", "", 0
            if missing not in ("NoSuchKey", "NoSuchBucket", "404"):
                raise
        else:
            # Such as "bytes 0-65535/1000000"; it is missing where the whole object was sent.
            size = str(answer.get("ContentRange", "")).rpartition("/")[2]
            return head, str(answer["ETag"]), int(size) if size.isdigit() else int(answer["ContentLength"])
    raise ContactsRefused(source, f"there is no such object ({missing}). Check its name and what writes it.")


def _header(head: bytes, whole: bool, source: str) -> tuple[list[str], str]:
    """Return the names of the columns, and what follows."""
    text = io.StringIO(head.decode(errors="surrogateescape"), newline="")
    try:
        names = next(csv.reader(text, strict=True), [])
    except csv.Error:
        names = None
    rest = text.read()
    if names is None or (not whole and not rest):
        raise ContactsRefused(
            source, f"the header row does not end within the first {HEAD_BYTES >> 10} KiB. Is it a CSV with commas?"
        )
    for position, name in enumerate(names, start=1):
        if any("\udc80" <= character <= "\udcff" for character in name):
            raise ContactsRefused(source, f"the name of column {position} is not valid UTF-8. Write the file in UTF-8.")
    if not names:
        raise ContactsRefused(source, "the first line is blank. It must have the names of the columns.")
    return names, rest
