"""A Docker daemon, by the commands that people use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

SHOWN_LINES = 60
LONGEST_SECONDS = 900.0


class DockerError(Exception):
    """A command failed, or something is missing; the text says what."""


def run(
    *command: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    seconds: float = LONGEST_SECONDS,
) -> str:
    """Run a command and return what it wrote.

    :raises DockerError: it failed, and the text has the end of its output; or it was not done in time.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise DockerError(f"{' '.join(map(str, command))}: not done after {seconds:.0f} s") from None
    if done.returncode:
        lines = f"{done.stdout}\n{done.stderr}".splitlines()[-SHOWN_LINES:]
        raise DockerError("\n".join([f"{' '.join(map(str, command))} failed ({done.returncode}):", *lines]))
    return done.stdout


class Docker:
    """A Docker daemon.

    :param host: the address of one of our own, which is removed with all that it has; by default, the one that the
        ``docker`` command finds is used.
    """

    def __init__(self, host: str | None = None) -> None:
        self.is_ours = host is not None
        self._environment = {"DOCKER_HOST": host} if host else {}

    def run(self, *words: str | Path) -> str:
        """Run a ``docker`` command and return its output."""
        return run("docker", *words, environment=self._environment)

    def compose(self, *words: str, folder: Path, seconds: float = LONGEST_SECONDS) -> str:
        """Run a command of Compose in a folder; Debian has it only as ``docker-compose``."""
        command = ["docker", "compose"] if self._succeeds("compose", "version") else ["docker-compose"]
        return run(*command, *words, folder=folder, environment=self._environment, seconds=seconds)

    def answers(self) -> bool:
        """Whether the daemon does."""
        return self._succeeds("version")

    def has(self, image: str) -> bool:
        """Whether the daemon has an image."""
        return self._succeeds("image", "inspect", image)

    def _succeeds(self, *words: str) -> bool:
        try:
            self.run(*words)
        except (DockerError, FileNotFoundError):
            return False
        return True
