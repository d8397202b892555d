"""Waiting in the triggerer: each trigger waits for its uploads, and all triggers share one poll of the store."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from threading import Lock
from typing import Any, ClassVar, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import conf
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_smartech import metrics
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import open_upload_store
from airflow_provider_smartech.errors import SmartechError, UploadRecordUnreadable, UploadStoreError
from airflow_provider_smartech.uploads.upload import Upload

# Seconds that every triggerer has to see news, before one of them removes it.
SWEEP_AFTER_SECONDS = 120.0

# Seconds of waiting after which a log says again what is waited for.
REMINDER_SECONDS = 600.0

# How many uploads such a line names.
MOST_NAMED = 10

__all__ = ["SmartechBulkUploadTrigger"]

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class SmartechBulkUploadTrigger(BaseTrigger):
    """Waits until the ping-backs say that enough of the uploads have ended, or until a deadline.

    Its event is ``{"keys": […], "event": "ended" | "timed out" | "error", "message": …}``. The task itself reads the
    ping-backs from the upload store.

    :param keys: the uploads' keys in the upload store.
    :param deadline: when to stop waiting, in seconds since the epoch.
    :param enough: how many of the uploads have to end; None for all.
    """

    def __init__(self, keys: list[str], deadline: float, enough: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys = keys
        self.deadline = deadline
        self.enough = enough

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments with which another triggerer recreates this trigger."""
        arguments = {"keys": self.keys, "deadline": self.deadline, "enough": self.enough}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event, at the earliest after twice Airflow's ``[workers] min_heartbeat_interval``."""
        event, message = "ended", ""
        try:
            poll = Poll.shared()
            # Airflow fails a task that resumes before the executor has reported its deferral. The task's supervisor
            # may sleep for one such interval before that report.
            await asyncio.sleep(2 * conf.getint("workers", "min_heartbeat_interval"))
            async with asyncio.timeout(max(0.0, self.deadline - datetime.now(UTC).timestamp())):
                await self._wait(poll)
        except TimeoutError:
            event = "timed out"
        except SmartechError as error:
            event, message = "error", str(error)
        yield TriggerEvent({"keys": self.keys, "event": event, "message": message})  # type: ignore[no-untyped-call]

    async def _wait(self, poll: Poll) -> None:
        self._remind_later()
        try:
            await poll.wait(self.keys, self.enough)
        finally:
            self._reminder.cancel()

    def _remind_later(self) -> None:
        # Called in this trigger's context, so that the line is in the log of its task.
        self._reminder = asyncio.get_running_loop().call_later(REMINDER_SECONDS, self._remind)

    def _remind(self) -> None:
        log.info("Still waiting %s", what_for(self.keys, datetime.fromtimestamp(self.deadline, UTC)))
        self._remind_later()


def what_for(uploads: Sequence[str], deadline: datetime) -> str:
    """Return what is waited for, and until when, for a log."""
    more = f" and {len(uploads) - MOST_NAMED:,} more" if len(uploads) > MOST_NAMED else ""
    named = f"{', '.join(uploads[:MOST_NAMED])}{more}"
    return f"for Smartech to complete upload {named}, until {deadline:%Y-%m-%d %H:%M:%S} UTC at most."


