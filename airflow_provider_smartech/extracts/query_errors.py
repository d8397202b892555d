"""What may be shown of a database's error.

While rows are read, any message may quote a contact: casts and functions put the value into it, whatever its SQLSTATE.
Before, while the database only connects or plans the query, it can speak of nothing but the query, its parameters and
the tables. So an error is hidden, unless it comes from a step that is marked by ``shown``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_smartech.errors import ContactsQueryFailed


class Shown(Exception):
    """Carries an error that may be shown, past whatever is closed on the way."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def shown(harmless: Callable[[Exception], bool] = lambda error: True) -> Iterator[None]:
    """Mark a step that reads no row. Of its errors, those that are not ``harmless`` are hidden all the same."""
    try:
        yield
    except Exception as error:
        if not harmless(error):
            raise
        raise Shown(error) from None


def with_hidden_errors(work: Callable[[], None]) -> None:
    """Do the work.

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
    """Whether PostgreSQL itself, or its driver, says this, and not a function that was run.

    The planner runs functions that call themselves immutable or stable, and these may read tables.
    """
    return not getattr(getattr(error, "diag", None), "context", None)


def _sqlstate(error: Exception) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
