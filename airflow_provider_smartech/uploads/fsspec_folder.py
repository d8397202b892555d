"""A folder in any other storage, by fsspec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, Protocol

from fsspec.core import has_magic

from airflow_provider_smartech.uploads.folder import Folder


class Root(Protocol):
    """A path in some storage, such as Airflow's ``ObjectStoragePath``."""

    @property
    def fs(self) -> Any:
        """Fsspec's file system."""

    @property
    def path(self) -> str:
        """The path in that file system."""


class FsspecFolder(Folder):
    """Files of a file system of fsspec.

    :param url: the folder's URL.
    :param open_root: opens the folder, at the first request.
    """

    def __init__(self, url: str, open_root: Callable[[str], Root]) -> None:
        super().__init__(url)
        self._open_root = open_root

    def names(self, folder: str) -> list[str]:
        """List a folder that contains only files, by their names in it."""
        return sorted(name.rpartition("/")[2] for name in self.names_below(folder))

    def folders(self, folder: str) -> list[str]:
        """List a folder that contains only folders, by their names in it."""
        with self._storage_errors(), self._uncached(folder) as path, suppress(FileNotFoundError):
            return [str(name).rstrip("/").rpartition("/")[2] for name in self._root.fs.ls(path, detail=False)]
        return []

    def names_below(self, folder: str) -> list[str]:
        """List the files of a folder and its subfolders, by their paths relative to it."""
        with self._storage_errors(), self._uncached(folder) as path:
            return [str(name).rpartition(f"{path.strip('/')}/")[2] for name in self._root.fs.find(path)]

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if the file does not exist."""
        with self._storage_errors():
            try:
                return bytes(self._root.fs.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file as a whole or not at all."""
        with self._storage_errors():
            self._root.fs.pipe_file(self._path(name), content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files."""
        paths = [self._path(name) for name in names]
        with self._storage_errors():
            if has_magic(self._root.path):
                # ``rm`` would treat the folder's name as a pattern.
                for path in paths:
                    self._root.fs.rm_file(path)
            elif paths:
                self._root.fs.rm(paths)

    @cached_property
    def _root(self) -> Root:
        # Not in __init__: it may fetch a connection, which must not happen on an event loop.
        return self._open_root(self.url)

    def _path(self, name: str) -> str:
        return f"{self._root.path.rstrip('/')}/{name}".rstrip("/")

    @contextmanager
    def _uncached(self, folder: str) -> Iterator[str]:
        """Yield a folder's path for a listing without fsspec's cache, whose entries never expire."""
        path = self._path(folder)
        self._root.fs.invalidate_cache(path)
        try:
            yield path
        finally:
            self._root.fs.invalidate_cache(path)
