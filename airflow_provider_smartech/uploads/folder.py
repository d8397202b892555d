"""A folder of small files in any storage that fsspec supports; each file is written once, as a whole."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from fsspec.core import has_magic

from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.redaction import without_queries

# S3's error code for an archived object, whose content cannot be read.
ARCHIVED = "InvalidObjectState"


class FileUnreadable(UploadStoreError):
    """One file cannot be read and retries do not help, although the storage itself works."""


class Root(Protocol):
    """A path in some storage, such as Airflow's ``ObjectStoragePath``."""

    @property
    def fs(self) -> Any:
        """Fsspec's file system."""

    @property
    def path(self) -> str:
        """The path in that file system."""

    @property
    def protocol(self) -> str:
        """The scheme of its URL."""


class Folder:
    """The files below one folder, addressed by their names in it.

    All methods block; each raises ``UploadStoreError`` when a request to the storage fails.

    :param url: the folder's URL.
    :param open_root: opens the folder, at the first request.
    """

    def __init__(self, url: str, open_root: Callable[[str], Root]) -> None:
        self.url = url
        self._open_root = open_root

    @property
    def shown_url(self) -> str:
        """The folder's URL for messages: without its query, and without what follows the connection id."""
        scheme, separator, rest = self.url.partition("?")[0].partition("://")
        login, at, place = rest.rpartition("@")
        return f"{scheme}{separator}{login.partition(':')[0]}{at}{place}"

    def names(self, folder: str) -> list[str]:
        """List a folder that contains only files.

        Uses ``find``: for an empty folder, s3fs's ``ls`` also lists the parent, which may be large.
        """
        with self._storage_errors():
            if self._is_local:
                return _names_local(self._path(folder))
            with self._uncached(folder) as path:
                found = self._root.fs.find(path)
        return sorted(str(name).rpartition("/")[2] for name in found)

    def folders(self, folder: str) -> list[str]:
        """List a folder that contains only folders."""
        with self._storage_errors():
            if self._is_local:
                return _names_local(self._path(folder))
            with self._uncached(folder) as path, suppress(FileNotFoundError):
                return [str(name).rstrip("/").rpartition("/")[2] for name in self._root.fs.ls(path, detail=False)]
        return []

    def names_below(self, folder: str) -> list[str]:
        """List the files of a folder and its subfolders, by their paths relative to it."""
        with self._storage_errors(), self._uncached(folder) as path:
            return [str(name).rpartition(f"{path.lstrip('/')}/")[2] for name in self._root.fs.find(path)]

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if the file does not exist.

        :raises FileUnreadable: the file is archived, or its path is a folder.
        """
        with self._storage_errors():
            path = self._path(name)
            try:
                return Path(path).read_bytes() if self._is_local else self._content(path)
            except FileNotFoundError:
                return None
            except OSError as error:
                if fault := _permanent_fault(error):
                    raise FileUnreadable(fault) from error
                raise

    def _content(self, path: str) -> bytes:
        try:
            # Without a start, s3fs requests the size first.
            return bytes(self._root.fs.cat_file(path, start=0))
        except OSError as error:
            # S3 refuses a range request for an empty object.
            if error.errno != errno.EINVAL:
                raise
            return bytes(self._root.fs.cat_file(path))

    def write(self, name: str, content: bytes) -> None:
        """Write a file as a whole or not at all."""
        with self._storage_errors():
            if self._is_local:
                _write_local(Path(self._path(name)), content)
            else:
                self._root.fs.pipe_file(self._path(name), content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        names = list(names)
        with self._storage_errors():
            if self._is_local:
                _remove_local(Path(self._root.path), names)
            elif has_magic(self._root.path):
                # ``rm`` would treat the folder's name as a pattern.
                for name in names:
                    self._root.fs.rm_file(self._path(name))
            elif names:
                self._root.fs.rm([self._path(name) for name in names])

    def check(self) -> None:
        """Send a request to the storage, to see whether it is available."""
        self.names("a folder that is never there")

    @cached_property
    def _root(self) -> Root:
        # Not in __init__: it may fetch a connection, which must not happen on an event loop.
        return self._open_root(self.url)

    @cached_property
    def _is_local(self) -> bool:
        return self._root.protocol in ("", "file", "local")

    def _path(self, name: str) -> str:
        return f"{self._root.path.rstrip('/')}/{name}"

    @contextmanager
    def _uncached(self, folder: str) -> Iterator[str]:
        """Yield a folder's path for a listing without fsspec's cache, whose entries never expire."""
        path = self._path(folder)
        self._root.fs.invalidate_cache(path)
        try:
            yield path
        finally:
            self._root.fs.invalidate_cache(path)

    @contextmanager
    def _storage_errors(self) -> Iterator[None]:
        """Convert the storage's exceptions into one error: each kind of storage has its own."""
        try:
            yield
        except UploadStoreError:
            raise
        except Exception as error:
            raise UploadStoreError(
                f"Cannot read or write the upload store at {self.shown_url} "
                f"({type(error).__name__}: {without_queries(str(error))[:300]}). "
                "Check [smartech] upload_store, its connection and its permissions."
            ) from error


def _permanent_fault(error: OSError) -> str | None:
    """Return why a file can never be read, None if a later read may succeed."""
    if isinstance(error, IsADirectoryError):
        return "its path is a folder"
    return "it is archived" if ARCHIVED in str(error.__cause__) else None


def _names_local(folder: str) -> list[str]:
    """List a local folder; fsspec would show an unreadable one as empty."""
    try:
        return sorted(entry.name for entry in Path(folder).iterdir())
    except FileNotFoundError:
        return []


def _write_local(path: Path, content: bytes) -> None:
    """Write a local file as a whole or not at all, so that it survives a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    for folder in (path.parent, path.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_local(root: Path, names: list[str]) -> None:
    """Remove local files, and the folders that become empty."""
    for name in names:
        (root / name).unlink(missing_ok=True)
    for folder in sorted({root / parent for name in names for parent in Path(name).parents[:-2]}, reverse=True):
        with suppress(OSError):
            folder.rmdir()
