"""What every way to read a query has in common: it gives lines of CSV to a sink, a piece at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_smartech.errors import ContactsRefused
from airflow_provider_smartech.extracts.statements import is_several, without_end


@dataclass(frozen=True, kw_only=True)
class Query:
    """One SELECT. ``parameters`` are bound by the driver; None: the text has no placeholders."""

    sql: str
    parameters: Sequence[Any] | dict[str, Any] | None = None

    @classmethod
    def of(cls, sql: str, parameters: Sequence[Any] | dict[str, Any] | None = None) -> Query:
        """Return the query in a form that can be put between parentheses, as some drivers do it."""
        return cls(sql=f"{without_end(sql)}\n", parameters=parameters)

    def check_single(self) -> None:
        """Refuse several statements, for drivers that would run them all and give the rows of one.

        :raises ContactsRefused: there are several.
        """
        if is_several(self.sql):
            raise ContactsRefused("the query", "it is more than one statement. Give one SELECT.")

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What a cursor's ``execute`` takes after the text."""
        return () if self.parameters is None else (self.parameters,)


class Sink(Protocol):
    """Where the lines go.

    ``begin`` takes the columns' names and returns the position of the primary key among them, None for no key. It
    raises where the columns are not wanted, before a row is read.
    """

    def begin(self, names: Sequence[str]) -> int | None:
        """Learn the columns."""

    @property
    def room(self) -> int | None:
        """How many rows the current file still takes; None: any number. A piece must not hold more."""

    def add(self, lines: bytes | bytearray | memoryview, rows: int) -> None:
        """Take whole lines."""

    def skip(self, rows: int) -> None:
        """Learn of rows that were left out, because their primary key is NULL or blank."""


class Extract(Protocol):
    """One way to read a query."""

    def send(self, query: Query, sink: Sink) -> None:
        """Read the whole query and give its rows to the sink.

        :raises ContactsRefused: the query's columns or values cannot be uploaded.
        """


def names_of(description: Sequence[Sequence[Any]] | None) -> list[str]:
    """Return the columns' names from a cursor's description.

    :raises ContactsRefused: the statement gives no rows.
    """
    if not description:
        raise ContactsRefused("the query", "it is a statement that gives no rows. Give a SELECT.")
    return [str(column[0]) for column in description]
