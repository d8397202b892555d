"""The commands of the group ``airflow smartech`` and their arguments."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Sequence
from datetime import timedelta

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_YES,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
    positive_int,
)

from airflow_provider_smartech.uploads.listing import states_of
from airflow_provider_smartech.uploads.overview import ATTENTION, ATTENTION_MEANING, MEANINGS, WAITING, WAITING_MEANING
from airflow_provider_smartech.uploads.syncs import STANDINGS

SHORTEST_AGE = timedelta(days=1)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_COMMANDS = "airflow_provider_smartech.cli.uploads_command"


def age(text: str) -> timedelta:
    """Return an age such as ``30d``, ``4w`` or ``36h``.

    :raises argparse.ArgumentTypeError: it is not an age, or less than a day: such uploads may still be running.
    """
    form = re.fullmatch(r"([0-9]{1,4})([hdw])", text.strip().lower())
    if not form:
        raise argparse.ArgumentTypeError(f"give a number of hours, days or weeks, like 36h, 30d or 4w; got {text!r}")
    found = timedelta(**{_UNITS[form[2]]: int(form[1])})
    if found < SHORTEST_AGE:
        raise argparse.ArgumentTypeError("uploads of the last day may still be running; give 1d or more")
    return found


def states(text: str) -> list[str]:
    """Return the states of a list such as ``failed,outcome unknown``.

    :raises argparse.ArgumentTypeError: one of them is not a state, or there is none.
    """
    found, known = states_of(text), [*MEANINGS, WAITING, ATTENTION]
    if not found or not set(found) <= set(known):
        raise argparse.ArgumentTypeError(f"give one or more of {', '.join(known)}; got {text!r}")
    return found


def _states_of_uploads() -> str:
    """Return a text with a line for each state of an upload."""
    attention = textwrap.wrap(ATTENTION_MEANING, 60)
    return _explained(
        [
            *MEANINGS.items(),
            (WAITING, WAITING_MEANING),
            (ATTENTION, attention[0]),
            *(("", line) for line in attention[1:]),
        ]
    )


def _explained(states: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["states:", *(f"  {state:<16} {meaning}" for state, meaning in states)])


ARG_REQUESTID = Arg(("requestid",), help="The upload's requestid, or its key in the upload store")
ARG_LIMIT = Arg(("--limit",), help="Maximum number (default: 50)", type=positive_int(allow_zero=False), default=50)
ARG_STATE = Arg(
    ("--state",),
    help="Only uploads in these states: separate them by commas, or repeat the option",
    type=states,
    action="extend",
    metavar="STATES",
)
ARG_LISTID = Arg(("--listid",), help="Only uploads to this Smartech list", type=positive_int(allow_zero=False))
ARG_DAG_ID = Arg(("--dag-id",), help="Only uploads that this DAG submitted")
ARG_OLDER_THAN = Arg(("--older-than",), help="Age such as 30d, 4w or 36h; at least 1d", type=age, required=True)
ARG_DRY_RUN = Arg(("-n", "--dry-run"), help="Show what would be removed, but remove nothing", action="store_true")

# Airflow's groups have commands or are one, so what is done with a sync is an argument.
ARG_RESET = Arg(
    ("reset",), nargs="?", choices=["reset"], help="Forget what a sync has uploaded: its next run uploads all rows"
)
ARG_SYNC = Arg(("name",), nargs="?", metavar="NAME", help="The sync to reset")
ARG_RESETS = Arg(("-y", "--yes"), help="Do not ask before a reset", action="store_true")

ARG_SMARTECH_CONN_ID = Arg(
    ("--smartech-conn-id",),
    help="Connection to Smartech (default: smartech_default)",
    default="smartech_default",
)
ARG_AWS_CONN_ID = Arg(
    ("--aws-conn-id",), help="AWS connection for --s3-bucket (default: aws_default)", default="aws_default"
)
ARG_S3_BUCKET = Arg(("--s3-bucket",), help="Also examine this bucket for files with contacts")
ARG_S3_PREFIX = Arg(("--s3-prefix",), help="Folder in the bucket", default="")
ARG_UPLOAD = Arg(
    ("--upload",),
    metavar="URL",
    help="At the end, really send this hosted CSV to Smartech, and wait for its ping-back",
)
ARG_UPLOAD_LISTID = Arg(
    ("--listid",),
    help="The list for --upload (default: the connection's)",
    type=positive_int(allow_zero=False),
)
ARG_TIMEOUT = Arg(
    ("--timeout",),
    help="Seconds to wait for the ping-back of --upload (default: 3600)",
    type=positive_int(allow_zero=False),
    default=3600,
)
ARG_SEND = Arg(("-y", "--yes"), help="Do not ask before --upload sends", action="store_true")

COMMANDS = (
    ActionCommand(
        name="uploads",
        help="List uploads, the newest first",
        func=lazy_load_command(f"{_COMMANDS}.uploads"),
        args=(ARG_LIMIT, ARG_STATE, ARG_LISTID, ARG_DAG_ID, ARG_OUTPUT),
        epilog=_states_of_uploads(),
    ),
    ActionCommand(
        name="show",
        help="Show the details of one upload",
        func=lazy_load_command(f"{_COMMANDS}.show"),
        args=(ARG_REQUESTID, ARG_OUTPUT),
    ),
    ActionCommand(
        name="purge",
        help="Remove old uploads from the upload store",
        description=(
            "Remove all uploads that are older than the given age from the upload store. "
            "Smartech and the contacts on its lists are not changed. A task that is cleared afterwards uploads again."
        ),
        func=lazy_load_command(f"{_COMMANDS}.purge"),
        args=(ARG_OLDER_THAN, ARG_DRY_RUN, ARG_YES),
    ),
    ActionCommand(
        name="syncs",
        help="List syncs that upload only what has changed, or reset one",
        description=(
            "List the syncs of tasks with only_changes, and what their next runs compare with: the base, which is the "
            "last run of which all rows were loaded. With reset and a name, the next run of that sync uploads all rows."
        ),
        func=lazy_load_command("airflow_provider_smartech.cli.syncs_command.syncs"),
        args=(ARG_RESET, ARG_SYNC, ARG_RESETS, ARG_OUTPUT),
        epilog=_explained(STANDINGS.items()),
    ),
    ActionCommand(
        name="doctor",
        help="Examine the chain to Smartech and back",
        description=(
            "Examine the settings, the upload store, the connection, perhaps a bucket, and the way of a ping-back: one "
            "is sent to callback_base_url, as Smartech would send it, and must arrive in the upload store. Each link "
            "is shown as good (✓), as working but in need of a look (!), as broken (✗) or as not tried (-). The exit "
            "status is 1 if a link is broken. Nothing is sent to Smartech but a test of the API key, which loads "
            "nothing, unless --upload is given."
        ),
        func=lazy_load_command("airflow_provider_smartech.cli.doctor_command.doctor"),
        args=(
            ARG_SMARTECH_CONN_ID,
            ARG_AWS_CONN_ID,
            ARG_S3_BUCKET,
            ARG_S3_PREFIX,
            ARG_UPLOAD,
            ARG_UPLOAD_LISTID,
            ARG_TIMEOUT,
            ARG_SEND,
            ARG_OUTPUT,
        ),
    ),
)


def get_smartech_cli_commands() -> list[GroupCommand]:
    """Return the command group; Airflow 3.2 and newer calls this when its command line is used."""
    return [
        GroupCommand(
            name="smartech",
            help="Show Smartech uploads and syncs, remove old ones, and examine the way to Smartech and back",
            subcommands=COMMANDS,
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command as ``python -m airflow_provider_smartech``, for Airflow 3.1, which has no provider commands."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_smartech",
        description="Show Smartech uploads and syncs, and examine the way to Smartech and back",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=command.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for argument in command.args:
            argument.add_to_parser(subparser)
        subparser.set_defaults(run=command.func)
    options = parser.parse_args(arguments)
    options.run(options)
