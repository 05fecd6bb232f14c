"""Exchanges in the database: the first author stays the first, for every process and on either engine."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256

import pytest

from gatepost.db.engine import Database
from gatepost.db.exchanges import SqlExchanges
from gatepost.db.writer import Writer
from gatepost.directory.exchange import AddresseeRow, ExchangeRow
from gatepost.errors import StorageError

KIM, EVE = (sha256(name).digest() for name in (b"kim", b"eve"))


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    writer = Writer(database, "gw")
    yield writer
    writer.close()


@pytest.fixture
def exchanges(database: Database, writer: Writer) -> SqlExchanges:
    return SqlExchanges(database, writer)


def rows(author: bytes, *numbers: int) -> tuple[ExchangeRow, ...]:
    return tuple(ExchangeRow(sha256(str(number).encode()).digest(), author) for number in numbers)


@pytest.mark.parametrize("shared", [0, 7, 8, 19])
def test_any_digest_counts(exchanges: SqlExchanges, shared: int) -> None:
    """However many key exchanges a message has, one that another author brought is enough."""
    exchanges.add(rows(KIM, shared), ())
    assert not exchanges.is_anothers(rows(EVE, *range(100, 120)))
    assert not exchanges.is_anothers(rows(KIM, *range(20)))
    assert exchanges.is_anothers(rows(EVE, *range(20)))

    exchanges.add(rows(EVE, *range(20)), ())
    assert exchanges.is_anothers(rows(EVE, shared))
    assert not exchanges.is_anothers(rows(KIM, shared))


def test_addressees_are_the_authors(exchanges: SqlExchanges) -> None:
    """For whom a message came is told by the author; written twice it is there once."""
    (kims,), (eves,) = rows(KIM, 1), rows(EVE, 1)
    anna, carol = (sha256(name).digest() for name in (b"anna", b"carol"))
    for _ in range(2):
        exchanges.add((kims,), (AddresseeRow(kims.digest, KIM, anna),))
    exchanges.add((eves,), (AddresseeRow(kims.digest, EVE, carol),))

    assert exchanges.addressees((kims,)) == {anna}
    assert exchanges.addressees((eves,)) == {carol}
    (others,) = rows(KIM, 2)
    assert exchanges.addressees((others,)) is None
    assert exchanges.addressees((others, kims)) == set()  # the key exchange is known, with other content


class _Race:
    """Several authors who bring the same at once."""

    def __init__(self, numbers: range, authors: int) -> None:
        self._numbers = numbers
        self._start = threading.Barrier(authors)
        self.first: list[bytes] = []
        self.written = 0

    def bring(self, log: SqlExchanges, author: bytes, order: int) -> None:
        mine = rows(author, *(self._numbers if order else reversed(self._numbers)))
        self._start.wait()
        log.add(mine, ())
        self.written += 1
        if not log.is_anothers(mine):
            self.first.append(author)


@pytest.mark.parametrize("hosts", [1, 2])
def test_of_two_at_the_same_time_one_is_first(url: str, hosts: int) -> None:
    """Of authors who bring the same at once, in one process or in two, exactly one is first."""
    databases = [Database(url) for _ in range(hosts)]
    writers = [Writer(database, f"gw{number}") for number, database in enumerate(databases)]
    logs = [SqlExchanges(database, writer) for database, writer in zip(databases, writers, strict=True)]
    authors = [sha256(bytes([number])).digest() for number in range(4)]
    for numbers in (range(start, start + 300) for start in range(0, 3000, 300)):
        race = _Race(numbers, len(authors))
        threads = [
            threading.Thread(target=race.bring, args=(logs[place % hosts], author, place % hosts))
            for place, author in enumerate(authors)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(race.first), race.written) == (1, len(authors))  # none waited for the other for ever
    for one in (*writers, *databases):
        one.close()


def test_a_database_that_fails(database: Database, sql: Callable[..., object]) -> None:
    """Where nothing can be remembered, whoever asks is told, and does not go on."""
    with closing(Writer(database, "gw")) as writer:
        exchanges = SqlExchanges(database, writer)
        sql("DROP TABLE exchange")
        with pytest.raises(StorageError):
            exchanges.add(rows(KIM, 1), ())
        with pytest.raises(StorageError):
            exchanges.is_anothers(rows(KIM, 1))
