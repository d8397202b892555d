"""A folder of small files; each file is written once, as a whole. What all kinds of storage have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from airflow_provider_smartech.errors import UploadStoreError
from airflow_provider_smartech.redaction import without_queries

LISTING_THREADS = 16
# More subfolders than these are listed together with all others beside them, not each by itself.
MOST_LISTED_ALONE = 50


class FileUnreadable(UploadStoreError):
    """One file cannot be read and retries do not help, although the storage itself works."""


class Folder(ABC):
    """The files below one folder, addressed by their names in it.

    All methods block; each raises ``UploadStoreError`` when a request to the storage fails.

    :param url: the folder's URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @property
    def shown_url(self) -> str:
        """The folder's URL for messages: without its query, and without what follows the connection id."""
        scheme, separator, rest = self.url.partition("?")[0].partition("://")
        login, at, place = rest.rpartition("@")
        return f"{scheme}{separator}{login.partition(':')[0]}{at}{place}"

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """List a folder that contains only files, by their names in it."""

    @abstractmethod
    def folders(self, folder: str) -> list[str]:
        """List a folder that contains only folders, by their names in it."""

    @abstractmethod
    def names_below(self, folder: str) -> list[str]:
        """List the files of a folder and its subfolders, by their paths relative to it."""

    def names_of(self, folder: str, subfolders: Sequence[str]) -> dict[str, list[str]]:
        """List subfolders that contain only files, by the names in each; those between them may be listed too."""
        if len(subfolders) > MOST_LISTED_ALONE:
            found: dict[str, list[str]] = {name: [] for name in subfolders}
            for path in self.names_below(folder):
                subfolder, _, name = path.partition("/")
                if subfolder in found:
                    found[subfolder].append(name)
            return found
        with ThreadPoolExecutor(LISTING_THREADS) as threads:
            listed = threads.map(self.names, (f"{folder}/{name}" for name in subfolders))
            return dict(zip(subfolders, listed, strict=True))

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if the file does not exist.

        :raises FileUnreadable: the file is archived, or its path is a folder.
        """

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file as a whole or not at all."""

    @abstractmethod
    def remove(self, names: Iterable[str]) -> None:
        """Remove files; a file that is already gone is no error."""

    def check(self) -> None:
        """Send a request to the storage, to see whether it is available."""
        self.names("check")

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
