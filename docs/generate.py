"""Makes the pages in ``docs/reference`` that follow from the code: ``make reference``."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from textwrap import dedent, fill
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from airflow.cli.cli_config import ActionCommand
from airflow.sdk import BaseOperator, XComArg

from airflow_provider_smartech import errors, operators, sensors, transfers
from airflow_provider_smartech.cli.definition import COMMANDS
from airflow_provider_smartech.config.options import OPTIONS
from airflow_provider_smartech.errors import SmartechError, SmartechRetryableError, SmartechTerminalError
from airflow_provider_smartech.operators import submit_upload
from airflow_provider_smartech.tasks.submission import OnUnknownOutcome

FOLDER = Path(__file__).with_name("reference")
MODULES = (operators, transfers, sensors)
# Types that the operators import only for type checkers.
NAMES = {"OnUnknownOutcome": OnUnknownOutcome, "Returned": str | Mapping[str, Any], "XComArg": XComArg}

ABOUT_OPERATORS = """\
# Operators and sensor

Made from the code by `make reference`. The how-to guides show them in DAGs:
[a hosted CSV](../how-to/hosted-csv.md), [a query](../how-to/warehouse.md), [files in S3](../how-to/unload.md).

Every operator and the sensor also take the parameters of Airflow's `BaseOperator`, such as `task_id`, `retries` and
`outlets`. A templated parameter may contain Jinja, or be the output of another task."""

OF_SENSORS = """\
Of the parameters that all of Airflow's sensors have, these matter here: `timeout` is {timeout} `mode="reschedule"`
gives the worker slot back between two checks. `poke_interval` is the time between two checks, if the sensor is not
deferrable. With `soft_fail=True` the task is skipped instead of failed, unless the storage or the triggerer failed."""

ABOUT_OPTIONS = """\
# Settings

Made from the code by `make reference`.

These are the options of the section `[smartech]` of Airflow's configuration. Every setting can also be an environment
variable, such as `AIRFLOW__SMARTECH__UPLOAD_STORE`. Use the same values for all of Airflow's components, and restart
them after a change. What the words and fields do is on [another page](pingbacks.md)."""

ABOUT_ERRORS = """\
# Errors

Made from the code by `make reference`.

All errors are in `airflow_provider_smartech.errors`, as one tree. "Retried" says whether Airflow uses the task's
`retries` after the error; "depends" marks the base class of errors of both kinds. After its `timeout`, the sensor
raises Airflow's own `AirflowSensorTimeout` instead of `UploadTimeout`, which is not retried either.
[Troubleshooting](../how-to/troubleshoot.md) begins with the messages."""

ABOUT_COMMANDS = """\
# Command line

Made from the code by `make reference`.

