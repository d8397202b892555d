"""One file with all that lists show of an upload that has ended, so that they need not read its other files."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from airflow_provider_smartech.uploads.upload import Answer, Conclusion, PingBack, Record, Upload


class Ended(BaseModel):
    """An upload as it was when a waiter acted on its ping-backs, without its hand-overs.

    ``pingbacks`` are by the names of their files. The name of its own file says from how many files it was made: it is
    valid while there are no more. So a late ping-back, for example, is never overlooked.
    """

    record: Record
    answer: Answer | None
    pingbacks: dict[str, PingBack]
    conclusions: tuple[Conclusion, ...]

    @classmethod
    def of(cls, upload: Upload) -> Ended:
        """Return what is to be kept of an upload."""
        return cls(
            record=upload.record,
            answer=upload.answer,
            pingbacks={pingback.name: pingback for pingback in upload.pingbacks},
            conclusions=upload.conclusions,
        )

    def upload(self) -> Upload:
        """Return the upload."""
        pingbacks = (pingback.model_copy(update={"name": name}) for name, pingback in self.pingbacks.items())
        return Upload(record=self.record, answer=self.answer, pingbacks=tuple(pingbacks), conclusions=self.conclusions)


def name_of_ended(files: int) -> str:
    """Return the name of the file that was made from so many."""
    return f"ended-{files}.json"


def files_of(names: Iterable[str]) -> int:
    """Return how many of an upload's files count: those that say what became of it."""
    return sum(name.endswith(".json") and not name.startswith(("ended-", "handover-", ".")) for name in names)
