"""Reads docker-compose.yaml: only the part of the format that this project's file uses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<how>:?[-?])(?P<rest>[^}]*))?\})")


class ComposeError(Exception):
    """The file needs something that is missing; the text says what."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of the file, with its variables filled in.

    ``ports`` are the ports that it listens on; ``after`` the services that must be healthy, or finished, before it
    starts; ``volumes`` maps paths in the container to sources; ``folder`` is the working folder of the command;
    ``check`` is the health check command; ``restarts``: it is restarted when it ends by itself.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ports: tuple[int, ...]
    after: tuple[str, ...]
    volumes: Mapping[str, str]
    folder: str | None
    check: tuple[str, ...]
    restarts: bool


def read_services(file: Path, variables: Mapping[str, str], profile: str | None = None) -> dict[str, Service]:
    """Return the services that ``docker compose up`` would start, or ``docker compose --profile … up``.

    :raises ComposeError: a required variable is missing.
    """
    services = _filled(yaml.safe_load(file.read_text("utf-8"))["services"], variables)
    return {
        name: _service(name, fields)
        for name, fields in services.items()
        if not fields.get("profiles") or profile in fields["profiles"]
    }


def read_variables(file: Path) -> dict[str, str]:
    """Return the variables of an ``.env`` file."""
    lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def _service(name: str, fields: Mapping[str, Any]) -> Service:
    volumes = (volume.removesuffix(":ro").rsplit(":", 1) for volume in fields.get("volumes", ()))
    return Service(
        name=name,
        command=tuple(shlex.split(fields.get("command", ""))),
        environment={key: str(value) for key, value in fields.get("environment", {}).items()},
        ports=tuple(int(port) for port in fields.get("expose", ())),
        after=tuple(fields.get("depends_on", ())),
        volumes={inside: source for source, inside in volumes},
        folder=fields.get("working_dir"),
        check=_check(fields.get("healthcheck", {}).get("test", ())),
        restarts=fields.get("restart") == "unless-stopped",
    )


def _check(test: Any) -> tuple[str, ...]:
    if not test:
        return ()
    kind, *command = test
    return ("bash", "-c", *command) if kind == "CMD-SHELL" else tuple(command)


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return _VARIABLE.sub(lambda found: _value(found, variables), value) if isinstance(value, str) else value


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    name, how, rest = found["name"], found["how"] or "", found["rest"] or ""
    value = variables.get(name)
    if value is None or (how.startswith(":") and not value):
        if how.endswith("?"):
            raise ComposeError(f"{name} is not set: {rest}")
        return rest
    return value


def in_order(services: Mapping[str, Service]) -> Iterator[Service]:
    """Yield the services so that each one comes after those that it needs."""
    done: set[str] = set()
    while left := [service for name, service in services.items() if name not in done]:
        ready = [service for service in left if done.issuperset(service.after)]
        if not ready:
            raise ComposeError(f"these services wait for each other: {', '.join(service.name for service in left)}")
        yield from ready
        done.update(service.name for service in ready)
