"""Waiting in the triggerer: each trigger waits for one upload, and all of them share one look at the store."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from airflow.providers.common.compat.sdk import conf
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_smartech.errors import SmartechError, UploadRecordUnreadable, UploadStoreError
from airflow_provider_smartech.settings import Settings
from airflow_provider_smartech.store import UploadStore

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class SmartechBulkUploadTrigger(BaseTrigger):
    """Waits until the ping-backs say that uploads have ended, all of them, or until a moment has come.

    Its event says which, ``{"keys": […], "event": "ended" | "timed out" | "error", "message": …}``; what the
    ping-backs say, the task reads from the upload store itself.

    :param keys: the uploads' keys in the upload store.
    :param deadline: when to give up, in seconds since the epoch.
    """

    def __init__(self, keys: list[str], deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys = keys
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and the arguments from which another triggerer makes this trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"keys": self.keys, "deadline": self.deadline}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event, after twice Airflow's ``[workers] min_heartbeat_interval`` at the earliest."""
        event, message = "ended", ""
        try:
            poll = Poll.shared()
            # Airflow fails a task that resumes before the executor has reported its deferral. The task's supervisor
            # may sleep for one of these intervals before it does.
            await asyncio.sleep(2 * conf.getint("workers", "min_heartbeat_interval"))
            async with asyncio.timeout(max(0.0, self.deadline - datetime.now(UTC).timestamp())):
                for key in self.keys:
                    await poll.wait(key)
        except TimeoutError:
            event = "timed out"
        except SmartechError as error:
            event, message = "error", str(error)
        yield TriggerEvent({"keys": self.keys, "event": event, "message": message})  # type: ignore[no-untyped-call]


class Poll:
    """One look at the store per interval, for all the triggers on one event loop.

    Each round looks at the uploads that have news, and at one more in turn, so that news that went missing (a clock
    that is wrong, a write that was cut off) is found in the end. So a round costs what has happened, and not how
    many wait.
    """

    _of_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Poll]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._settings = Settings.load()
        self._store = UploadStore(self._settings.upload_store)
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._again: set[str] = set()
        self._rounds: asyncio.Task[None] | None = None

    @classmethod
    def shared(cls) -> Poll:
        """Return the poll of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in cls._of_loop:
            cls._of_loop[loop] = cls()
        return cls._of_loop[loop]

    async def wait(self, key: str) -> None:
        """Return when the upload has ended.

        :raises UploadUnknown: the store has no such upload.
        :raises UploadRecordUnreadable: its files are damaged.
        """
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, set()).add(news)
        if self._rounds is None or self._rounds.done():
            # A context of its own: with the first trigger's, the log of all would go to that trigger's task.
            self._rounds = asyncio.create_task(self._run(), context=contextvars.Context())
            self._rounds.add_done_callback(self._give_up)
        try:
            await self._look(key)
            await news
        finally:
            self._leave(key, news)

    def _leave(self, key: str, news: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(key, set())
        waiting.discard(news)
        if not waiting:
            self._waiting.pop(key, None)
        if not self._waiting and self._rounds:
            self._rounds.cancel()
            self._rounds = None

    async def _run(self) -> None:
        since, seen = datetime.now(UTC), set[str]()
        while True:
            await asyncio.sleep(self._settings.poll_interval)
            began = datetime.now(UTC)
            try:
                arrivals = await _in_thread(self._store.arrivals, since)
            except UploadStoreError as error:
                log.warning("%s The waiting goes on.", error)
                continue
            fresh = {key for name, key in arrivals.items() if name not in seen}
            since, seen = began, set(arrivals)
            due = fresh | self._again | self._next_in_turn()
            self._again = set()
            await asyncio.gather(*(self._look(key) for key in due & self._waiting.keys()))

    def _next_in_turn(self) -> set[str]:
        key = next(iter(self._waiting), None)
        if key is None:
            return set()
        self._waiting[key] = self._waiting.pop(key)
        return {key}

    async def _look(self, key: str) -> None:
        """Tell those who wait for an upload if it has ended, or if it is damaged."""
        try:
            ended = await _in_thread(self._has_ended, key)
        except UploadStoreError as error:
            if isinstance(error, UploadRecordUnreadable):
                self._tell(key, error)
            else:
                log.warning("%s The waiting goes on.", error)
                self._again.add(key)
        except Exception as error:  # noqa: BLE001 - raised where this upload is waited for, and disturbs no other
            self._tell(key, error)
        else:
            if ended:
                self._tell(key)

    def _has_ended(self, key: str) -> bool:
        upload = self._store.read(key)
        return upload.progress(self._settings.statuses, self._settings.pingbacks_expected).state.ended

    def _tell(self, key: str, error: BaseException | None = None) -> None:
        for news in self._waiting.get(key, set()):
            if not news.done():
                news.set_exception(error) if error else news.set_result(None)

    def _give_up(self, rounds: asyncio.Task[None]) -> None:
        """Let nobody wait for rounds that have broken off."""
        if not rounds.cancelled() and (error := rounds.exception()):
            for key in list(self._waiting):
                self._tell(key, error)


async def _in_thread(
    call: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    # Not asyncio.to_thread: Airflow 3.1 cannot fetch a connection from its threads.
    return await sync_to_async(call, thread_sensitive=False)(*arguments, **named)
