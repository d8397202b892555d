"""What all methods to read a query have in common: they pass lines of CSV to a sink, one piece at a time."""

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
        """Return the query in a form that can be put in parentheses, as some methods do."""
        return cls(sql=f"{without_end(sql)}\n", parameters=parameters)

    def check_single(self) -> None:
        """Refuse several statements, for drivers that would run all of them and return the rows of one.

        :raises ContactsRefused: there are several.
        """
        if is_several(self.sql):
            raise ContactsRefused("the query", "it is more than one statement. Use one SELECT.")

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of a cursor's ``execute`` after the text."""
        return () if self.parameters is None else (self.parameters,)


class Sink(Protocol):
    """Receives the lines.

    ``begin`` takes the columns' names and returns the position of the primary key among them, None for no key. It
    raises an error if the columns are not valid, before any row is read.
    """

    def begin(self, names: Sequence[str]) -> int | None:
        """Set the columns."""

    @property
    def room(self) -> int | None:
        """How many more rows fit into the current file; None: any number. A piece must not have more."""

    def add(self, lines: bytes | bytearray | memoryview, rows: int) -> None:
        """Write complete lines."""

    def skip(self, rows: int) -> None:
        """Count rows that were left out because their primary key is NULL or blank."""


class Extract(Protocol):
    """One method to read a query."""

    def send(self, query: Query, sink: Sink) -> None:
        """Read the whole query and pass its rows to the sink.

        :raises ContactsRefused: the query's columns or values cannot be uploaded.
        """


def names_of(description: Sequence[Sequence[Any]] | None) -> list[str]:
    """Return the columns' names from a cursor's description.

    :raises ContactsRefused: the statement returns no rows.
    """
    if not description:
        raise ContactsRefused("the query", "it is a statement that returns no rows. Use a SELECT.")
    return [str(column[0]) for column in description]
