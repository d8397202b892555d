"""The sandbox's data: uploads and contacts, in SQLite."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    requestid TEXT PRIMARY KEY, submitted_at TEXT DEFAULT CURRENT_TIMESTAMP, path TEXT, listid INTEGER,
    in_query TEXT, state TEXT DEFAULT 'queued', total INTEGER DEFAULT 0, accepted INTEGER DEFAULT 0,
    rejected INTEGER DEFAULT 0, reason TEXT, pingbacks TEXT DEFAULT '[]'
);
CREATE TABLE IF NOT EXISTS contacts (key TEXT PRIMARY KEY, attributes TEXT);
CREATE TABLE IF NOT EXISTS lists (listid INTEGER, key TEXT, PRIMARY KEY (listid, key));
"""


class State:
    """Uploads and contacts; safe to use from several threads.

    :param database: path of the SQLite file; kept in memory by default.
    """

    def __init__(self, database: str = ":memory:") -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(database, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(_SCHEMA)

    def add_upload(self, requestid: str, path: str, listid: int | None, in_query: Iterable[str]) -> None:
        """Store a new upload; ``in_query`` has the names of the parameters in the URL."""
        with self._lock, self._db:
            self._db.execute(
                "INSERT INTO uploads (requestid, path, listid, in_query) VALUES (?, ?, ?, ?)",
                (requestid, path, listid, ",".join(sorted(in_query))),
            )

    def set_upload(self, requestid: str, **columns: Any) -> None:
        """Update columns of an upload."""
        assignments = ", ".join(f"{column} = ?" for column in columns)
        with self._lock, self._db:
            self._db.execute(f"UPDATE uploads SET {assignments} WHERE requestid = ?", (*columns.values(), requestid))

    def add_pingback(self, requestid: str, outcome: str) -> None:
        """Store the result of a ping-back."""
        with self._lock, self._db:
            self._db.execute(
                "UPDATE uploads SET pingbacks = json_insert(pingbacks, '$[#]', ?) WHERE requestid = ?",
                (outcome, requestid),
            )

    def upsert(self, contacts: dict[str, dict[str, str]], listid: int | None) -> None:
        """Add contacts by their primary key, or update the attributes of known ones."""
        rows = [(key, json.dumps(attributes, ensure_ascii=False)) for key, attributes in contacts.items()]
        with self._lock, self._db:
            self._db.executemany(
                "INSERT INTO contacts VALUES (?, ?) ON CONFLICT (key) "
                "DO UPDATE SET attributes = json_patch(attributes, excluded.attributes)",
                rows,
            )
            if listid is not None:
                self._db.executemany("INSERT OR IGNORE INTO lists VALUES (?, ?)", ((listid, key) for key in contacts))

    def uploads(self) -> list[dict[str, Any]]:
        """Return all uploads, newest first."""
        rows = self._select("SELECT * FROM uploads ORDER BY submitted_at DESC, rowid DESC")
        return [{**row, "pingbacks": json.loads(row["pingbacks"])} for row in rows]

    def contacts(self, limit: int = 100) -> list[dict[str, str]]:
        """Return the attributes of the first contacts by primary key."""
        rows = self._select("SELECT attributes FROM contacts ORDER BY key LIMIT ?", limit)
        return [json.loads(row["attributes"]) for row in rows]

    def count(self, listid: int | None = None) -> int:
        """Return the number of contacts, or of those on a list."""
        if listid is None:
            return int(self._select("SELECT count(*) AS n FROM contacts")[0]["n"])
        return int(self._select("SELECT count(*) AS n FROM lists WHERE listid = ?", listid)[0]["n"])

    def lists(self) -> dict[int, int]:
        """Return the number of contacts on each list."""
        return {row["listid"]: row["n"] for row in self._select("SELECT listid, count(*) AS n FROM lists GROUP BY 1")}

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def _select(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(row) for row in self._db.execute(sql, values)]
