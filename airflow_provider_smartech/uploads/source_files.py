"""Records of the objects in S3 that a task uploads, fixed by its first try."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from airflow_provider_smartech.uploads.upload import Document, TaskTry


class SourceFile(BaseModel):
    """One CSV in S3 that somebody else wrote: its ``key`` in the bucket, its ``etag`` and its ``bytes``."""

    model_config = ConfigDict(frozen=True)

    key: str
    etag: str
    bytes: int


class SourceFiles(Document):
    """The objects that a task uploads, in the order of its uploads; ``empty`` others had no row.

    ``fingerprint`` identifies what they were selected by.
    """

    task: TaskTry
    fingerprint: str
    bucket: str
    files: tuple[SourceFile, ...]
    empty: int

    def serves(self, task: TaskTry, fingerprint: str) -> bool:
        """Whether a try uploads these: it is the same try or a retry, of the same selection."""
        return self.fingerprint == fingerprint and task.is_of_round(self.task)
