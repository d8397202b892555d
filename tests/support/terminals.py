"""Terminals: shells that stay open, in which commands are typed and interrupted."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.processes import family, kill
from tests.support.servers import eventually

_PROMPT = "--- the commands have ended ---"


class Terminal:
    """A shell in a folder; the first command that fails closes it.

    :param folder: where it begins.
    :param log: a new file for what is printed in it.
    :param environment: its environment variables.
    """

    def __init__(self, folder: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._read = 0
        with log.open("wb") as output:
            self._shell = subprocess.Popen(
                ["bash", "-e"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    @property
    def output(self) -> str:
        """What was printed since commands were last typed."""
        return self._log.read_bytes()[self._read :].decode()

    def type(self, commands: str) -> None:
        """Type commands, and do not wait."""
        assert self._shell.stdin
        self._read = self._log.stat().st_size
        self._shell.stdin.write(commands)
        self._shell.stdin.flush()

    def run(self, commands: str) -> None:
        """Type commands, and wait until they have ended."""
        self.type(f"{commands}\necho '{_PROMPT}'\n")
        self.see(_PROMPT, 60)

    def see(self, text: str, seconds: float = 0) -> None:
        """Wait until these lines were printed, perhaps with others between them; ``…`` is any text in a line."""
        lines = (re.escape(" ".join(line.split())).replace("…", ".*") for line in text.splitlines())
        # The lines of a table are as wide as its cells.
        wanted = re.compile(r"[\s\S]*?".join(lines).replace(r"\ ", " +"))
        with suppress(AssertionError):
            eventually(lambda: bool(wanted.search(self.output)) or self._shell.poll() is not None, seconds)
        assert wanted.search(self.output), f"This is not in the terminal:\n{text}\nThis is:\n{self.output[-5000:]}"

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait until what is running has ended."""
        running = psutil.Process(self._shell.pid).children()
        for process in running:
            process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(running, timeout=30)
        assert alive == []

    def close(self) -> None:
        """End the shell and all that it has started, at once."""
        assert self._shell.stdin
        self._shell.stdin.close()
        # Again until none is left: what is starting may start more before it hears of its end.
        while alive := family(self._shell.pid):
            kill(alive)
        self._shell.wait()
