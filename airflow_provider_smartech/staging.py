"""What is kept of the files that a task has staged in S3 for Smartech to fetch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from airflow_provider_smartech.uploads import Document, TaskTry


class StagedFile(BaseModel):
    """One CSV in S3: its ``key`` in the bucket, ``rows`` without the header, ``bytes`` with it."""

    model_config = ConfigDict(frozen=True)

    key: str
    rows: int
    bytes: int


class Staging(Document):
    """The files that one try of a task has staged, all of them whole.

    ``fingerprint`` tells the same query again; ``missing_keys`` rows were left out for their primary key.
    """

    task: TaskTry
    fingerprint: str
    bucket: str
    files: tuple[StagedFile, ...]
    missing_keys: int = 0

    def serves(self, task: TaskTry, fingerprint: str) -> bool:
        """Whether a later try of the same query can go on with these files, instead of asking the database again."""
        return self.fingerprint == fingerprint and task.retries(self.task)

    def is_of_round(self, task: TaskTry) -> bool:
        """Whether the task has not been cleared since."""
        return task == self.task or task.retries(self.task)
