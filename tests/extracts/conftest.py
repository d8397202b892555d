"""Each way to read PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_smartech.extracts.base import Extract
from tests.support.extracts import WAYS, connection_of
from tests.support.postgres import PostgresServer


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Callable[[], Extract]]:
    """Each way to read PostgreSQL, its connections closed at the end."""
    extracts: list[Any] = []

    def make() -> Extract:
        extracts.append(request.param(postgres.uri))
        return extracts[-1]  # type: ignore[no-any-return]

    yield make
    for extract in extracts:
        connection_of(extract).close()
