"""Reads a query as CSV, with constant memory, by the fastest method of its driver.

================= ======================================================
``base``          what all methods have in common
``postgres``      the server's own ``COPY (query) TO STDOUT``
``arrow``         Arrow record batches
``arrow_drivers`` the drivers that return them
``dbapi``         ``fetchmany``, with any DB-API driver
``csv_format``    the text of each value, the same for all methods
``statements``    where an SQL statement ends
``query_errors``  which database errors may be shown
================= ======================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from airflow_provider_smartech.extracts.arrow_drivers import arrow_call
from airflow_provider_smartech.extracts.base import Extract, Query, Sink
from airflow_provider_smartech.extracts.dbapi import DbApiExtract
from airflow_provider_smartech.extracts.postgres import CopyExtract
from airflow_provider_smartech.extracts.query_errors import shown, with_hidden_errors

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


def send(hook: DbApiHook, query: Query, sink: Sink) -> None:
    """Read a query by the fastest method of the hook's driver, and pass its rows to the sink.

    Errors while connecting or planning the query are the driver's own.

    :raises ContactsRefused: the query's columns or values cannot be uploaded.
    :raises ContactsQueryFailed: any other error, as its text may quote a row.
    """

    def read() -> None:
        with extract_of(hook) as extract:
            extract.send(query, sink)

    with_hidden_errors(read)


@contextmanager
def extract_of(hook: DbApiHook) -> Iterator[Extract]:
    """Connect, and yield the fastest method of the hook's driver to read a query."""
    with shown():
        connection = hook.get_conn()
    with closing(connection):
        if CopyExtract.suits(connection):
            yield CopyExtract(connection)
        elif call := arrow_call(hook, connection):
            # Imported late: pyarrow is installed only with some drivers.
            from airflow_provider_smartech.extracts.arrow import ArrowExtract

            yield ArrowExtract(call)
        else:
            yield DbApiExtract(connection)
