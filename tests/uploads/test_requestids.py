"""Requestids as tasks hand them to each other."""

from __future__ import annotations

from collections import UserList
from typing import Any

import pytest

from airflow_provider_smartech.uploads.requestids import requestids_of

SYNC = {"requestids": ["r1", "r2"], "rows": 10, "files": [{"requestid": "r1"}, {"requestid": "r2"}]}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("r1", ["r1"]),
        (["r1", "r2"], ["r1", "r2"]),
        (("r1",), ["r1"]),
        (UserList(["r1", "r2"]), ["r1", "r2"]),
        (SYNC, ["r1", "r2"]),
        ([SYNC, {"requestids": ["r3"]}], ["r1", "r2", "r3"]),
        ([], []),
        ({"requestids": []}, []),
        ([SYNC, {"requestids": []}], ["r1", "r2"]),
        (["r0", UserList([SYNC]), ("r3", "r4")], ["r0", "r1", "r2", "r3", "r4"]),
    ],
)
def test_what_tasks_return_has_their_requestids(given: Any, found: list[str]) -> None:
    assert requestids_of(given) == found


@pytest.mark.parametrize(
    "given",
    [
        None,
        7,
        b"r1",
        {"r1"},
        "",
        " ",
        "None",
        "['r1']",
        "{'requestids': ['r1']}",
        b"",
        (),
        UserList([]),
        {},
        {"rows": 1},
    ],
)
@pytest.mark.parametrize("beside", [None, "r1", SYNC])
def test_where_a_part_is_something_else_nothing_is_found(given: Any, beside: Any) -> None:
    assert requestids_of([beside, given] if beside else given) is None
