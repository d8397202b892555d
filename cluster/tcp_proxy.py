"""A port that forwards to another port until it is shut: a network that can fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SECONDS = 10.0


class TcpProxy:
    """Listens on a free port of loopback, ``port``, and forwards to another port; a context manager."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self._target = 0
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._thread: threading.Thread | None = None

    def lead_to(self, port: int) -> None:
        """Set the target port."""
        self._target = port

    def open(self) -> None:
        """Let connections through."""
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self._thread = threading.Thread(target=self._serve, args=(self._listener,), name="proxy")
        self._thread.start()

    def shut(self) -> None:
        """Cut every connection, and refuse new ones."""
        if self._thread:
            # Wakes the thread that accepts.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._thread = None
        self._listener.close()
        for pair in list(self._pairs):
            _cut(*pair)

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Shut it, and open it again afterwards."""
        self.shut()
        try:
            yield
        finally:
            self.open()

    def __enter__(self) -> TcpProxy:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.shut()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), SECONDS)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = (client, server)
            self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._carry, args=(source, sink, pair), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        # A half-closed connection is useless for HTTP.
        _cut(*pair)
        self._pairs.discard(pair)


def _cut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
