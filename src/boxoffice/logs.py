"""Logs on stderr: one line of JSON an event for machines, plain lines for people.

Nothing that a buyer sent is logged but the name of a sale that there is, and a trace id: no token, cookie, address or
card. What libraries say is theirs; passwords in addresses are struck out of it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NoReturn

import msgspec

from boxoffice import tracing
from boxoffice.errors import BadInput

FORMATS = ("console", "json")
VARIABLE = "BOXOFFICE_LOG_FORMAT"
_PASSWORD = re.compile(r"(://[^/?#\s:@]*):[^/?#\s@]+@")

log = logging.getLogger("boxoffice")


class JsonLines(logging.Formatter):
    """`time`, `level`, `logger`, `message`; where there are any, `trace`, `error` (a traceback), and the `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        if trace := tracing.trace_id():
            event["trace"] = trace
        event |= getattr(record, "fields", {})
        if record.exc_info:
            event["error"] = masked(self.formatException(record.exc_info))
        return msgspec.json.encode(event).decode()


class Console(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        return masked(" ".join([super().format(record), *(f"{name}={value}" for name, value in fields.items())]))


def masked(text: str) -> str:
    return _PASSWORD.sub(r"\1:***@", text)


def start(chosen: str = "", *, anew: bool = False) -> None:
    """For processes that run on, before anything else is read. Who set up logs before us keeps them, but for `anew`.
    Raises BadInput."""
    chosen = chosen or os.environ.get(VARIABLE, "") or ("console" if sys.stderr.isatty() else "json")
    if chosen not in FORMATS:
        raise BadInput(f"{VARIABLE} must be one of {', '.join(FORMATS)}, not {chosen!r}")
    if logging.root.handlers and not anew:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if chosen == "json" else Console())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    if chosen == "json":
        sys.excepthook = _uncaught


def give_up(program: str, message: str, code: int = 1) -> NoReturn:
    """The last words of a process: an event among the others where those are JSON."""
    if any(isinstance(handler.formatter, JsonLines) for handler in logging.root.handlers):
        log.critical("%s", message)
    else:
        print(f"{program}: {message}", file=sys.stderr)
    sys.exit(code)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("%s", kind.__name__, exc_info=(kind, error, trace))
