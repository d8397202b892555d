"""One file with all that lists show of an upload that has ended, so that they need not read its other files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import BaseModel

from airflow_provider_smartech.uploads.upload import Answer, Conclusion, PingBack, Record, Upload


class Ended(BaseModel):
    """An upload as it was when a waiter acted on its ping-backs, without its hand-overs.

    ``pingbacks`` are by the names of their files. The name of its own file says from which files it was made: it is
    valid while there are no others. So a late ping-back, for example, is never overlooked.
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


def name_of_ended(digest: str) -> str:
    """Return the name of the file that was made from files with this digest."""
    return f"ended-{digest}.json"


def digest_of(names: Iterable[str]) -> str:
    """Return a digest of the names of an upload's files, as far as they say what became of it."""
    count = (name for name in names if name.endswith(".json") and not name.startswith(("ended-", "handover-", ".")))
    return hashlib.sha256("\n".join(sorted(count)).encode()).hexdigest()[:16]
