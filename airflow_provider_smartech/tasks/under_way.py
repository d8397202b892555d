"""The uploads of one task that sends its files some at a time: how many more may be sent, and when to look again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_smartech.api.account import Account
from airflow_provider_smartech.errors import SmartechConfigurationError, WaitBroken
from airflow_provider_smartech.tasks.wait import Wait
from airflow_provider_smartech.triggers import SmartechBulkUploadTrigger
from airflow_provider_smartech.uploads.upload import State, Upload

log = logging.getLogger(__name__)


@dataclass
class UnderWay:
    """What a task has sent of its ``files``, at most ``at_once`` at a time (None: all).

    ``digest`` identifies the files. ``sent`` has the keys and requestids of the uploads, in the order of their files;
    ``watched`` the uploads that are not known to have completed: they are under way, or have failed. After a failure,
    or when the time is over, no other file is sent. ``enough`` is how many of those that are watched have to end
    before it goes on.
    """

    wait: Wait
    files: int
    digest: str
    at_once: int | None
    sent: dict[str, str] = field(default_factory=dict)
    watched: list[Upload] = field(default_factory=list)
    enough: int = 0
    is_late: bool = False
    _known: dict[str, Upload] = field(default_factory=dict)

    @classmethod
    def begun(cls, wait: Wait, paths: Sequence[str], at_once: int | None) -> UnderWay:
        """Return the beginning: of the files with these paths, none is sent."""
        # Where all are sent at once, there is nothing to compare later.
        return cls(wait, len(paths), _digest(paths) if at_once else "", at_once)

    @classmethod
    def resumed(cls, wait: Wait, kept: Any, event: Any) -> UnderWay:
        """Return what was kept by ``kept`` when the task deferred, as the store shows it now.

        :raises WaitBroken: it was lost, or the trigger's event is not recognised or contradicts the store.
        """
        if not isinstance(kept, dict):
            raise WaitBroken(
                "The XCom with the uploads that this task waits for is gone; a retry waits for them again."
            )
        if isinstance(event, dict) and event.get("keys") not in (None, kept["watched"]):
            raise WaitBroken(f"The trigger returned an event about other uploads than this task waits for: {event!r}.")
        watched = wait.resume(event, kept["enough"])
        sent = dict(kept["sent"])
        under_way = cls(wait, kept["files"], kept["digest"], kept["at_once"], sent, enough=kept["enough"])
        under_way._see(watched)
        return under_way

    def check_unchanged(self, paths: Sequence[str], account: Account, listid: int | None) -> None:
        """Check that the files that are left are those of the beginning, and go where the others went.

        :raises SmartechConfigurationError: the account, the list or the files have changed while the task waited.
        """
        places = {(one.record.account, one.record.listid) for one in self._known.values()}
        if _digest(paths) == self.digest and places == {(account.identity, listid)}:
            return
        raise SmartechConfigurationError(
            f"{len(self.sent)} of {self.files} files are sent. Meanwhile the account, the list or the files of this "
            "task have changed, so the others are not sent. Clear the task to send all files again."
        )

    def kept(self) -> dict[str, Any]:
        """Return what has to be known when the task is resumed."""
        return {
            # Not as an object: a database may keep the names of one in another order.
            "sent": list(self.sent.items()),
            "watched": [upload.key for upload in self.watched],
            "enough": self.enough,
            "files": self.files,
            "digest": self.digest,
            "at_once": self.at_once,
        }

    @property
    def left(self) -> int:
        """How many files have not been sent."""
        return self.files - len(self.sent)

    @property
    def room(self) -> int:
        """How many files may be sent now."""
        if self._stops:
            return 0
        return self.left if self.at_once is None else min(self.left, max(0, self.at_once - len(self.watched)))

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.is_late or (all(map(self.wait.has_ended, self.watched)) and (self._stops or not self.left))

    @property
    def _stops(self) -> bool:
        return self.is_late or any(map(self.wait.has_ended, self.watched))

    def add(self, uploads: list[Upload]) -> None:
        """Watch uploads that were sent for the next files, or that an earlier try has sent."""
        self.sent.update((upload.key, upload.requestid) for upload in uploads)
        self.watched += uploads
        self._look()

    def trigger(self) -> SmartechBulkUploadTrigger:
        """Return the trigger that waits until it is time to go on."""
        self._next()
        return self.wait.trigger(self.watched, self.enough)

    def block(self) -> None:
        """Wait in this process until it is time to go on."""
        self._next()
        self._see(self.wait.block(self.watched, self.enough))

    def all(self) -> list[Upload]:
        """Return all uploads that were sent."""
        return [self._known.get(key) or self.wait.patiently(self.wait.store.read, key) for key in self.sent]

    def _next(self) -> None:
        """Choose when to go on: when all have ended, or half of what may be under way, if more is to be sent."""
        waits_for_all = self.at_once is None or not self.left or self._stops
        self.enough = len(self.watched) if waits_for_all else max(1, len(self.watched) // 2)
        if self.left:
            done = len(self.sent) - len(self.watched)
            log.info("Sent %s of %s files, of which %s have completed.", len(self.sent), self.files, done)

    def _see(self, uploads: list[Upload]) -> None:
        self.watched = uploads
        self.is_late = sum(map(self.wait.has_ended, uploads)) < self.enough
        self._look()

    def _look(self) -> None:
        """Watch those no more that have completed."""
        self._known.update((upload.key, upload) for upload in self.watched)
        self.watched = [upload for upload in self.watched if self.wait.state(upload) is not State.COMPLETED]


def _digest(paths: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(paths).encode()).hexdigest()[:40]
