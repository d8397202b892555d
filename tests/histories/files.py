"""Object storage in memory, for the upload store: it can refuse, or kill the process, at the n-th call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from fsspec.implementations.memory import MemoryFileSystem

Plan: TypeAlias = Callable[[int], None]


class Crash(BaseException):
    """The process dies: nothing in the product may catch it, and nothing that it does afterwards has an effect."""


class FlakyFiles(MemoryFileSystem):  # type: ignore[misc]
    """Files of one instance, of which each call by the thread that called ``follow`` is counted.

    The plan is asked at each call with its number, and raises what is to happen.
    """

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        # An instance of the base class shares these with all others.
        self.store: dict[str, Any] = {}
        self.pseudo_dirs: list[str] = [""]
        self._plan: Plan | None = None
        self._written: Callable[[str], None] | None = None
        self._thread = 0
        self._calls = 0

    def clear(self) -> None:
        """Forget everything."""
        self.store.clear()
        self.pseudo_dirs[:] = [""]
        self._plan = self._written = None

    def follow(self, plan: Plan | None, written: Callable[[str], None] | None = None) -> None:
        """Ask this plan from the next call on, which is number 1, and tell of each file after it was written."""
        self._plan, self._written, self._thread, self._calls = plan, written, threading.get_ident(), 0

    def contents(self) -> dict[str, bytes]:
        """Return all files by their names."""
        return {str(name): bytes(file.getbuffer()) for name, file in self.store.items()}

    def _count(self) -> None:
        if self._plan and self._thread == threading.get_ident():
            self._calls += 1
            self._plan(self._calls)

    def find(self, path: str, *arguments: Any, **named: Any) -> Any:
        self._count()
        return super().find(path, *arguments, **named)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **named: Any) -> Any:
        self._count()
        return super().cat_file(path, start, end, **named)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **named: Any) -> Any:
        self._count()
        super().pipe_file(path, value, mode, **named)
        if self._written and self._thread == threading.get_ident():
            self._written(path)

    def rm(self, path: Any, *arguments: Any, **named: Any) -> Any:
        self._count()
        return super().rm(path, *arguments, **named)
