"""What Smartech may call back with, and what that says of the upload: good, bad, or nothing yet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

Says = Literal["good", "bad", "nothing"]


@dataclass(frozen=True)
class Kind:
    """One kind of ping-back: ``says`` what an honest reader takes from it; ``surely_failed``: nothing was loaded."""

    name: str
    says: Says
    surely_failed: bool = False
    rejected: int = 0


KINDS = {
    kind.name: kind
    for kind in (
        Kind("completed", "good"),
        Kind("completed form", "good"),
        Kind("completed in the query", "good"),
        Kind("completed without numbers", "good"),
        Kind("completed, one rejected", "good", rejected=1),
        Kind("progress", "nothing"),
        Kind("empty", "nothing"),
        Kind("failed", "bad", surely_failed=True),
        Kind("failed in the query", "bad", surely_failed=True),
        Kind("failed in the query alone", "bad", surely_failed=True),
        Kind("unknown word", "bad"),
        Kind("of another upload", "bad"),
        Kind("with an error", "bad"),
        Kind("unsuccessful", "bad"),
        Kind("status object", "bad"),
        Kind("echo", "bad"),
        Kind("all rejected", "bad", surely_failed=True),
        Kind("rows lost", "good", rejected=1),
    )
}


def message(kind: str, requestid: str, rows: int, secret: str) -> tuple[Any, str]:
    """Return the body and the query of a ping-back about an upload of so many rows.

    ``secret`` is what a careless sender repeats: the API key.
    """
    numbers = {"total": rows, "accepted": rows, "rejected": 0}
    done = {"requestid": requestid, "status": "completed", **numbers}
    bodies: dict[str, tuple[Any, str]] = {
        "completed": (done, ""),
        "completed form": (f"requestid={requestid}&status=Completed&accepted={rows}&rejected=0".encode(), ""),
        "completed in the query": (b"", f"status=completed&requestid={requestid}"),
        "completed without numbers": ({"requestid": requestid, "status": "done"}, ""),
        "completed, one rejected": ({**done, "accepted": rows - 1, "rejected": 1}, ""),
        "progress": ({"requestid": requestid, "status": "in progress", "apikey": secret}, ""),
        "empty": (b"", ""),
        "failed": ({"requestid": requestid, "status": "failed", "reason": f"GET /x?apikey={secret} failed"}, ""),
        "failed in the query": ({"requestid": requestid}, "status=failed"),
        "failed in the query alone": (done, "status=failed"),
        "unknown word": ({"requestid": requestid, "status": "hibernating"}, ""),
        "of another upload": ({**done, "requestid": "f" * 32}, ""),
        "with an error": ({**done, "error": "disk full"}, ""),
        "unsuccessful": (json.dumps({**done, "success": False}).encode(), ""),
        "status object": (
            {"requestid": requestid, "result": "Success", "status": {"failed": 1, "state": "completed"}},
            "",
        ),
        "echo": ({"requestid": requestid, "result": "Success"}, ""),
        "all rejected": ({**done, "accepted": 0, "rejected": rows}, ""),
        "rows lost": ({"requestid": requestid, "status": "completed", "total": rows - 1}, ""),
    }
    return bodies[kind]
