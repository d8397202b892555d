"""Reading rows by a driver's cursor."""

from __future__ import annotations

import sqlite3
import sys
from types import SimpleNamespace

import pytest

from airflow_provider_smartech.extracts.dbapi import DbApiExtract, cursor_of
from tests.support.extracts import AnyHook, through


def test_sqlite_is_read_by_rows_with_bound_parameters() -> None:
    hook = AnyHook(lambda: sqlite3.connect(":memory:"))
    assert through(hook, "SELECT ? AS a, 1.5 AS b, NULL AS c", ("x,y",)) == (DbApiExtract, b'"x,y",1.5,\n')


@pytest.mark.parametrize("driver", ["MySQLdb", "pymysql"])
def test_mysql_s_cursor_leaves_the_result_on_the_server(monkeypatch: pytest.MonkeyPatch, driver: str) -> None:
    kind = type("SSCursor", (), {})
    monkeypatch.setitem(sys.modules, driver, SimpleNamespace())
    monkeypatch.setitem(sys.modules, f"{driver}.cursors", SimpleNamespace(SSCursor=kind))
    connection = type("Connection", (), {"__module__": f"{driver}.connections", "cursor": lambda self, kind: kind})()
    assert cursor_of(connection) is kind
