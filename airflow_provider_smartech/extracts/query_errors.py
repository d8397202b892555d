"""Which database errors may be shown.

While rows are read, any message may quote a contact: casts and functions put the value into it, with any SQLSTATE.
Before that, while the database only connects or plans the query, a message can only be about the query, its parameters
and the tables. So an error is hidden, unless it comes from a step that is marked by ``shown``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_smartech.errors import ContactsQueryFailed


class Shown(Exception):
    """Wraps an error that may be shown, until all resources are closed."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def shown(harmless: Callable[[Exception], bool] = lambda error: True) -> Iterator[None]:
    """Mark a step that reads no row. Its errors are shown, except those that are not ``harmless``."""
    try:
        yield
    except Exception as error:
        if not harmless(error):
            raise
        raise Shown(error) from None


def with_hidden_errors(work: Callable[[], None]) -> None:
    """Run ``work``, and hide its errors.

    :raises ContactsQueryFailed: instead of any error that is neither marked as ``shown`` nor the provider's own.
    """
    try:
        work()
        return
    except Shown as marked:
        failure = marked.error
    except AirflowException:
        raise
    except Exception as error:  # noqa: BLE001
        failure = ContactsQueryFailed(type(error).__name__, _sqlstate(error))
    # Outside the handlers: the driver's exception must not be chained.
    raise failure


def outside_functions(error: Exception) -> bool:
    """Whether the error comes from PostgreSQL itself, or its driver, and not from a function that was run.

    The planner runs functions that are declared immutable or stable, and these may read tables.
    """
    return not getattr(getattr(error, "diag", None), "context", None)


def _sqlstate(error: Exception) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
