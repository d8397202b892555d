"""A folder of this machine, or of a volume that several machines mount."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from airflow_provider_smartech.uploads.folder import FileUnreadable, Folder

SCHEMES = ("", "file", "local")


class LocalFolder(Folder):
    """Files of this machine's file system, at a path or at ``file://`` and a path."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._root = Path(self.url.rpartition("://")[2]).expanduser().absolute()

    def check(self) -> None:
        """Look whether the folder is there, or make it, and whether this process may write in it."""
        with self._storage_errors():
            self._root.mkdir(parents=True, exist_ok=True)
            if not os.access(self._root, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "this process may not read and write in it")

    def names(self, folder: str) -> list[str]:
        """List a folder that contains only files, by their names in it."""
        with self._storage_errors():
            try:
                return sorted(entry.name for entry in (self._root / folder).iterdir())
            except FileNotFoundError:
                return []

    folders = names

    def names_below(self, folder: str) -> list[str]:
        """List the files of a folder and its subfolders, by their paths relative to it."""
        root = str(self._root / folder)
        with self._storage_errors():
            # Not with Path, which takes more than twice as long.
            files = (os.path.join(path, name) for path, _, names in os.walk(root) for name in names)  # noqa: PTH118
            return [file[len(root) + 1 :] for file in files]

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if the file does not exist.

        :raises FileUnreadable: its path is a folder.
        """
        with self._storage_errors():
            try:
                return (self._root / name).read_bytes()
            except FileNotFoundError:
                return None
            except IsADirectoryError as error:
                raise FileUnreadable("its path is a folder") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file as a whole or not at all, so that it survives a power cut."""
        path = self._root / name
        with self._storage_errors():
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
                _sync(folder)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and the folders that become empty."""
        names = list(names)
        with self._storage_errors():
            for name in names:
                (self._root / name).unlink(missing_ok=True)
            parents = {self._root / parent for name in names for parent in Path(name).parents[:-2]}
            for folder in sorted(parents, reverse=True):
                with suppress(OSError):
                    folder.rmdir()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
