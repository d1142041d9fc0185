"""Log lines: one JSON object each, with service and trace, never a secret; plainer on a terminal."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, ClassVar, TextIO

from opentelemetry import trace

from libs.common.telemetry.redaction import redact, redact_field
from libs.common.telemetry.service import current_service

# What every record has; whatever else stands on one was given as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

# The requests and calls that these announce one by one are spans and metrics already.
_CHATTY = ("uvicorn.access", "httpx", "httpcore", "aiokafka", "asyncio")

_OURS = frozenset({"ts", "level", "logger", "message", "service", "trace_id", "span_id", "error"})

_STACK_LENGTH_MAX = 20_000


def setup_logging(
    level: str | int = logging.INFO, json_lines: bool | None = None, *, stream: TextIO | None = None
) -> None:
    """Send the log to standard error, as JSON lines unless a person is watching; replaces an earlier set-up.

    Servers that bring a logging configuration of their own (uvicorn does) are to be started without it.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    as_json = not stream.isatty() if json_lines is None else json_lines
    handler.setFormatter(JsonLines() if as_json else PlainLines(colored=stream.isatty()))
    root = logging.getLogger()
    for earlier in [h for h in root.handlers if isinstance(h.formatter, JsonLines | PlainLines)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level if isinstance(level, int) else level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`, secrets taken out. A name that is taken gets an underscore behind it."""
    return {
        f"{name}_" if name in _OURS else name: redact_field(name, value)
        for name, value in vars(record).items()
        if name not in _STANDARD and not name.startswith("_")
    }


def _message(record: logging.LogRecord) -> str:
    try:
        return redact(record.getMessage())
    except Exception:  # a line whose arguments do not fit it is better shown than lost
        return redact(f"{record.msg} {record.args!r}")


def _stack(record: logging.LogRecord) -> str:
    text = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    text = "\n".join(part.rstrip() for part in (text, record.stack_info or "") if part)
    return redact(text)[-_STACK_LENGTH_MAX:]


class JsonLines(logging.Formatter):
    """One object a line: ts, level, logger, message, service, trace_id, span_id, what was given, error."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if service := current_service.get():
            line["service"] = service
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = f"{context.trace_id:032x}"
            line["span_id"] = f"{context.span_id:016x}"
        line.update(_facts(record))
        if stack := _stack(record):
            line["error"] = stack
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)


class PlainLines(logging.Formatter):
    """For people: time, level, service, message, facts; a trace id where one is active."""

    _COLORS: ClassVar = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[1;31m"}
    _DIM, _OFF = "\033[2m", "\033[0m"

    def __init__(self, *, colored: bool) -> None:
        super().__init__()
        self._colored = colored

    def _paint(self, color: str, text: str) -> str:
        return f"{color}{text}{self._OFF}" if self._colored and color else text

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        facts = [f"{name}={value}" for name, value in _facts(record).items()]
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            facts.append(f"trace={context.trace_id:032x}")
        level = self._paint(self._COLORS.get(record.levelname, ""), f"{record.levelname:<7}")
        line = f"{self._paint(self._DIM, at)} {level} {current_service.get() or '-':<13} {_message(record)}"
        if facts:
            line += "  " + self._paint(self._DIM, " ".join(facts))
        stack = _stack(record)
        return f"{line}\n{stack}" if stack else line
