"""Where things are: each module has its tests, and what is used of Airflow unofficially is in one list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import airflow_provider_smartech
from airflow_provider_smartech.airflow_compat import UNOFFICIAL

PACKAGE = Path(airflow_provider_smartech.__file__).parent
TESTS = Path(__file__).parent

REASONS = {
    "airflow_compat": "what it lists is compared with what the package imports, below",
    "errors": "errors are tested where they are raised",
    "json_values": "JSON from strangers is tested where it comes in, in receiver/test_app and uploads/test_payloads",
    "plugin": "what it mounts is tested in a real Airflow, in test_airflow and uploads_page/test_routes",
    "api/data_centres": "the table is tested by the connections that choose from it, in api/test_account",
    "cli/output": "how commands print, ask and fail is tested with each of them, in cli/",
    "config/options": "the options are tested as they are read, in config/test_settings",
    "sandbox/state": "what is kept is looked at by every test of the sandbox",
    "staging/s3_errors": "errors of S3 are tested where it is asked, in staging/test_s3_multipart and test_s3_urls",
    "tasks/changes": "what is streamed and counted is tested in tasks/test_sync",
    "tasks/run_outcomes": "what became of a run is tested by what the next sync sends, in tasks/test_sync",
    "tasks/sender": "what is sent is tested in tasks/test_submission, and without a task in doctor/test_first_upload",
    "transfers/s3_base": "what both operators share is tested with each of them",
    "uploads/days": "the days of a chart are stored and read where it is made, in uploads/test_listing",
    "uploads/ended": "what lists read of an upload that has ended is tested with them, in uploads/test_listing",
    "uploads/folder": "what every storage must do is tested with each of them, in uploads/test_store",
    "uploads/source_files": "what is kept of objects is tested where a task keeps to it, in tasks/test_sources",
    "uploads/staged_files": "what is kept of files is tested where they are staged, in tasks/test_staged",
    "uploads_page/app": "what it puts together is tested by its addresses, in uploads_page/test_routes",
    "uploads_page/chart": "its numbers are tested in uploads/test_listing, its picture in uploads_page/test_routes",
    "uploads_page/pages": "how the pages look is tested in a browser, in uploads_page/test_routes",
}
"""Why a module has no test file of its name."""

PUBLIC = {"airflow.sdk", "airflow.sdk.types", "airflow.plugins_manager", "airflow.triggers.base"}
"""Airflow's public interface, besides ``airflow.providers``, as far as the package uses it."""


def modules() -> set[str]:
    """The modules of the package, such as ``uploads/store``."""
    paths = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")}
    return {str(path) for path in paths if not path.name.startswith("_")}


def those_with_tests() -> set[str]:
    """The modules that the names of the test files stand for, such as ``uploads/store``."""
    paths = {path.relative_to(TESTS).with_suffix("") for path in TESTS.rglob("test_*.py")}
    return {str(path.with_name(path.name.removeprefix("test_"))) for path in paths}


def test_each_module_has_tests_of_its_name_or_a_reason() -> None:
    assert modules() - those_with_tests() - REASONS.keys() == set()


def test_no_reason_is_left_of_a_module_that_has_tests_or_is_gone() -> None:
    assert REASONS.keys() & those_with_tests() == set()
    assert REASONS.keys() - modules() == set()


def test_no_tests_of_a_wing_are_left_whose_module_is_gone() -> None:
    wings = {str(Path(module).parent) for module in modules()} - {"."}
    assert {name for name in those_with_tests() if str(Path(name).parent) in wings} - modules() == set()


def imported() -> Iterator[tuple[str, str]]:
    """Every name that the package imports, lazily or for types alone as well, with its module."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((node.module, alias.name) for alias in node.names)


def test_what_is_used_of_airflow_unofficially_is_listed_and_nothing_more() -> None:
    used: dict[str, set[str]] = {}
    for module, name in imported():
        is_airflow = module == "airflow" or module.startswith("airflow.")
        if is_airflow and module not in PUBLIC and not module.startswith("airflow.providers."):
            used.setdefault(module, set()).add(name)
    assert used == UNOFFICIAL