class Poll:
    """Polls the store once per interval, for all triggers on one event loop.

    Each round reads the uploads that have news, and one more upload in turn, so that an upload whose news was lost (by
    an interrupted write) is found too. The cost of a round depends on the number of events, not on the number of waits.
    A round does not wait for the reads: an upload that is slow to read does not delay the others.

    News is removed ``SWEEP_AFTER_SECONDS`` after it was first seen, so that a listing does not grow. This is longer
    than any interval: other triggerers have seen it by then. One that could not list the store for so long reads all
    uploads that it waits for. Only this process's own clock is used.
    """

    _of_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Poll]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._settings = Settings.load()
        self._store = open_upload_store(self._settings.upload_store)
        self._waits = 0
        self._counting = Lock()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._known: dict[str, Upload] = {}
        self._seen: dict[str, float] = {}
        self._listed = time.monotonic()
        self._due: set[str] = set()
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._rounds: asyncio.Task[None] | None = None

    @classmethod
    def shared(cls) -> Poll:
        """Return the poll of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in cls._of_loop:
            cls._of_loop[loop] = cls()
        return cls._of_loop[loop]

    async def wait(self, keys: Iterable[str], enough: int | None = None) -> None:
        """Return when so many of the uploads have ended; by default all.

        :raises UploadUnknown: the store has no such upload.
        :raises UploadRecordUnreadable: its files are damaged.
        """
        loop = asyncio.get_running_loop()
        self._waits += 1
        news: dict[str, asyncio.Future[None]] = {key: loop.create_future() for key in keys}
        for key, one in news.items():
            self._waiting.setdefault(key, set()).add(one)
        if self._rounds is None or self._rounds.done():
            # A separate context: with the first trigger's, the logs of all would go to that trigger's task.
            self._rounds = asyncio.create_task(self._run(), context=contextvars.Context())
            self._rounds.add_done_callback(self._give_up)
        self._due |= news.keys()
        self._look_at_due()
        try:
            for ended in islice(asyncio.as_completed(news.values()), enough):
                await ended
        finally:
            self._leave(news)

    def _leave(self, news: dict[str, asyncio.Future[None]]) -> None:
        self._waits -= 1
        for key, one in news.items():
            if not one.cancel() and not one.cancelled():
                # Asyncio complains of errors that nobody has seen.
                one.exception()
            waiting = self._waiting.get(key, set())
            waiting.discard(one)
            if not waiting:
                self._waiting.pop(key, None)
                self._known.pop(key, None)
        if self._waits:
            return
        if self._rounds:
            self._rounds.cancel()
            self._rounds = None
        # Nobody waits for it: this task may have been cancelled.
        asyncio.get_running_loop().run_in_executor(None, self._count)

    async def _run(self) -> None:
        while True:
            # In a thread: the client may look up a host's name.
            await _in_thread(self._count)
            await asyncio.sleep(self._settings.poll_interval)
            await self._round()

    def _count(self) -> None:
        # Threads overtake each other: each sends what is true when it is its turn.
        with self._counting:
            metrics.waits_under_way(self._waits)

    async def _round(self) -> None:
        began = time.monotonic()
        try:
            arrivals = await _in_thread(self._store.arrivals)
        except UploadStoreError as error:
            log.warning("%s Still waiting.", error)
            return
        self._due |= {key for name, key in arrivals.items() if name not in self._seen} | self._next_in_turn()
        if began - self._listed > self._kept_seconds / 2:
            # Others may have removed news that was never seen here.
            self._due |= self._waiting.keys()
        self._listed = began
        self._seen = {name: self._seen.get(name, time.monotonic()) for name in arrivals}
        self._look_at_due()
        await self._sweep()

    async def _sweep(self) -> None:
        """Remove news that all triggerers have seen; if this is not allowed, only the listing grows."""
        before = time.monotonic() - self._kept_seconds
        if old := [name for name, seen in self._seen.items() if seen < before]:
            try:
                await _in_thread(self._store.sweep, old)
            except UploadStoreError as error:
                log.warning("Could not remove old news from the upload store. %s", error)

    @property
    def _kept_seconds(self) -> float:
        return max(SWEEP_AFTER_SECONDS, 3 * self._settings.poll_interval)

    def _next_in_turn(self) -> set[str]:
        key = next(iter(self._waiting), None)
        if key is None:
            return set()
        self._waiting[key] = self._waiting.pop(key)
        return {key}

    def _look_at_due(self) -> None:
        """Start to read the uploads that have news; an upload that is already being read stays due."""
        due = self._due & self._waiting.keys() - self._looks.keys()
        self._due = self._due & self._looks.keys()
        for key in due:
            look = asyncio.create_task(self._look(key), context=contextvars.Context())
            self._looks[key] = look
            look.add_done_callback(partial(self._looked, key))

    def _looked(self, key: str, look: asyncio.Task[None]) -> None:
        del self._looks[key]

    async def _look(self, key: str) -> None:
        """Notify the waiters of an upload if it has ended, or if it is damaged."""
        try:
            upload, has_ended = await _in_thread(self._read, key, self._known.get(key))
        except UploadStoreError as error:
            if isinstance(error, UploadRecordUnreadable):
                self._tell(key, error)
            else:
                log.warning("%s Still waiting.", error)
                self._due.add(key)
        except Exception as error:  # noqa: BLE001 - raised only in the waiters of this upload
            self._tell(key, error)
        else:
            if key in self._waiting:
                self._known[key] = upload
            if has_ended:
                self._tell(key)

    def _read(self, key: str, known: Upload | None) -> tuple[Upload, bool]:
        upload = self._store.read(key, known)
        # A large ping-back takes some tenths of a second.
        return upload, upload.progress(self._settings.statuses).state.ended

    def _tell(self, key: str, error: BaseException | None = None) -> None:
        for news in self._waiting.get(key, set()):
            if not news.done():
                news.set_exception(error) if error else news.set_result(None)

    def _give_up(self, rounds: asyncio.Task[None]) -> None:
        """End all waits with an error if the rounds have failed."""
        if not rounds.cancelled() and (error := rounds.exception()):
            for key in list(self._waiting):
                self._tell(key, error)


async def _in_thread(
    call: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    # Not asyncio.to_thread: Airflow 3.1 cannot fetch a connection from its threads.
    return await sync_to_async(call, thread_sensitive=False)(*arguments, **named)
