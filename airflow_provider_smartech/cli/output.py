"""How the commands print, ask and fail."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import yaml
from airflow.cli.simple_table import AirflowConsole
from rich.markup import escape

from airflow_provider_smartech.errors import SmartechError

Command = Callable[[argparse.Namespace], None]

# For a terminal that cannot show them.
_SIMPLE = str.maketrans({"✓": "+", "✗": "x", "→": ">", "…": "..."})


def errors_as_messages(command: Command) -> Command:
    """Make a command exit with only its error's message, and find the store's connection in Airflow's database."""

    @wraps(command)
    def run(args: argparse.Namespace) -> None:
        os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
        try:
            command(args)
        except SmartechError as error:
            raise SystemExit(str(error)) from error

    return run


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Send everything that is written to stdout to stderr, whoever holds the stream: Airflow's log goes there."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def agreed(question: str) -> bool:
    """Ask, and return whether the answer is yes."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        # There is no terminal to ask.
        return False


def print_rows(rows: list[dict[str, Any]], output: str) -> None:
    """Print rows so that they are safe for a terminal: texts may come from Smartech or from any user."""
    # Airflow would print all values as texts. Both formats escape everything that is not ASCII.
    if output == "json":
        print(json.dumps(rows))  # noqa: T201
    elif output == "yaml":
        print(yaml.safe_dump(rows, sort_keys=False), end="")  # noqa: T201
    else:
        plain = [{name: printable(value, output) for name, value in row.items()} for row in rows]
        AirflowConsole().print_as(plain, output)


def printable(value: Any, output: str) -> str:
    """Return a value as a text without control characters."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    # In a table, Airflow reads brackets as markup.
    return escape(shown) if output == "table" else shown


def print_text(text: str) -> None:
    """Print lines so that they are safe for a terminal, whatever it can show."""
    shown = "\n".join(printable(line, "plain") for line in text.splitlines())
    encoding = sys.stdout.encoding or "ascii"
    try:
        shown.encode(encoding)
    except UnicodeEncodeError:
        shown = shown.translate(_SIMPLE).encode(encoding, "replace").decode(encoding)
    print(shown, flush=True)  # noqa: T201
