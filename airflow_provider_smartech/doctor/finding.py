"""What the doctor found at one link of the chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LINK_WIDTH = 28


class Result(StrEnum):
    """What a link is like; only ``BROKEN`` ones make the doctor fail."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    NOT_TRIED = "not tried"

    @property
    def mark(self) -> str:
        """The sign at the beginning of its line."""
        return {Result.OK: "✓", Result.WARNING: "!", Result.BROKEN: "✗", Result.NOT_TRIED: "-"}[self]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: what was ``seen`` at a link and, unless it is fine, what to do.

    ``seconds`` is how long it took, ``payload`` what a ping-back carried; None if that means nothing here.
    """

    link: str
    result: Result
    seen: str
    advice: str = ""
    seconds: float | None = None
    payload: Any = None

    @property
    def text(self) -> str:
        """It as lines for a terminal or a log; the first one has the mark."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        took = f" ({self.seconds:.2f} s)" if self.seconds is not None else ""
        yield f"{self.result.mark} {self.link:<{LINK_WIDTH}} {self.seen}{took}"
        for number, line in enumerate(self.advice.splitlines()):
            yield f"{'':<{LINK_WIDTH}}   {'  ' if number else '→ '}{line}"


def ok(link: str, seen: str, seconds: float | None = None) -> Finding:
    """Return that a link is fine."""
    return Finding(link=link, result=Result.OK, seen=seen, seconds=seconds)


def warning(link: str, seen: str, advice: str) -> Finding:
    """Return that a link works, but not well."""
    return Finding(link=link, result=Result.WARNING, seen=seen, advice=advice)


def broken(link: str, seen: str, advice: str = "") -> Finding:
    """Return that a link is broken."""
    return Finding(link=link, result=Result.BROKEN, seen=seen, advice=advice)


def not_tried(link: str, why: str) -> Finding:
    """Return that a link could not be looked at."""
    return Finding(link=link, result=Result.NOT_TRIED, seen=f"not tried: {why}")


def are_broken(findings: Iterable[Finding]) -> list[str]:
    """Return the names of the links that are broken."""
    return [finding.link for finding in findings if finding.result is Result.BROKEN]
