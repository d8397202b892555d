"""The sandbox's page: its uploads and its first contacts."""

from __future__ import annotations

from html import escape
from typing import Any

from airflow_provider_smartech.sandbox.state import State

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #8884; vertical-align: top; }
"""


def render(state: State) -> str:
    """Return the page as HTML; it does not show callback URLs or the queries of links."""
    uploads = state.uploads()
    columns = [
        "requestid",
        "submitted_at",
        "path",
        "listid",
        "state",
        "total",
        "accepted",
        "rejected",
        "reason",
        "pingbacks",
    ]
    contacts = state.contacts(20)
    attributes = list(dict.fromkeys(name for contact in contacts for name in contact))
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Smartech sandbox</title><style>{_STYLE}</style>"
        f"<h1>Smartech sandbox</h1><h2>Uploads: {len(uploads)}</h2>{_table(columns, uploads[:100])}"
        f"<h2>Contacts: {state.count()}</h2><p>The first {len(contacts)}:</p>{_table(attributes, contacts)}</html>"
    )


def _table(columns: list[str], rows: list[dict[str, Any]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in columns) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    shown = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
    return escape(shown)
