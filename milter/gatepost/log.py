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
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from gatepost.errors import place_of

_PLAIN_WORD = re.compile(r"[!#-<>-\[\]-~]+").fullmatch  # printable ASCII but blank, quote, = and backslash

_TOGETHER = 4096  # octets that a pipe takes as one (PIPE_BUF): no other process's line comes between

logger: FilteringBoundLogger = structlog.get_logger("gatepost")


class _Lines:
    """A stream of lines, which one thread at a time may have go out together."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._kept: list[str] = []
        self._keeper: int | None = None

    def write(self, line: str) -> None:
        """Write a line, or keep it."""
        if self._keeper == threading.get_ident():
            self._kept.append(line)
        else:
            self.stream.write(line)

    def flush(self) -> None:
        """Hand on what was written."""
        self.stream.flush()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keep this thread's lines until the end; raises OSError, ValueError where the stream is gone."""
        self._keeper = threading.get_ident()
        try:
            yield
        finally:
            kept, self._kept, self._keeper = self._kept, [], None
            for some in _gathered(kept):
                self.stream.write(some)
            self.stream.flush()


def _gathered(lines: Iterable[str]) -> Iterator[str]:
    some, size = [""], 0
    for line in lines:
        octets = len(line.encode("utf-8", "replace"))
        if size + octets > _TOGETHER:
            yield "".join(some)
            some, size = [], 0
        some.append(line)
        size += octets
    yield "".join(some)


_lines = _Lines(sys.stderr)


def together() -> AbstractContextManager[None]:
    """Have all lines that the caller's thread writes meanwhile go out in one piece, or few; for one at a time."""
    return _lines.together()


def configure(form: str = "text", *, debug: bool = False, stream: TextIO | None = None) -> None:
    """Set the log up: `form` is "text" or "json"; under systemd the journal adds the time."""
    _lines.stream = stream or sys.stderr
    times = [] if "JOURNAL_STREAM" in os.environ else [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            *times,
            structlog.processors.format_exc_info if debug else _name_error,
            _as_json if form == "json" else _as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=lambda *_: structlog.WriteLogger(cast("TextIO", _lines)),
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
