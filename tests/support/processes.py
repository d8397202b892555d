"""Processes and ports on this machine: what was started is found again and ended, by its own id."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from random import SystemRandom

import psutil


def family(pid: int) -> list[psutil.Process]:
    """Return a process, its descendants, and what is left of its session: children can outlive it."""
    found = {member.pid: member for member in _children(pid)}
    for process in psutil.process_iter():
        if process.pid not in found and _session(process.pid) == pid:
            found |= {member.pid: member for member in _children(process.pid)}
    return list(found.values())


def _children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return [member for member in family if member.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def end(processes: list[psutil.Process]) -> None:
    """End processes, by force where they do not go."""
    for process in processes:
        _signal(process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=15)
    kill(alive)


def kill(processes: list[psutil.Process]) -> None:
    """End processes as a power cut does: none of them hears of it."""
    for process in processes:
        _signal(process.kill)
    psutil.wait_procs(processes, timeout=5)


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return


def free_ports(count: int) -> list[int]:
    """Return ports of loopback on which nobody listens, all different.

    They are below those that the kernel gives to whoever asks for any port: it would give them to another server before
    a slow one listens.
    """
    with ExitStack() as stack:
        return [_listening(stack) for _ in range(count)]


def _listening(stack: ExitStack) -> int:
    while True:
        # The system's randomness, because Hypothesis seeds Python's: the same ports in several processes.
        port = SystemRandom().randrange(15_000, 32_768)
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return port
