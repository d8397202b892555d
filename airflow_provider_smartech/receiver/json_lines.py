"""The log of the receiver where it runs alone: a JSON object in each line, with the names of AWS Lambda's logs."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

FIELDS = ("event", "verdict", "bytes", "status", "calls")
"""What the receiver's own lines have besides a message, as far as it is known."""


class JsonLines(logging.Formatter):
    """Formats a record as one line; of an exception only its type and place, because its text may quote a ping-back."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            **{name: getattr(record, name) for name in FIELDS if hasattr(record, name)},
        }
        if record.exc_info and record.exc_info[0]:
            said["errorType"] = record.exc_info[0].__name__
            said["stackTrace"] = traceback.format_tb(record.exc_info[2])
        return json.dumps(said)


_OUTPUT = {"handlers": ["stderr"], "level": "INFO", "propagate": False}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonLines}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    # Not those of other libraries.
    "loggers": {"airflow_provider_smartech": _OUTPUT, "uvicorn": _OUTPUT},
}
"""Python's configuration of logging: this provider's messages and the server's, to standard error."""
