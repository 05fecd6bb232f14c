"""The log of notices: none goes twice, nobody is flooded."""

from datetime import UTC, datetime, timedelta

import pytest

from gatepost.db.engine import Database
from gatepost.db.notices import SqlNotices

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def log(database: Database) -> SqlNotices:
    return SqlNotices(database)


def test_once(log: SqlNotices) -> None:
    """The same notice is claimed once, however much later the second try comes."""
    assert log.claim(b"a" * 32, "x@y.test", NOW, 9)
    assert not log.claim(b"a" * 32, "x@y.test", NOW + timedelta(days=1), 9)


def test_what_is_taken_back_may_go(log: SqlNotices) -> None:
    """A claim that is taken back counts neither as sent nor against the limit."""
    assert log.claim(b"a" * 32, "x@y.test", NOW, 1)
    log.forget(b"a" * 32)
    assert log.claim(b"a" * 32, "x@y.test", NOW, 1)


def test_so_many_an_hour(log: SqlNotices) -> None:
    """The limit counts one recipient's last hour; others have their own."""
    assert log.claim(b"a" * 32, "x@y.test", NOW, 1)
    assert not log.claim(b"b" * 32, "x@y.test", NOW + timedelta(minutes=59), 1)
    assert log.claim(b"c" * 32, "other@y.test", NOW, 1)
    assert log.claim(b"b" * 32, "x@y.test", NOW + timedelta(minutes=61), 1)
