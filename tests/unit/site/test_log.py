"""The log: one line per event, safe to read, no traceback."""

import io
import json
import threading
from collections.abc import Iterator

import pytest
import structlog

from gatepost import log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's log as it was."""
    before, stream = structlog.get_config(), log._lines.stream
    yield
    structlog.configure(**before)
    log._lines.stream = stream


def written(form: str, *, debug: bool = False) -> tuple[structlog.typing.FilteringBoundLogger, io.StringIO]:
    stream = io.StringIO()
    log.configure(form, debug=debug, stream=stream)
    return structlog.get_logger(), stream


def test_json_lines_are_json() -> None:
    """With log_format "json", each event is one JSON object."""
    logger, stream = written("json")
    logger.info("message", queue_id="4F1", recipients=2)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["queue_id"], line["recipients"]) == ("message", "info", "4F1", 2)


def test_a_stranger_cannot_forge_a_line() -> None:
    """Line ends, escapes, blanks and equal signs in a value stay inside its quotes."""
    logger, stream = written("text")
    logger.info("message", sender="a@b\n2026 info forged\x1b[2J x=y\u202e")
    assert len(stream.getvalue().splitlines()) == 1
    assert 'sender="a@b\\n2026 info forged\\u001b[2J x=y\\u202e"' in stream.getvalue()


def test_an_error_is_named_without_a_traceback() -> None:
    """An exception is logged with its type and place; its text, which may quote a message, is not."""
    logger, stream = written("text")
    try:
        int("canary")
    except ValueError:
        logger.exception("tempfail")
    assert "ValueError at " in stream.getvalue()
    assert "canary" not in stream.getvalue()
    assert "Traceback" not in stream.getvalue()


def test_debug_shows_the_traceback() -> None:
    """At level debug the traceback is logged, as one line."""
    logger, stream = written("text", debug=True)
    try:
        int("canary")
    except ValueError:
        logger.exception("tempfail")
    assert "Traceback" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_debug_lines_are_dropped_by_default() -> None:
    """Without debug, debug lines cost nothing and are not written."""
    logger, stream = written("text")
    logger.debug("callback")
    assert stream.getvalue() == ""


class Pieces(io.StringIO):
    """Notes what it is given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


def test_lines_together() -> None:
    """Lines that are kept go out in order, in pieces that a pipe takes as one; later ones go at once again."""
    stream = Pieces()
    log.configure(stream=stream)
    logger = structlog.get_logger()
    with log.together():
        for number in range(100):
            logger.info("message", number=number, sender="\u00fc" * 50)
        assert not stream.pieces
    kept = stream.pieces.copy()
    logger.info("later")

    assert [f"number={number} " in line for number, line in enumerate("".join(kept).splitlines())] == [True] * 100
    assert 1 < len(kept) < 30
    assert all(len(piece.encode()) <= 4096 and piece.endswith("\n") for piece in kept)
    assert stream.pieces[len(kept) :][0].endswith("later\n")


def test_others_go_at_once_meanwhile() -> None:
    """What another thread has to tell does not wait for lines that are kept."""
    stream = Pieces()
    log.configure(stream=stream)
    logger = structlog.get_logger()
    with log.together():
        logger.info("kept")
        thread = threading.Thread(target=lambda: logger.error("at once"))
        thread.start()
        thread.join()
        assert ["at once" in piece for piece in stream.pieces] == [True]

    assert stream.getvalue().splitlines()[1].endswith("kept")
