"""Checks that the sandbox, the store and Airflow agree about many uploads, and about the nights of syncs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_smartech.uploads.statuses import Statuses
from airflow_provider_smartech.uploads.upload import State, Upload

# In these states, Smartech may or may not have accepted the upload.
UNKNOWN = frozenset({State.SUBMITTING, State.OUTCOME_UNKNOWN})
WARNING = "Submitting it again"
# What the log of a sync says of an earlier run that had died before it could become the base, and of a full upload.
CAUGHT_UP, ALL_SENT = "it is the new base", "all rows are sent, because"


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """One CSV: its task's ``state`` and ``log``, the store's ``uploads`` in their order, and what the sandbox took.

    ``fault`` is the fault that the sandbox simulated, if any.
    """

    path: str
    fault: str | None
    state: str | None
    log: str
    uploads: Sequence[Upload]
    taken: Sequence[dict[str, Any]]
    words: Statuses = field(repr=False)

    def differences(self) -> Iterator[str]:
        """Yield the differences."""
        states = [self._state(upload) for upload in self.uploads]
        known = [found for upload in self.uploads for found in self._taken(upload)]
        open_records = [upload for upload in self.uploads if not self._taken(upload)]
        stray = len(self.taken) - len({found["requestid"] for found in known})
        if self.state not in ("success", "failed"):
            yield f"the task has not ended: {self.state}"
        if len(self.taken) > len(self.uploads):
            yield f"{len(self.taken)} uploads were taken, but only {len(self.uploads)} are recorded"
        if stray > sum(self._answer(upload) in UNKNOWN for upload in open_records):
            yield f"{stray} uploads were taken but not recorded"
        for upload in self.uploads:
            if upload.answer and upload.answer.outcome == "accepted" and not self._taken(upload):
                yield f"{upload.requestid} is recorded as accepted, and was not taken"
        yield from self._doubles()
        last = self._taken(self.uploads[-1]) if self.uploads else []
        if self.state == "success" and states[-1:] != [State.COMPLETED]:
            yield f"the task is green, but its uploads are {states}"
        if self.state == "success" and not any(found["state"] == "completed" and found["accepted"] for found in last):
            yield "the task is green, but the sandbox has not loaded its contacts"

    def _doubles(self) -> Iterator[str]:
        doubtful = [upload for upload in self.uploads[:-1] if not self._surely_failed(upload)]
        for upload in doubtful:
            if self._answer(upload) is State.ACCEPTED and not upload.handovers:
                yield f"{upload.requestid} was accepted, no task stopped waiting for it, and it was sent again"
        if len(doubtful) > self.log.count(WARNING):
            yield f"{len(doubtful)} doubtful uploads were sent again, {self.log.count(WARNING)} with a warning"

    def _state(self, upload: Upload) -> State:
        return upload.progress(self.words).state

    def _surely_failed(self, upload: Upload) -> bool:
        return upload.progress(self.words).surely_failed or State.NOT_ACCEPTED is self._answer(upload)

    def _answer(self, upload: Upload) -> State:
        """Return the state according to the request's answer alone."""
        return upload.model_copy(update={"pingbacks": ()}).progress(self.words).state

    def _taken(self, upload: Upload) -> list[dict[str, Any]]:
        """Return what the sandbox accepted as this upload, according to the answer or to a ping-back that names it."""
        named = {*upload.named_requestids(), upload.answer and upload.answer.requestid}
        return [found for found in self.taken if found["requestid"] in named]


@dataclass(frozen=True, kw_only=True)
class SyncReconciliation:
    """One night of a sync: its task's ``state`` and ``log``, the query's ``rows``, and which the sandbox had after it.

    In a ``calm`` night nothing fails. ``sent`` is how many rows a green task sent, ``changed`` how many have changed
    since a night that was surely loaded, None if that is not known. If something earlier may still be loaded
    (``may_doubt``), it may send more.
    """

    name: str
    state: str | None
    log: str = field(repr=False)
    rows: Mapping[str, str]
    contacts: Mapping[str, str]
    calm: bool
    sent: int | None
    changed: int | None
    may_doubt: bool

    def differences(self) -> Iterator[str]:
        """Yield the differences."""
        if self.state not in ("success", "failed"):
            yield f"the task has not ended: {self.state}"
        if self.calm and self.state == "failed":
            yield "the task is red, but nothing failed in this night"
        if self.state != "success":
            return
        stale = sorted(key for key, name in self.rows.items() if self.contacts.get(key) != name)
        if stale:
            yield f"the task is green, but the sandbox does not have these rows as the query has them: {stale}"
        if self.changed is None or self.sent is None:
            return
        if self.sent < self.changed or (self.sent > self.changed and not self.may_doubt):
            yield f"{self.changed} rows have changed, but {self.sent} were sent"


def summary_of_nights(nights: Sequence[SyncReconciliation]) -> str:
    """Return the results of the nights, in one line."""
    states = Counter(str(night.state) for night in nights)
    green = [night for night in nights if night.state == "success"]
    return "syncs: {}; rows sent by green ones: {} of {}; caught up: {}; all rows sent: {}".format(
        ", ".join(f"{number} {what}" for what, number in states.most_common()),
        sum(night.sent or 0 for night in green),
        sum(len(night.rows) for night in green),
        sum(CAUGHT_UP in night.log for night in nights),
        sum(ALL_SENT in night.log for night in nights),
    )


def summary(accounts: Sequence[Reconciliation]) -> str:
    """Return the results of the uploads, in one line."""
    tasks = Counter(str(account.state) for account in accounts)
    records = Counter(account._state(upload).value for account in accounts for upload in account.uploads)
    taken = sum(len(account.taken) for account in accounts)
    counted = (", ".join(f"{number} {what}" for what, number in counts.most_common()) for counts in (tasks, records))
    red = [account for account in accounts if account.state == "failed"]
    late = sum(State.COMPLETED in map(account._state, account.uploads) for account in red)
    untried = sum(not account.uploads for account in red)
    return (
        "tasks: {}; records: {}; taken by the sandbox: {}; red although completed later: {}; red before anything was "
        "recorded: {}; red without a fault of the sandbox: {}"
    ).format(*counted, taken, late, untried, sum(account.fault is None for account in red))
