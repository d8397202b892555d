"""How the pages look: their templates, their style, and the format of values."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_smartech.api.data_centres import DATA_CENTRES
from airflow_provider_smartech.uploads.days import Day
from airflow_provider_smartech.uploads.overview import (
    ADVICE,
    ATTENTION,
    ATTENTION_MEANING,
    MEANINGS,
    WAITING,
    WAITING_MEANING,
)
from airflow_provider_smartech.uploads.upload import TaskTry
from airflow_provider_smartech.uploads_page.chart import GROUPS, NOT_READ, stack, told

# The chart is an image and, once it is in a page, a part of the page: both need its style.
_TEMPLATES = files(__package__).joinpath("templates")
STYLE = "".join(_TEMPLATES.joinpath(name).read_text("utf-8") for name in ("style.css", "chart.css"))


def duration(seconds: float | None) -> str:
    """Format a duration for users: ``41 s``, ``12 min``, ``3 h 20 min``, ``5 d``."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{round(hours / 24)} d"


def moment(at: datetime) -> str:
    """Format a time in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def machine(at: datetime) -> str:
    """Format a time for the page's script, which shows it in the reader's time zone."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def number(rows: int | None) -> str:
    """Format a number of rows; empty if it is not known."""
    return "" if rows is None else f"{rows:,}"


def group_class(group: str) -> str:
    """Return the class of a group's segments and of its place in the legend."""
    return f"bar-{group.partition(' ')[0]}"


def pretty(payload: Any) -> str:
    """Format a JSON value with line breaks."""
    return payload if isinstance(payload, str) else json.dumps(payload, indent=2, ensure_ascii=False)


def task_url(task: TaskTry) -> str:
    """Return the address of a task instance in Airflow's UI, relative to the uploads page."""
    dag_id, run_id, task_id = (quote(part, safe="") for part in (task.dag_id, task.run_id, task.task_id))
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    return f"../dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}"


_templates = Environment(
    loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.filters |= {"duration": duration, "moment": moment, "number": number, "pretty": pretty, "task_url": task_url}
_templates.filters |= {"machine": machine, "group_class": group_class, "told": told}
_templates.globals |= {"data_centres": DATA_CENTRES, "meanings": MEANINGS, "advice": ADVICE}
_templates.globals |= {"attention": ATTENTION, "attention_meaning": ATTENTION_MEANING}
_templates.globals |= {"waiting": WAITING, "waiting_meaning": WAITING_MEANING}
_templates.globals |= {"groups": list(GROUPS), "not_read": NOT_READ, "stack": stack}
# A browser that has the style of an earlier version must not use it for these pages.
_templates.globals["style_digest"] = hashlib.sha256(STYLE.encode()).hexdigest()[:12]


def render(template: str, status: int = 200, base: str = "", **values: Any) -> Response:
    """Return a page; every value in it is escaped, and only the page's own script runs.

    ``base`` is the relative address of the list; links are relative, so that they work behind any proxy and path
    prefix.
    """
    nonce = secrets.token_urlsafe(16)
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        f"base-uri 'none'; frame-ancestors 'self'; script-src 'nonce-{nonce}'"
    )
    return HTMLResponse(
        _templates.get_template(template).render(nonce=nonce, base=base, **values),
        status,
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": policy,
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        },
    )


def render_chart(days: Sequence[Day], width: int) -> Response:
    """Return the chart as an SVG image, so many pixels wide."""
    most = max((day.uploads for day in days), default=0)
    longest = max((day.seconds for day in days if day.seconds), default=0.0)
    unread = any(day.uploads > sum(day.states.values()) for day in days)
    svg = _templates.get_template("chart.svg").render(days=days, most=most, longest=longest, unread=unread, width=width)
    return Response(
        svg,
        media_type="image/svg+xml",
        headers={
            "Cache-Control": "private, max-age=60",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
        },
    )


def see_other(url: str) -> Response:
    """Return a redirect to another address."""
    return RedirectResponse(url, 303)


def base_of(request: Request) -> str:
    """Return the address of the list, relative to the requested address."""
    path: str = request.scope["path"].removeprefix(request.scope["root_path"])
    return "../" * (path.count("/") - 1)
