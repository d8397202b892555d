"""The lines of the receiver's log where it runs alone."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Any

from airflow_provider_smartech.receiver.json_lines import JsonLines


def line(*arguments: object, exc_info: Any = None, **extra: object) -> dict[str, Any]:
    record = logging.getLogger("a.b").makeRecord(
        "a.b", logging.INFO, "file.py", 1, "%s of\n%s", arguments, exc_info, extra=extra
    )
    text = JsonLines().format(record)
    assert "\n" not in text
    return dict(json.loads(text))


def test_a_line_is_an_object_with_time_level_and_message_and_the_fields_to_count() -> None:
    said = line("one", "two", event="calls_refused", status=404, calls=5)
    assert datetime.fromisoformat(said.pop("timestamp")).utcoffset() is not None
    assert said == {
        "level": "INFO",
        "message": "one of\ntwo",
        "logger": "a.b",
        "event": "calls_refused",
        "status": 404,
        "calls": 5,
    }


def test_other_fields_of_libraries_are_left_out() -> None:
    assert line("one", "two", color_message="x").keys() == {"timestamp", "level", "message", "logger"}


def test_an_exception_is_its_type_and_place_and_not_its_text() -> None:
    try:
        raise ValueError("ana@example.com")
    except ValueError:
        said = line("one", "two", exc_info=sys.exc_info())
    assert said["errorType"] == "ValueError"
    assert "test_json_lines.py" in said["stackTrace"][0]
    assert "ana@example.com" not in json.dumps({**said, "stackTrace": None})
