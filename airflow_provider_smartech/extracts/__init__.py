"""Reading a query as CSV, with flat memory, by the fastest way that its driver has.

=================== ======================================================
``extract``         what all ways have in common
``postgres``        the server's own ``COPY (query) TO STDOUT``
``arrow``           Arrow's record batches
``arrow_drivers``   the drivers that give them
``rows``            ``fetchmany``, with any DB-API driver
``texts``           the text of each value, the same for all of them
=================== ======================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from airflow_provider_smartech.extracts.arrow_drivers import arrow_call
from airflow_provider_smartech.extracts.extract import Extract
from airflow_provider_smartech.extracts.postgres import CopyExtract
from airflow_provider_smartech.extracts.rows import RowsExtract

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


@contextmanager
def extract_of(hook: DbApiHook) -> Iterator[Extract]:
    """Connect, and give the fastest way to read a query that the hook's driver has."""
    with closing(hook.get_conn()) as connection:
        if CopyExtract.suits(connection):
            yield CopyExtract(connection)
        elif call := arrow_call(hook, connection):
            # Imported late: pyarrow is there only where a driver brings it.
            from airflow_provider_smartech.extracts.arrow import ArrowExtract

            yield ArrowExtract(call)
        else:
            yield RowsExtract(connection)
