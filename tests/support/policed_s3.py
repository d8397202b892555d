"""moto's S3 where calls may do only what an IAM policy allows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import unescape

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.support.file_server import ServerThread

Statement = Mapping[str, Any]
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
MISSING = "404"


class PolicedS3(ServerThread):
    """A server with the objects of moto's S3, for one role.

    :param statements: what the role may do, as in an IAM policy.
    """

    def __init__(self, statements: Iterable[Statement]) -> None:
        self._statements = list(statements)
        self._moto = DomainDispatcherApplication(create_backend_app)
        super().__init__(make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=_Quiet))
        self.used: set[tuple[int, str]] = set()
        """The statements that allowed a call, by their number, each with the action."""
        self.denied: list[tuple[str, str]] = []

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        action = _action(environ["REQUEST_METHOD"], key, query)
        names = _removed(environ) if action == "s3:DeleteObject" else [key or query.get("prefix", [""])[0]]
        for name in names:
            if not self._may(action, bucket, name):
                self.denied.append((action, name))
                return _deny(start_response)
        seen: list[tuple[Any, ...]] = []
        body = b"".join(self._moto(environ, lambda *answer: seen.append(answer)))
        if action == "s3:GetObject" and seen[0][0].startswith(MISSING) and not self._may("s3:ListBucket", bucket, key):
            # As S3 does: who may not list it must not learn what is not there. The key counts as the prefix.
            self.denied.append((action, f"{key}, which is not there"))
            return _deny(start_response)
        start_response(*seen[0])
        return [body]

    def _may(self, action: str, bucket: str, key_or_prefix: str) -> bool:
        for number, statement in enumerate(self._statements):
            if _allows(statement, action, bucket, key_or_prefix):
                self.used.add((number, action))
                return True
        return False


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Tests look at the log for other things."""


def _action(method: str, key: str, query: Mapping[str, Any]) -> str:
    if key and not query.keys() - {"x-id"}:
        return {"GET": "s3:GetObject", "PUT": "s3:PutObject"}.get(method, f"{method} of an object")
    of_a_bucket = {("GET", "list-type"): "s3:ListBucket", ("POST", "delete"): "s3:DeleteObject"}
    known = [action for (needed, parameter), action in of_a_bucket.items() if method == needed and parameter in query]
    return known[0] if known else f"{method} {key} {sorted(query)}"


def _removed(environ: dict[str, Any]) -> list[str]:
    """Return the keys that a call removes."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = BytesIO(body)
    return [unescape(key) for key in re.findall("<Key>(.*?)</Key>", body.decode())]


def _allows(statement: Statement, action: str, bucket: str, key_or_prefix: str) -> bool:
    """Whether a statement allows a call; a statement of a form that this does not know is an error."""
    assert statement.keys() <= {"Effect", "Action", "Resource", "Condition"}, statement
    assert statement["Effect"] == "Allow"
    is_list = action == "s3:ListBucket"
    name = f"arn:aws:s3:::{bucket}" + ("" if is_list else f"/{key_or_prefix}")
    if action not in _several(statement["Action"]) or not _matches(name, statement["Resource"]):
        return False
    if "Condition" not in statement:
        return True
    [(operator, keys)] = statement["Condition"].items()
    [(key, prefixes)] = keys.items()
    assert (operator, key) == ("StringLike", "s3:prefix"), statement
    return is_list and _matches(key_or_prefix, prefixes)


def _matches(text: str, patterns: Any) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in _several(patterns))


def _several(one_or_more: Any) -> list[str]:
    return [one_or_more] if isinstance(one_or_more, str) else list(one_or_more)


def _deny(start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(DENIED)))])
    return [DENIED]
