"""A folder in S3, by boto3: one request for each file that is read or written.

See https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from io import BytesIO
from typing import Any

from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.uploads.folder import FileUnreadable, Folder

SCHEMES = ("s3", "s3a", "s3n")
# S3 removes so many objects by one request.
MOST_REMOVED = 1000
# At least as many as there are threads that use one client, or urllib3 warns.
MOST_CONNECTIONS = 64


class S3Folder(Folder):
    """Objects below ``s3://bucket/prefix``, or ``s3://connection id@bucket/prefix``.

    The credentials need ``s3:ListBucket`` for the bucket, and below the prefix ``s3:GetObject``, ``s3:PutObject`` and
    ``s3:DeleteObject``.

    :param url: the folder's URL.
    :param open_client: returns boto3's client of S3 for a connection id, or for None; called at the first request.
    """

    def __init__(self, url: str, open_client: Callable[[str | None], Any]) -> None:
        super().__init__(url)
        self._open_client = open_client
        login, _, place = self.url.rpartition("://")[2].rpartition("@")
        self.conn_id = login.partition(":")[0] or None
        self._bucket, _, prefix = place.partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    def names(self, folder: str) -> list[str]:
        """List a folder that contains only files, by their names in it."""
        return [name.rpartition("/")[2] for name in self.names_below(folder)]

    def folders(self, folder: str) -> list[str]:
        """List a folder that contains only folders, by their names in it."""
        pages = self._pages(folder, Delimiter="/")
        found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
        return [prefix.rstrip("/").rpartition("/")[2] for prefix in found]

    def names_below(self, folder: str) -> list[str]:
        """List the files of a folder and its subfolders, by their paths relative to it."""
        beginning = len(self._below(folder))
        return [item["Key"][beginning:] for page in self._pages(folder) for item in page.get("Contents", [])]

    def names_of(self, folder: str, subfolders: Sequence[str]) -> dict[str, list[str]]:
        """List subfolders that contain only files, by the names in each: a thousand names by one request."""
        found: dict[str, list[str]] = {name: [] for name in subfolders}
        if not found:
            return found
        beginning, last = self._below(folder), max(found)
        for page in self._pages(folder, StartAfter=f"{beginning}{min(found)}"):
            for item in page.get("Contents", []):
                subfolder, _, name = item["Key"][len(beginning) :].partition("/")
                if subfolder > last:
                    return found
                if subfolder in found:
                    found[subfolder].append(name)
        return found

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if the file does not exist.

        :raises FileUnreadable: the file is archived.
        """
        with self._storage_errors():
            try:
                return bytes(self._client.get_object(**self._at(name))["Body"].read())
            except self._client.exceptions.NoSuchKey:
                return None
            except self._client.exceptions.InvalidObjectState as error:
                raise FileUnreadable("it is archived") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file that is not there yet, as a whole or not at all.

        :raises UploadStoreError: a request failed, or there is such a file with another content.
        """
        from botocore.exceptions import ClientError

        with self._storage_errors():
            try:
                # As a file, because botocore's debug log shows the content otherwise.
                self._client.put_object(**self._at(name), Body=BytesIO(content), IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] != "PreconditionFailed":
                    raise
                # The same content: the request was answered too late, and botocore sent it again.
                if self.read(name) != content:
                    raise UploadStoreError(f"{name} in {self.shown_url} exists already.") from error

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; a file that is already gone is no error."""
        objects = [{"Key": self._at(name)["Key"]} for name in names]
        for start in range(0, len(objects), MOST_REMOVED):
            some = objects[start : start + MOST_REMOVED]
            with self._storage_errors():
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": some, "Quiet": True})
            if refused := answer.get("Errors"):
                raise UploadStoreError(
                    f"S3 removed only some files in {self.shown_url}: {refused[0].get('Code')} for "
                    f"{refused[0].get('Key')}. Check the permission s3:DeleteObject."
                )

    @cached_property
    def _client(self) -> Any:
        # Not in __init__: it may fetch a connection, which must not happen on an event loop.
        return self._open_client(self.conn_id)

    def _pages(self, folder: str, **named: str) -> Iterator[Any]:
        with self._storage_errors():
            pages = self._client.get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self._bucket, Prefix=self._below(folder), **named)

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{name}"}

    def _below(self, folder: str) -> str:
        return f"{self._prefix}{folder}/" if folder else self._prefix
