"""A Docker daemon: the one that answers, or one of our own that leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from containers.client import Docker, DockerError
from containers.machine import cache, network_kept, remove, remove_cgroups
from containers.progress import say, step

START_SECONDS = 60.0
END_SECONDS = 120.0


@contextmanager
def running_docker() -> Iterator[Docker]:
    """A Docker daemon that answers; it is started, and ended again, if there is none."""
    with _only_one() as lock:
        found = Docker()
        if found.answers():
            say("using the Docker daemon that answers")
            yield found
        else:
            with _own_docker(lock) as docker:
                yield docker


@contextmanager
def _own_docker(lock: int) -> Iterator[Docker]:
    if os.geteuid() != 0:
        raise DockerError("no Docker daemon answers, and only root can start one")
    folder = cache() / "daemon"
    # What a run that was killed has left.
    remove(folder)
    folder.mkdir()
    with network_kept():
        daemon = _start(folder, lock)
        try:
            docker = Docker(f"unix://{folder}/socket")
            with step("starting a Docker daemon"):
                _wait(docker, daemon, folder / "log")
            yield docker
        finally:
            with step("ending the Docker daemon"):
                _end(daemon)
            with step("removing its files"):
                remove(folder)
                remove_cgroups()


@contextmanager
def _only_one() -> Iterator[int]:
    """Hold a lock: two daemons would take the same networks, and two runs the same names of images."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting until another run of these tests has ended")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _start(folder: Path, lock: int) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [
                # The daemon must not outlive this process, even if it is killed.
                *("setpriv", "--pdeathsig=TERM", "dockerd"),
                *("--data-root", folder / "data"),
                *("--exec-root", folder / "exec"),
                *("--pidfile", folder / "pid"),
                *("--host", f"unix://{folder}/socket"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for this process: the daemon is needed to stop the containers.
            start_new_session=True,
            # The daemon keeps the lock until it has ended.
            pass_fds=[lock],
        )


def _wait(docker: Docker, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not docker.answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise DockerError(f"the Docker daemon does not answer:\n{log.read_text('utf-8', 'replace')[-3000:]}")
        time.sleep(0.1)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
