"""A Docker daemon, by the commands that people use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

SHOWN_LINES = 60


class DockerError(Exception):
    """A command failed, or something is missing; the text says what."""


def run(
    *command: str | Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> str:
    """Run a command and return what it wrote.

    :raises DockerError: it failed; the text has the end of its output.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = f"{done.stdout}\n{done.stderr}".splitlines()[-SHOWN_LINES:]
        raise DockerError("\n".join([f"{' '.join(map(str, command))} failed ({done.returncode}):", *lines]))
    return done.stdout


class Docker:
    """A Docker daemon.

    :param host: its address; by default that of the ``docker`` command.
    """

    def __init__(self, host: str | None = None) -> None:
        self._environment = {"DOCKER_HOST": host} if host else {}

    def run(self, *words: str | Path) -> str:
        """Run a ``docker`` command and return its output."""
        return run("docker", *words, environment=self._environment)

    def compose(self, *words: str, folder: Path) -> str:
        """Run a command of Compose in a folder; Debian has it only as ``docker-compose``."""
        command = ["docker", "compose"] if self._succeeds("compose", "version") else ["docker-compose"]
        return run(*command, *words, folder=folder, environment=self._environment)

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
