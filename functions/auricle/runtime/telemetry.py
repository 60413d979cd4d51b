"""Logs that machines read and people grep: one JSON object a line, with the trace they belong to.

Signed URLs and tokens are masked here, once, whatever a message holds.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_TRACEPARENT = re.compile(r"^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$")
_SECRETS = (
    re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']+"),  # the query of a signed URL is its key
    re.compile(r"(aur_)[A-Za-z0-9_-]{8,}"),
    re.compile(r"(postgres(?:ql)?(?:\+\w+)?://[^:/@\s]+:)[^@\s]+(?=@)"),
)
_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_trace: ContextVar[str] = ContextVar("trace", default="")


def traceparent() -> str:
    """The current W3C trace context, or a fresh one."""
    return _trace.get() or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_id() -> str | None:
    """The 32 hex digits that name the current trace."""
    found = _TRACEPARENT.match(_trace.get())
    return found.group(1) if found else None


@contextmanager
def traced(incoming: str | None) -> Iterator[None]:
    """Run within the trace of `incoming` (a `traceparent`), or within a new one; each hop gets its own span."""
    found = _TRACEPARENT.match(incoming or "")
    span = secrets.token_hex(8)
    token = _trace.set(f"00-{found.group(1) if found else secrets.token_hex(16)}-{span}-01")
    try:
        yield
    finally:
        _trace.reset(token)


def masked(text: str) -> str:
    """`text` without the secrets that tend to end up in messages."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1***", text)
    return text


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, trace, and whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        if trace := trace_id():
            line["trace"] = trace
        line |= {k: masked(str(v)) for k, v in vars(record).items() if k not in _FIELDS}
        if record.exc_info:
            line["error"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def start_logging(level: str) -> None:
    """Log to standard error as JSON lines. Libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("auricle").setLevel(level)
