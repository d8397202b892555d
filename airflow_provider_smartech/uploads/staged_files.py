"""Records of the files that a task has staged in S3 for Smartech to fetch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_smartech.uploads.syncs import Changes
from airflow_provider_smartech.uploads.upload import Document, TaskTry, Upload


class StagedFile(BaseModel):
    """One CSV in S3: its ``key`` in the bucket, ``rows`` without the header, ``bytes`` with it."""

    model_config = ConfigDict(frozen=True)

    key: str
    rows: int
    bytes: int


class StagedFiles(Document):
    """The complete files of a staging; ``missing_keys`` rows without a primary key were left out.

    ``changes`` is set if they have only what changed.
    """

    files: tuple[StagedFile, ...]
    missing_keys: int = 0
    changes: Changes | None = None


class Staging(Document):
    """A folder in S3 in which one try of a task stages files; recorded before the first file is written.

    ``fingerprint`` identifies the query. ``name`` is the staging's name in the store; ``complete`` is set when all
    files are complete, ``removed`` when all of them were removed.
    """

    task: TaskTry
    fingerprint: str
    bucket: str
    folder: str
    name: str = Field(default="", exclude=True)
    complete: StagedFiles | None = Field(default=None, exclude=True)
    removed: bool = Field(default=False, exclude=True)

    @property
    def url(self) -> str:
        """The folder's URL, for messages."""
        return f"s3://{self.bucket}/{self.folder}/"

    def holds(self, upload: Upload) -> bool:
        """Whether an upload's file is in this folder."""
        return is_in(self.folder, upload)

    @property
    def files(self) -> tuple[StagedFile, ...]:
        """The files; empty while the staging is not complete."""
        return self.complete.files if self.complete else ()

    def serves(self, task: TaskTry, fingerprint: str) -> bool:
        """Whether a try can use these files instead of the database: it is a retry of the same query."""
        return self.complete is not None and self.fingerprint == fingerprint and task.is_of_round(self.task)


def is_in(folder: str, upload: Upload) -> bool:
    """Whether an upload's file is in this folder of staged files: the last part of the folder's name is unique."""
    return f"/{folder.rpartition('/')[2]}/" in upload.record.path
