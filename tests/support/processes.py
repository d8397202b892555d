"""Processes and ports on this machine: what was started is found again and ended, by its own id."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

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
    """Return ports of loopback on which nobody listens, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(listener.getsockname()[1]) for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
