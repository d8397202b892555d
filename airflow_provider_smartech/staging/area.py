"""Writes the rows of a query to S3 as CSV files, for Smartech to fetch."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_provider_smartech.errors import ContactsRefused, ContactsStorageError
from airflow_provider_smartech.extracts import csv_format
from airflow_provider_smartech.staging.csv_header import check_columns
from airflow_provider_smartech.staging.s3_errors import storage_errors
from airflow_provider_smartech.staging.s3_multipart import MultipartUpload
from airflow_provider_smartech.uploads.staged_files import StagedFile

log = logging.getLogger(__name__)

# Seconds between two progress messages in the log.
LOG_INTERVAL_SECONDS = 10.0

# S3's answers that say that there is nothing to remove.
NOTHING_THERE = ("NoSuchBucket", "NoSuchUpload")


def new_folder(prefix: str) -> str:
    """Return an unguessable folder below the prefix."""
    return "/".join(filter(None, [prefix.strip("/"), secrets.token_hex(16)]))


class StagingArea:
    """Writes the rows of a query to one or several files, in a separate folder.

    A sink for ``extracts``. After ``complete``, all files are complete; after ``discard``, none exists.

    :param columns: new names for columns of the query.
    :param primary_key: the column's name in the file; rows without a value in it are left out.
    :param rows_per_file: the maximum number of rows in a file, without its header.
    :param arguments: S3 arguments for each file, such as ``ServerSideEncryption``.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        folder: str,
        *,
        columns: dict[str, str],
        primary_key: str | None,
        rows_per_file: int | None,
        arguments: dict[str, Any],
    ) -> None:
        self.files: list[StagedFile] = []
        self.columns: Sequence[str] = ()
        self.rows = 0
        self.missing_keys = 0
        self._client = client
        self._bucket = bucket
        self._folder = folder
        self._renamed = columns
        self._primary_key = primary_key
        self._rows_per_file = rows_per_file
        self._arguments = {"ContentType": "text/csv; charset=utf-8", **arguments}
        self._header = b""
        self._file: MultipartUpload | None = None
        self._rows_of_file = 0
        self._bytes = 0
        self._began = self._reported = time.monotonic()

    @property
    def key(self) -> str:
        """The key of the file that is written now, or next."""
        return f"{self._folder}/contacts-{len(self.files) + 1:05}.csv"

    def begin(self, names: Sequence[str]) -> int | None:
        """Set the columns, and return the position of the primary key."""
        unknown = [name for name in self._renamed if name not in names]
        if unknown:
            raise ContactsRefused(
                csv_format.QUERY, f"columns renames {unknown[0]!r}, but the query returns {', '.join(names)[:500]}."
            )
        self.columns = [self._renamed.get(name, name) for name in names]
        check_columns(self.columns, self._primary_key, csv_format.QUERY)
        self._header = csv_format.header(self.columns)
        return None if self._primary_key is None else self.columns.index(self._primary_key)

    @property
    def room(self) -> int | None:
        """How many more rows fit into the current file."""
        return None if self._rows_per_file is None else self._rows_per_file - self._rows_of_file

    def add(self, lines: bytes | bytearray | memoryview, rows: int) -> None:
        """Write lines to the current file."""
        file = self._file or self._open()
        file.write(lines)
        self._rows_of_file += rows
        self.rows += rows
        self._bytes += len(lines)
        self._report()
        if self._rows_of_file == self._rows_per_file:
            self._close(file)

    def skip(self, rows: int) -> None:
        """Count rows without a primary key."""
        self.missing_keys += rows

    def add_header_alone(self) -> None:
        """Make a file with a header and no rows."""
        self._open()

    def complete(self) -> None:
        """Finish the last file."""
        if self._file:
            self._close(self._file)
        log.info("Staged %s.", self._progress())

    def discard(self) -> bool:
        """Remove all staged files, complete or not, and return whether nothing is left.

        Files that cannot be removed are logged.
        """
        keys, is_gone = [file.key for file in self.files], True
        if self._file:
            # The file may be complete, if only S3's answer was lost.
            keys.append(self.key)
            with _logged(self._bucket, self.key) as left:
                self._file.abort()
            is_gone = not left
        return remove(self._client, self._bucket, keys) and is_gone

    def _open(self) -> MultipartUpload:
        self._file = MultipartUpload(self._client, self._bucket, self.key, self._arguments)
        self._file.write(self._header)
        return self._file

    def _close(self, file: MultipartUpload) -> None:
        file.complete()
        self.files.append(StagedFile(key=self.key, rows=self._rows_of_file, bytes=file.bytes))
        self._file, self._rows_of_file = None, 0

    def _report(self) -> None:
        if time.monotonic() - self._reported >= LOG_INTERVAL_SECONDS:
            self._reported = time.monotonic()
            log.info("Streaming: %s.", self._progress())

    def _progress(self) -> str:
        speed = self.rows / max(time.monotonic() - self._began, 1e-3)
        left_out = f", {self.missing_keys:,} left out without a primary key" if self.missing_keys else ""
        return f"{self.rows:,} rows, {self._bytes / 1e6:,.1f} MB, {speed:,.0f} rows/s{left_out}"


