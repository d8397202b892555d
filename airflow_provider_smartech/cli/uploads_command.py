"""What the commands ``uploads``, ``show`` and ``purge`` do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_provider_smartech.cli.output import agreed, errors_as_messages, log_on_stderr, print_rows, print_text
from airflow_provider_smartech.config.settings import Settings
from airflow_provider_smartech.config.upload_store import configured_upload_store
from airflow_provider_smartech.uploads.listing import Filter, Listing
from airflow_provider_smartech.uploads.overview import Event, Overview, events

NOT_IN_TABLES = {"idc", "contradicted", "ended_at", "run_id", "map_index", "try_number"}
"""The fields that a table has no room for."""


@errors_as_messages
def uploads(args: argparse.Namespace) -> None:
    """List uploads, the newest first."""
    wanted = Filter(states=frozenset(args.state or ()), listid=args.listid, dag_id=args.dag_id)
    with log_on_stderr():
        found = Listing(configured_upload_store(), Settings.load().statuses).page(wanted, args.limit).uploads
    in_full = args.output in ("json", "yaml")
    print_rows([_fields(upload) for upload in found] if in_full else _columns(found), args.output)


@errors_as_messages
def show(args: argparse.Namespace) -> None:
    """Show the details of one upload."""
    with log_on_stderr():
        statuses = Settings.load().statuses
        upload = configured_upload_store().find(args.requestid)
    shown = _fields(Overview.of(upload, statuses)) | {"path": upload.record.path}
    found = events(upload, statuses)
    happened, advice = [_event(event) for event in found], [_advice(event) for event in found]
    if args.output in ("json", "yaml"):
        told = [{**event, "advice": text or None} for event, text in zip(happened, advice, strict=True)]
        print_rows([{**shown, "events": told}], args.output)
    else:
        print_rows([{"field": name, "value": value} for name, value in _in_tables(shown).items()], args.output)
        print_rows(happened, args.output)
        # Below the table: a line of configuration must stay one line.
        for text in dict.fromkeys(filter(None, advice)):
            print_text(text)


@errors_as_messages
def purge(args: argparse.Namespace) -> None:
    """Remove old uploads from the upload store."""
    store, before = configured_upload_store(), datetime.now(UTC) - args.older_than
    number = sum(1 for _ in store.keys(f"{before:%Y%m%dT%H%M%S}"))
    what = f"{number:,} upload(s) recorded before {before:%Y-%m-%d %H:%M} UTC in {store.shown_url}"
    if args.dry_run:
        print(f"Would remove {what}.")  # noqa: T201
    elif args.yes or agreed(f"Remove {what}? (y/N) "):
        print(f"Removed {store.purge(before):,} upload(s).")  # noqa: T201
    else:
        raise SystemExit("Nothing was removed.")


def _fields(upload: Overview) -> dict[str, Any]:
    task = upload.task
    return {
        "requestid": upload.requestid,
        "key": upload.key,
        "state": upload.state,
        "idc": upload.idc,
        "account": upload.account,
        "smartech_conn_id": upload.smartech_conn_id,
        "listid": upload.listid,
        "file": upload.file,
        "rows": upload.rows,
        "of_rows": upload.of_rows,
        "accepted": upload.accepted,
        "rejected": upload.rejected,
        "contradicted": upload.contradicted,
        "submitted_at": upload.submitted_at.isoformat(),
        "ended_at": upload.ended_at.isoformat() if upload.ended_at else None,
        "seconds": round(upload.seconds, 1) if upload.seconds is not None else None,
        "dag_id": task.dag_id if task else None,
        "run_id": task.run_id if task else None,
        "task_id": task.task_id if task else None,
        "map_index": task.map_index if task else None,
        "try_number": task.try_number if task else None,
    }


def _columns(uploads: Sequence[Overview]) -> list[dict[str, Any]]:
    """Return the rows of a table; it has the keys of uploads without a requestid, if there are any."""
    rows = [_row(upload) for upload in uploads]
    unneeded = set() if any(row["key"] for row in rows) else {"key"}
    return [{name: value for name, value in row.items() if name not in unneeded} for row in rows]


def _row(upload: Overview) -> dict[str, Any]:
    state = " ".join([upload.state, *(f"({remark})" for remark in upload.remarks)])
    shown = {
        "key": None if upload.requestid else upload.key,
        "state": state,
        "submitted_at": f"{upload.submitted_at:%Y-%m-%d %H:%M:%S}",
    }
    fields = _in_tables(_fields(upload))
    return {name: shown.get(name, value) for name, value in fields.items() if name not in NOT_IN_TABLES}


def _in_tables(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with both numbers of rows in one, if only those were sent that have changed."""
    rows, of_rows = fields["rows"], fields["of_rows"]
    shown = rows if of_rows is None else f"{rows:,} of {of_rows:,}"
    return {name: shown if name == "rows" else value for name, value in fields.items() if name != "of_rows"}


def _event(event: Event) -> dict[str, Any]:
    return {
        "at": event.at.isoformat(),
        "what": event.what,
        "payload": event.payload,
        "read": event.reading and event.reading.text,
    }


def _advice(event: Event) -> str:
    return event.reading.advice if event.reading else ""
