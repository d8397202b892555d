"""A StatsD server on a free port, and Airflow's own metrics sent to it."""

from __future__ import annotations

import inspect
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple, Self

import pytest

from airflow_provider_smartech.airflow_compat import stats


class Line(NamedTuple):
    """One metric as it came, such as ``airflow.smartech.rows.sent,idc=us:3|c``."""

    name: str
    tags: dict[str, str]
    value: float
    kind: str


class StatsdServer:
    """Keeps the metrics of this provider that come while it runs."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._receive, name="statsd")

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables that make Airflow send its metrics here."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
        }

    def names(self) -> set[str]:
        return {line.name for line in self.lines}

    def values(self, name: str) -> list[float]:
        return [line.value for line in self.lines if line.name == name]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while said := self._socket.recv(65536).decode():
            for text in said.splitlines():
                if form := re.fullmatch(r"airflow\.(smartech\.[^,:]+)((?:,[^:]*)?):([-+.\d]+)\|(\w+)", text):
                    tags = dict(tag.split("=", 1) for tag in form[2].split(",")[1:])
                    self.lines.append(Line(form[1], tags, float(form[3]), form[4]))


@contextmanager
def statsd(**settings: str) -> Iterator[StatsdServer]:
    """Run such a server, and send this process's metrics there, as Airflow's processes do when they start."""
    # Before the settings: some versions read them when this is imported, and keep a client open.
    stats()
    made: list[Any] = []

    def factory() -> Any:
        made.append(_logger())
        return made[-1]

    with StatsdServer() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in {**server.settings, **settings}.items():
            patch.setenv(name, value)
        _initialize(factory, patch)
        yield server
        _initialize(None, patch)
        for logger in made:
            logger.statsd.close()


def _logger() -> Any:
    """Return Airflow's client, as ``[metrics]`` says."""
    try:
        module = import_module("airflow.sdk.observability.metrics.statsd_logger")
    except ModuleNotFoundError:
        module = import_module("airflow.metrics.statsd_logger")  # Airflow 3.1
    # Airflow 3.1 gives it a class, which it does not use.
    return module.get_statsd_logger(*inspect.signature(module.get_statsd_logger).parameters)


def _initialize(factory: Callable[[], Any] | None, patch: pytest.MonkeyPatch) -> None:
    """Let ``Stats`` send metrics with what the factory makes, or nowhere."""
    shared = stats()
    try:
        from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    except ModuleNotFoundError:
        # Airflow 3.1, which reads its settings only once.
        patch.setattr(shared, "instance", None)
        if factory:
            patch.setattr(type(shared), "factory", staticmethod(factory))
        else:
            patch.undo()
        return
    # Airflow 3.3 has another argument.
    more = inspect.signature(shared.initialize).parameters.keys() - {"factory"}
    shared.initialize(factory=factory or NoStatsLogger, **dict.fromkeys(more, True))