def remove(client: Any, bucket: str, keys: Iterable[str]) -> bool:
    """Remove staged files, and return whether all are removed. Remaining files are logged: they are personal data."""
    is_gone = True
    for key in keys:
        with _logged(bucket, key) as left, storage_errors({"Bucket": bucket, "Key": key}):
            client.delete_object(Bucket=bucket, Key=key)
            log.info("Removed s3://%s/%s.", bucket, key)
        is_gone = is_gone and not left
    return is_gone


def remove_folder(client: Any, bucket: str, folder: str, spare: Collection[str] = ()) -> bool:
    """Remove the files of a staging's folder, unrecorded ones included, and return whether all are removed.

    :param spare: names of files that stay.
    """
    keys: list[str] = []
    with _logged(bucket, f"{folder}/") as left, storage_errors({"Bucket": bucket, "Key": f"{folder}/"}):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/"):
            keys += [found["Key"] for found in page.get("Contents", [])]
        # The parts of a file that a killed process was writing are not an object yet, but contain contacts.
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=f"{folder}/"):
            for found in page.get("Uploads", []):
                client.abort_multipart_upload(Bucket=bucket, Key=found["Key"], UploadId=found["UploadId"])
    gone = [key for key in keys if key.rpartition("/")[2] not in spare]
    return remove(client, bucket, gone) and not left and len(gone) == len(keys)


def is_empty(client: Any, bucket: str, folder: str) -> bool:
    """Whether there is certainly no file in a staging's folder."""
    try:
        with storage_errors({"Bucket": bucket, "Key": f"{folder}/"}):
            return not client.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/", MaxKeys=1).get("Contents")
    except ContactsStorageError as error:
        return error.code in NOTHING_THERE


def exist(client: Any, bucket: str, keys: Iterable[str]) -> bool:
    """Whether all staged files still exist."""
    return all(etag_of(client, bucket, key) is not None for key in keys)


def etag_of(client: Any, bucket: str, key: str) -> str | None:
    """Return the ETag of an object, None if there is no such object.

    :raises ContactsStorageError: S3 does not say it.
    """
    from botocore.exceptions import ClientError

    with storage_errors({"Bucket": bucket, "Key": key}):
        try:
            return str(client.head_object(Bucket=bucket, Key=key)["ETag"])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                return None
            raise


@contextmanager
def _logged(bucket: str, key: str) -> Iterator[list[str]]:
    """Continue if something cannot be removed: log it, and add it to the yielded list."""
    left: list[str] = []
    try:
        yield left
    except ContactsStorageError as error:
        if error.code not in NOTHING_THERE:
            left.append(key)
            log.warning("Contact data may be left at s3://%s/%s (%s). Remove it by hand.", bucket, key, error.reason)