`airflow smartech …` and `python -m airflow_provider_smartech …` are the same commands. Airflow 3.1 takes no commands
from providers, so there only the second form works. [Watch your uploads](../how-to/watch.md) shows how to use them."""


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (FOLDER / f"{name}.md").write_text(text, "utf-8")


def pages() -> dict[str, str]:
    """Return the pages by their names."""
    of_operators = [ABOUT_OPERATORS, *map(of_operator, public_operators()), of_function()]
    return {
        "operators": "\n\n".join(of_operators) + "\n",
        "settings": of_options() + "\n",
        "errors": of_errors() + "\n",
        "cli": of_commands() + "\n",
    }


def public_operators() -> list[type[BaseOperator]]:
    """Return the operators and sensors that a DAG can use."""
    found = [getattr(module, name) for module in MODULES for name in module.__all__]
    classes = [one for one in found if isinstance(one, type) and issubclass(one, BaseOperator)]
    return [one for one in classes if not inspect.isabstract(one)]


def of_operator(operator: type[BaseOperator]) -> str:
    """Return the part about one operator."""
    described = descriptions(operator)
    rows = [
        (
            f"`{parameter.name}`",
            code(readable(type_)),
            default(parameter),
            "yes" if parameter.name in operator.template_fields else "no",
            described[parameter.name],
        )
        for parameter, type_ in parameters(operator)
    ]
    parts = [
        f"## {operator.__name__}",
        f"`from {public_module(operator).__name__} import {operator.__name__}`",
        summary(operator),
        table(["parameter", "type", "default", "templated", "what it does"], rows),
    ]
    if operator.__module__ == sensors.__name__:
        parts.append(fill(OF_SENSORS.format(timeout=described["timeout"]), width=120))
    return "\n\n".join(parts)


def of_function() -> str:
    """Return the part about submitting from a task in Python."""
    described = docstring_parameters(submit_upload)
    rows = [
        (f"`{parameter.name}`", code(readable(type_)), default(parameter), described[parameter.name])
        for parameter, type_ in taken(submit_upload)
    ]
    parts = [
        f"## {submit_upload.__name__}",
        f"`from {submit_upload.__module__} import {submit_upload.__name__}`",
        summary(submit_upload),
        table(["parameter", "type", "default", "what it does"], rows),
    ]
    return "\n\n".join(parts)


def of_options() -> str:
    """Return the page about the settings."""
    rows = [
        (f"`{name}`", option["type"], code(option["default"]) if option["default"] else "empty", option["description"])
        for name, option in OPTIONS.items()
    ]
    return f"{ABOUT_OPTIONS}\n\n{table(['setting', 'type', 'default', 'what it means'], rows)}"


def of_errors() -> str:
    """Return the page about the errors."""
    found = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, SmartechError)]
    rows = [(f"`{error.__name__}`", retried(error), summary(error), what_to_do(error)) for error in found]
    tree = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2].rpartition("\n\n")[0]
    shown = f"## The tree\n\n```text\n{dedent(tree)}\n```"
    heads = ["error", "retried", "what it means", "what to do"]
    return f"{ABOUT_ERRORS}\n\n## Each error\n\n{table(heads, rows)}\n\n{shown}"


def of_commands() -> str:
    """Return the page about the commands."""
    return "\n\n".join([ABOUT_COMMANDS, *map(of_command, COMMANDS)])


def of_command(command: ActionCommand) -> str:
    """Return the part about one command."""
    rows = [(", ".join(map(code, argument.flags)), prose(argument.kwargs["help"] or "")) for argument in command.args]
    about = fill(command.description or f"{command.help}.", width=120)
    parts = [f"## {command.name}", about, table(["argument", "what it does"], rows)]
    if command.epilog:
        parts.append(f"```text\n{command.epilog}\n```")
    return "\n\n".join(parts)


def public_module(operator: type) -> ModuleType:
    """Return the module that users import an operator from."""
    return next(module for module in MODULES if operator.__name__ in module.__all__)


def ours(operator: type) -> list[type]:
    """Return an operator's classes that are this provider's own, the most special one first."""
    return [one for one in operator.__mro__ if one.__module__.startswith("airflow_provider_smartech.")]


def parameters(operator: type) -> list[tuple[inspect.Parameter, Any]]:
    """Return an operator's own parameters with their types; those that must be given come first."""
    found = [one for owner in ours(operator) if "__init__" in vars(owner) for one in taken(vars(owner)["__init__"])]
    return sorted(found, key=lambda one: one[0].default is not inspect.Parameter.empty)


def taken(function: Any) -> Iterator[tuple[inspect.Parameter, Any]]:
    """Yield the parameters of a function or of an ``__init__``, with their types."""
    types = get_type_hints(function, localns=NAMES)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in types and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            yield parameter, types[parameter.name]


def descriptions(operator: type) -> dict[str, str]:
    """Return what the docstrings say about each parameter; a class's own docstring wins."""
    found: dict[str, str] = {}
    for owner in reversed(ours(operator)):
        found |= docstring_parameters(owner)
    return found


def docstring_parameters(one: object) -> dict[str, str]:
    """Return what one docstring says about each parameter."""
    text = inspect.cleandoc(one.__doc__ or "")
    found = re.findall(r"^:param (\w+): (.*?)(?=\n:|\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return {name: prose(description) for name, description in found}


def summary(one: object) -> str:
    """Return the first line of a docstring."""
    return prose((one.__doc__ or "").strip().splitlines()[0])


def what_to_do(error: type[SmartechError]) -> str:
    """Return what the docstring of an error says to do; base classes say nothing."""
    return prose(inspect.cleandoc(error.__doc__ or "").partition("What to do: ")[2])


def retried(error: type[SmartechError]) -> str:
    """Return whether Airflow retries a task after this error."""
    if issubclass(error, SmartechTerminalError):
        return "no"
    return "yes" if issubclass(error, SmartechRetryableError) else "depends"


def readable(type_: Any) -> str:
    """Return a type as it is written in code, and choices as their values."""
    origin, args = get_origin(type_), get_args(type_)
    if origin is Literal:
        return " | ".join(map(json.dumps, args))
    if origin in (Union, UnionType):
        return " | ".join(map(readable, args))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(readable, args))}]"
    return "None" if type_ is NoneType else str(type_.__name__)


def default(parameter: inspect.Parameter) -> str:
    """Return a parameter's default as code, or that it has none."""
    value = parameter.default
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(value, timedelta):
        minutes = value // timedelta(minutes=1)
        return code(f"timedelta(minutes={minutes})" if minutes % 60 else f"timedelta(hours={minutes // 60})")
    return code(json.dumps(value) if isinstance(value, str) else repr(value))


def code(text: str) -> str:
    """Return code for a table, where a bar would end the cell."""
    return f"`{text}`".replace("|", "\\|")


def prose(text: str) -> str:
    """Return a docstring's text as Markdown on one line."""
    return " ".join(text.replace("``", "`").split())


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """Return a text for a cell: what looks like a tag outside of code must not become one."""
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "\\<", text.strip())


if __name__ == "__main__":
    main()
