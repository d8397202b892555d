"""A query whose rows are written to S3 as CSV files."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException, AirflowSkipException
from airflow.sdk import BaseHook

from airflow_provider_smartech.errors import ContactsEmpty, ContactsWithoutKey, SmartechConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_smartech.changes.comparison import Comparison
    from airflow_provider_smartech.changes.hashing import Hashes
    from airflow_provider_smartech.extracts.base import Sink
    from airflow_provider_smartech.staging.area import StagingArea
    from airflow_provider_smartech.uploads.staged_files import StagedFiles
    from airflow_provider_smartech.uploads.syncs import Changes

log = logging.getLogger(__name__)

OnMissingKey = Literal["fail", "skip"]
OnEmpty = Literal["skip", "fail", "submit"]


@dataclass(frozen=True, kw_only=True)
class StagedQuery:
    """One SELECT, and how its rows are written to files; ``SqlToSmartechOperator`` describes the fields.

    ``variant`` tells it from the same query whose rows are chosen otherwise.

    :raises ValueError: a field has an invalid value.
    """

    sql: str
    conn_id: str
    parameters: Sequence[Any] | dict[str, Any] | None
    hook_params: dict[str, Any] | None
    columns: dict[str, str] | None
    primary_key: str | None
    on_missing_key: OnMissingKey
    on_empty: OnEmpty
    max_rows_per_file: int | None
    upload_args: dict[str, Any] | None
    variant: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        one_of("on_missing_key", self.on_missing_key, OnMissingKey)
        one_of("on_empty", self.on_empty, OnEmpty)
        most = self.max_rows_per_file
        if most is not None and (not isinstance(most, int) or most < 1):
            raise ValueError(f"max_rows_per_file must be an integer of 1 or more, or None for one file; got {most!r}")
        if self.columns is not None and not isinstance(self.columns, dict):
            raise ValueError(f"columns must be a dict of old and new names; got {self.columns!r}")
        per_part = [name for name in self.upload_args or {} if name.startswith(("Checksum", "SSECustomer"))]
        if per_part:
            raise ValueError(f"upload_args: {per_part[0]} is needed with each part or fetch of a file; leave it out")

    def fingerprint(self, bucket: str, prefix: str) -> str:
        """Return a hash that identifies the query and its files."""
        parts: list[Any] = [self.sql, self.conn_id, bucket, prefix, self.columns, self.parameters]
        parts += [self.primary_key, self.on_missing_key, self.on_empty, self.max_rows_per_file]
        parts += [self.variant] if self.variant else []
        return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:40]

    def database(self) -> DbApiHook:
        """Return the hook of the database.

        :raises SmartechConfigurationError: the connection is not for a database, or its provider is missing.
        """
        try:
            connection = BaseHook.get_connection(self.conn_id)
        except AirflowNotFoundException as error:
            raise SmartechConfigurationError(
                f"There is no connection {self.conn_id!r}, which conn_id names. Create one of your database's type."
            ) from error
        try:
            hook = connection.get_hook(hook_params=self.hook_params)  # type: ignore[no-untyped-call]
        except (AirflowException, AttributeError, ImportError) as error:
            # What Airflow raises for a type without a hook; for its own types without one, it is an AttributeError.
            package = _provider_of(connection.conn_type or "")
            correct = "or correct the type of the connection"
            if connection.conn_type == "generic":
                correct = (
                    "and set the connection's type: Airflow stores 'generic' if the provider is missing when the "
                    "connection is made"
                )
            raise SmartechConfigurationError(
                f"Airflow has no database hook for connection {self.conn_id!r}, which has the type "
                f"{connection.conn_type!r} ({type(error).__name__}). Install {package} "
                f"wherever Airflow runs and restart Airflow's components, {correct}."
            ) from (error if isinstance(error, ImportError) else None)
        # Imported late, as below: DAG files are parsed every few seconds, and their tasks run once a night.
        from airflow.providers.common.sql.hooks.sql import DbApiHook

        if not isinstance(hook, DbApiHook):
            raise SmartechConfigurationError(
                f"Connection {self.conn_id!r} has the type {connection.conn_type!r}, which is not a database that "
                "Airflow's DbApiHook supports. Set conn_id to the connection of a database."
            )
        return hook

    def area(self, client: Any, bucket: str, folder: str) -> StagingArea:
        """Return the staging area for its files."""
        from airflow_provider_smartech.staging.area import StagingArea

        return StagingArea(
            client,
            bucket,
            folder,
            columns=self.columns or {},
            primary_key=self.primary_key,
            rows_per_file=self.max_rows_per_file,
            arguments=self.upload_args or {},
        )

    def stream(self, area: StagingArea) -> StagedFiles:
        """Write the rows to files, and return the files.

        :raises ContactsRefused: the query's columns or values cannot be uploaded.
        :raises ContactsWithoutKey: rows have no primary key, and ``on_missing_key`` is ``fail``.
        :raises ContactsEmpty: there are no rows, and ``on_empty`` is ``fail``.
        :raises ContactsQueryFailed: the database aborted the query while rows were read.
        :raises ContactsStorageError: S3 did not accept the files.
        """
        self._send(area)
        self._judge(area.rows, area.missing_keys)
        if not area.rows:
            area.add_header_alone()
        return self._completed(area)

    def stream_changes(
        self, area: StagingArea, comparison: Comparison, write: Callable[[Hashes, Hashes], None]
    ) -> StagedFiles:
        """Write the rows that have changed to files, and return the files.

        :param write: stores the hashes of all rows, block by block.
        :raises ContactsKeyRepeated: rows have the same primary key, and that is not allowed.
        :raises SmartechError: as ``stream`` raises.
        """
        changes = self.compare(area, comparison, write)
        return self._completed(area, changes)

    def compare(self, area: StagingArea, comparison: Comparison, write: Callable[[Hashes, Hashes], None]) -> Changes:
        """Return how many rows have changed; what ``comparison`` passes on is in the area, which is not complete yet.

        :raises SmartechError: as ``stream_changes`` raises.
        """
        self._send(comparison)
        comparison.flush()
        self._judge(comparison.rows, area.missing_keys)
        return comparison.finish(write)

    def _send(self, sink: Sink) -> None:
        from airflow_provider_smartech.extracts import send
        from airflow_provider_smartech.extracts.base import Query

        send(self.database(), Query.of(self.sql, self.parameters), sink)

    def _completed(self, area: StagingArea, changes: Changes | None = None) -> StagedFiles:
        from airflow_provider_smartech.uploads.staged_files import StagedFiles

        area.complete()
        return StagedFiles(files=tuple(area.files), missing_keys=area.missing_keys, changes=changes)

    def _judge(self, rows: int, missing_keys: int) -> None:
        if missing_keys and self.on_missing_key == "fail":
            raise ContactsWithoutKey("the query", str(self.primary_key), missing_keys, rows + missing_keys)
        if missing_keys:
            log.warning(
                "%s of %s rows have no %s and are left out.", missing_keys, rows + missing_keys, self.primary_key
            )
        if not rows and self.on_empty == "fail":
            raise ContactsEmpty("the query")
        if not rows and self.on_empty == "skip":
            raise AirflowSkipException("There are no contacts to upload.")


def _provider_of(conn_type: str) -> str:
    """Return the package of a connection type, as far as Airflow's own list of providers shows it."""
    listed = {re.split(r"[^\w-]", requirement)[0] for requirement in requires("apache-airflow") or ()}
    providers = {name for name in listed if name.startswith("apache-airflow-providers-")}
    ending = f"-{conn_type.replace('_', '-')}"
    found = [name for name in providers if name.endswith(ending)]
    return found[0] if len(found) == 1 else "the provider package of that database"


def one_of(name: str, value: object, choices: Any) -> None:
    """Check that a parameter has one of the values of a ``Literal``.

    :raises ValueError: it does not.
    """
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(choices)))}; got {value!r}")
