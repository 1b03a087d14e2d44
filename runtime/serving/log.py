"""Logs as JSON, one line each, on standard output. What was sent and what was answered is in none of them."""

import json
import logging
import os
import sys
import time
import traceback
from typing import Any

_ENCODER = json.JSONEncoder(default=str)


def log(event: str, severity: str = "INFO", *, trace_id: str = "", **fields: Any) -> None:
    """Write one line. `severity` and the trace are named as Cloud Logging reads them; CloudWatch takes any."""
    line: dict[str, Any] = {"time": round(time.time(), 3), "severity": severity, "event": event, **fields}
    if trace_id:
        line["trace_id"] = trace_id
        if project := os.environ.get("GOOGLE_CLOUD_PROJECT"):
            line["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace_id}"
    sys.stdout.write(_ENCODER.encode(line) + "\n")
    sys.stdout.flush()


def place(error: BaseException) -> dict[str, Any]:
    """What went wrong and where, without the message, which may hold a part of what was sent."""
    return {"error": type(error).__name__, "stack": traceback.format_tb(error.__traceback__)[-5:]}


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log("server", record.levelname, message=record.getMessage())


def capture() -> None:
    """Send warnings of libraries the same way."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()], force=True)
    logging.captureWarnings(capture=True)
