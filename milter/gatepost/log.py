"""
The log: one line per event on stderr, named fields, never a message's content or a secret.

`configure` is called once, at a daemon's start; a command, whose stdout is its answer, tells warnings alone, on
stderr. What a stranger wrote (addresses, subjects) cannot break a line or reach a terminal as an escape. A
traceback is part of a line only at level debug; else the error's type and place.
"""

import json
import logging
import os
import re
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from gatepost.errors import place_of

_PLAIN_WORD = re.compile(r"[!#-<>-\[\]-~]+").fullmatch  # printable ASCII but blank, quote, = and backslash

logger: FilteringBoundLogger = structlog.get_logger("gatepost")


def configure(form: str = "text", *, debug: bool = False, stream: TextIO | None = None) -> None:
    """Set the log up: `form` is "text" or "json"; under systemd the journal adds the time."""
    times = [] if "JOURNAL_STREAM" in os.environ else [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *times,
            structlog.processors.format_exc_info if debug else _name_error,
            _as_json if form == "json" else _as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=True,
    )


def _name_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and the place that raised it."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["error"] = f"{type(error).__name__} at {place_of(error)}"
    return event


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return json.dumps(event, default=str)


def _as_text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Write `time level event key=value ...`; a value that is not one plain word stands as a JSON string."""
    words = [str(event.pop(key)) for key in ("timestamp", "level", "event") if key in event]
    words += [f"{key}={_word(value)}" for key, value in event.items()]
    line = " ".join(words)
    return line if line.isprintable() else json.dumps(line)[1:-1]


def _word(value: object) -> str:
    if not isinstance(value, str):
        return json.dumps(value, default=str)
    return value if _PLAIN_WORD(value) else json.dumps(value)


def _on_stderr(*_: object) -> structlog.WriteLogger:
    """Write to what stderr is at this moment."""
    return structlog.WriteLogger(sys.stderr)


structlog.configure(
    processors=[structlog.processors.add_log_level, _name_error, _as_text],
    wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    logger_factory=_on_stderr,
)
