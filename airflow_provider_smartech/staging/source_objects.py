"""The objects that a task uploads from S3: checking all of them before anything is sent, and removing them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from airflow_provider_smartech.errors import ContactsFilesRefused, ContactsRefused, ContactsStorageError
from airflow_provider_smartech.staging.area import LOG_INTERVAL_SECONDS, etag_of, remove
from airflow_provider_smartech.staging.csv_header import Head, check_columns, read_head
from airflow_provider_smartech.uploads.source_files import SourceFile

log = logging.getLogger(__name__)

# How many requests are under way at a time; boto3 keeps as many connections by default.
AT_A_TIME = 10

Result = TypeVar("Result")


def check_objects(
    client: Any, bucket: str, keys: Sequence[str], primary_key: str | None
) -> tuple[list[SourceFile], int]:
    """Read the beginning of all objects, and return those that have a row, and how many have none.

    :raises ContactsRefused: an object is not a CSV that Smartech can load, or has other columns than the first one.
    :raises ContactsStorageError: an object cannot be read.
    """
    files: list[SourceFile] = []
    first: tuple[str, list[str]] | None = None
    refused: list[ContactsRefused] = []
    size, checked, reported = 0, 0, time.monotonic()
    for key, head in _each(lambda key: _head(client, bucket, key, primary_key), keys):
        checked += 1
        if isinstance(head, ContactsRefused):
            refused.append(head)
            continue
        if head.columns:
            first = first or (key, sorted(head.columns))
            if sorted(head.columns) != first[1]:
                refused.append(_other_columns(bucket, key, first[0]))
        if head.has_rows:
            files.append(SourceFile(key=key, etag=head.etag, bytes=head.bytes))
            size += head.bytes
        if time.monotonic() - reported >= LOG_INTERVAL_SECONDS:
            reported = time.monotonic()
            log.info("Checked %s of %s objects.", f"{checked:,}", f"{len(keys):,}")
    if refused:
        raise ContactsFilesRefused.of(f"s3://{bucket}", refused, len(keys))
    empty = len(keys) - len(files)
    log.info("Checked %s object(s): %.1f MB to upload, %s without a row.", f"{len(keys):,}", size / 1e6, f"{empty:,}")
    return files, empty


def changed(client: Any, bucket: str, files: Sequence[SourceFile]) -> list[tuple[str, str]]:
    """Return the keys of objects that are not as they were, and what has become of them.

    :raises ContactsStorageError: S3 does not say it.
    """
    found = _each(lambda file: what_became_of(client, bucket, file), files)
    return [(file.key, what) for file, what in found if what]


def what_became_of(client: Any, bucket: str, file: SourceFile) -> str | None:
    """Return ``replaced`` or ``removed``, None if an object is as it was.

    :raises ContactsStorageError: S3 does not say it.
    """
    etag = etag_of(client, bucket, file.key)
    if etag is None:
        return "removed"
    return None if etag == file.etag else "replaced"


def remove_objects(client: Any, bucket: str, files: Sequence[SourceFile]) -> None:
    """Remove objects; those that were replaced stay, and so do those that cannot be removed: both are logged."""

    def removed(file: SourceFile) -> None:
        try:
            what = what_became_of(client, bucket, file)
        except ContactsStorageError as error:
            log.warning("Contacts may be left at s3://%s/%s (%s). Remove it by hand.", bucket, file.key, error.reason)
            return
        if what == "replaced":
            log.warning("s3://%s/%s was replaced since it was uploaded, and is not removed.", bucket, file.key)
        elif what is None:
            remove(client, bucket, [file.key])

    list(_each(removed, files))


def _head(client: Any, bucket: str, key: str, primary_key: str | None) -> Head | ContactsRefused:
    try:
        head = read_head(client, bucket, key)
        if head.columns:
            check_columns(head.columns, primary_key, f"s3://{bucket}/{key}")
    except ContactsRefused as refused:
        return refused
    return head


def _other_columns(bucket: str, key: str, first: str) -> ContactsRefused:
    # Without the names: in a file without a header, they are a contact's data.
    return ContactsRefused(
        f"s3://{bucket}/{key}", f"it has other columns than s3://{bucket}/{first}. Has each file a header?"
    )


Given = TypeVar("Given")


def _each(call: Callable[[Given], Result], items: Sequence[Given]) -> Iterator[tuple[Given, Result]]:
    """Yield what is called of each item, in their order, several at a time and no more of them in memory."""
    rest = iter(items)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        calls = [(item, pool.submit(call, item)) for item in islice(rest, 2 * AT_A_TIME)]
        try:
            while calls:
                item, result = calls.pop(0)
                yield item, result.result()
                calls += [(more, pool.submit(call, more)) for more in islice(rest, 1)]
        finally:
            for _, left in calls:
                left.cancel()
