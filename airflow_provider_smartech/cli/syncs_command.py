"""What the command ``syncs`` does."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_smartech.cli.output import (
    agreed,
    errors_as_messages,
    log_on_stderr,
    print_rows,
    print_text,
    printable,
)
from airflow_provider_smartech.config.upload_store import configured_upload_store
from airflow_provider_smartech.uploads.store import UploadStore
from airflow_provider_smartech.uploads.syncs import SyncState


@errors_as_messages
def syncs(args: argparse.Namespace) -> None:
    """List the syncs, or reset one."""
    with log_on_stderr():
        store = configured_upload_store()
        found = _recorded(store)
    if not args.reset:
        fields = _fields if args.output in ("json", "yaml") else _row
        print_rows([fields(state) for state in found], args.output)
    elif not args.name:
        raise SystemExit(f"Name the sync to reset. {_known(found)}")
    else:
        _reset(store, args.name, found, asks=not args.yes)


def _recorded(store: UploadStore) -> list[SyncState]:
    """Return the syncs with a run, by name."""
    # One without has only what its first run has left that died, or is about to send.
    found = [state for state in store.syncs.all() if state.runs or state.damaged]
    return sorted(found, key=lambda state: state.sync or "")


def _reset(store: UploadStore, name: str, found: list[SyncState], *, asks: bool) -> None:
    shown = printable(name, "plain")
    with log_on_stderr():
        is_known = store.syncs.state(name).is_recorded
    if not is_known:
        raise SystemExit(f"No sync '{shown}' is recorded in {store.shown_url}. {_known(found)}")
    if asks and not agreed(f"Forget what the sync {shown} has uploaded? Its next run uploads all rows. (y/N) "):
        raise SystemExit("Nothing was reset.")
    with log_on_stderr():
        store.syncs.forget(name)
    print_text(f"The sync {shown} was reset. Its next run uploads all rows.")


def _known(found: list[SyncState]) -> str:
    names = [printable(state.sync, "plain") for state in found if state.sync]
    return f"Recorded are: {', '.join(names)}." if names else "None is recorded."


def _fields(state: SyncState) -> dict[str, Any]:
    base = state.base
    return {
        "name": state.sync,
        "state": state.standing.value,
        "listid": base.subject.listid if base else None,
        "rows": base.changes.rows if base else None,
        "sent": base.sent if base else None,
        "base_at": base.at.isoformat() if base else None,
        "age_seconds": round((datetime.now(UTC) - base.at).total_seconds(), 1) if base else None,
        "full_at": base.full_at.isoformat() if base else None,
        "open_runs": len(state.unsettled()) if base else None,
    }


def _row(state: SyncState) -> dict[str, Any]:
    base = state.base
    shown = {
        "base_at": _moment(base.at) if base else None,
        "age_seconds": _age(datetime.now(UTC) - base.at) if base else None,
        "full_at": _moment(base.full_at) if base else None,
    }
    return {name.removesuffix("_seconds"): value for name, value in (_fields(state) | shown).items()}


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _age(age: timedelta) -> str:
    """Return an age as ``purge`` takes it: ``5h``, ``12d``."""
    hours = max(0, age // timedelta(hours=1))
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"
