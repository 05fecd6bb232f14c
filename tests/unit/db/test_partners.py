"""The partner table: what SQL refuses, what is found, and how an edit is seen."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CompoundSelect, Select

from gatepost.db import cache, lookup, partners
from gatepost.db.engine import Database
from gatepost.db.partners import PartnerTable, SqlPartners
from gatepost.db.tables import partner
from gatepost.directory.partner import Partner
from gatepost.directory.partner_rules import check_partner
from gatepost.errors import DirectoryError, StorageError
from gatepost.message.address import parse

Sql = Callable[..., list[tuple[object, ...]]]
HEX = "a1" * 32

WRONG = [
    ("pattern", ""),
    ("pattern", "."),
    ("pattern", "Partner.test"),
    ("pattern", "Bob@partner.test"),
    ("pattern", "bücher.test"),
    ("pattern", "bob@bücher.test"),
    ("pattern", "partner..test"),
    ("pattern", "partner.test."),
    ("pattern", "*.partner.test"),
    ("pattern", "partner.test "),
    ("pattern", "bob@"),
    ("pattern", "@partner.test"),
    ("pattern", "bob@.partner.test"),
    ("demand", "quarantine"),
    ("demand", "Encrypt"),
    ("demand", ""),
    ("ladder", "pass"),
    ("ladder", "openpgp,quarantine"),
    ("ladder", "openpgp;tls"),
    ("ladder", "openpgptls"),
    ("ladder", "OpenPGP"),
    ("tls", "may"),
    ("tls", "fingerprint"),
    ("tls", "fingerprint:" + HEX[:-1]),
    ("tls", "fingerprint:" + HEX.upper()),
    ("tls", "FINGERPRINT:" + HEX),
    ("tls_name", "mx.partner.test"),
    ("tls_ca", "/etc/ssl/ca.pem"),
    ("nexthop", "relay.test/25"),
    ("nexthop", "Relay.test"),
    ("nexthop", "relay.test smtp:"),
    ("inbound", "verify"),
    ("inbound_action", "reject"),
]
RIGHT = [
    ("pattern", "partner.test"),
    ("pattern", ".partner.test"),
    ("pattern", "bob+x=y@xn--bcher-kva.test"),
    ("demand", "encrypt"),
    ("ladder", ""),
    ("ladder", "pdf"),
    ("ladder", "tls, openpgp,smime,pdf,securedoc,pickup"),
    ("tls", "verify"),
    ("tls", "mta-sts"),
    ("tls", "fingerprint:" + HEX),
    ("nexthop", "[mx.partner.test]:587"),
    ("nexthop", "[2001:db8::1]"),
    ("inbound", "tls"),
    ("inbound_action", "tempfail"),
    ("note", "anything: 'at' all\n"),
]


def _insert(sql: Sql, column: str, value: str) -> None:
    if column == "pattern":
        sql("INSERT INTO partner (pattern) VALUES (?)", value)
    else:
        sql(f"INSERT INTO partner (pattern, {column}) VALUES ('a.test', ?)", value)  # noqa: S608 - our own names


@pytest.mark.parametrize(("column", "value"), WRONG)
def test_sql_refuses_what_the_command_line_refuses(attempt: Sql, column: str, value: str) -> None:
    """An admin's slip in the shell of sqlite3 or psql is refused, not stored to be ignored."""
    with pytest.raises(DirectoryError, match=rf"constraint\b.*\b{column}_"):
        _insert(attempt, column, value)


@pytest.mark.parametrize(("column", "value"), WRONG)
def test_rules_refuse_the_same(column: str, value: str) -> None:
    """The rules for rows are at least as strict as the table's constraints."""
    ladder = tuple(value.split(",")) if column == "ladder" else ()
    row = Partner(**{"pattern": "a.test", column: ladder or value})
    with pytest.raises(DirectoryError, match=f"{column}: "):
        check_partner(row)


@pytest.mark.parametrize(("column", "value"), RIGHT)
def test_sql_takes_what_is_allowed(sql: Sql, database: Database, column: str, value: str) -> None:
    """A row that SQL takes is found and usable."""
    _insert(sql, column, value)
    (row,) = PartnerTable(database).rows()

    check_partner(row)


@pytest.mark.parametrize(
    ("there", "best"),
    [
        (["bob@a.b.test", "a.b.test", ".a.b.test", ".b.test", ".test"], "bob@a.b.test"),
        (["a.b.test", ".a.b.test", ".b.test", ".test"], "a.b.test"),
        ([".a.b.test", ".b.test", ".test"], ".a.b.test"),
        ([".b.test", ".test"], ".b.test"),
        ([".test", "b.test", "al@a.b.test", ".x.b.test", "bob@b.test"], ".test"),
        (["b.test", "test", "bob@b.test"], None),
    ],
)
def test_find_takes_the_nearest_row(sql: Sql, database: Database, there: list[str], best: str | None) -> None:
    """Address before domain before `.domain` before `.parent`; a domain without dot has no subdomains."""
    for pattern in there:
        sql("INSERT INTO partner (pattern) VALUES (?)", pattern)
    found = SqlPartners(database).find(parse(b"<Bob@A.B.test>"))

    assert (found.pattern if found else None) == best


def test_every_column_is_read(database: Database) -> None:
    """A row comes back as it was written."""
    row = Partner(
        pattern="a.test",
        demand="encrypt",
        ladder=("openpgp", "tls"),
        tls="verify",
        tls_name="mx.a.test",
        nexthop="[relay.test]",
        inbound="tls",
        inbound_action="quarantine",
        note="hello",
    )
    PartnerTable(database).add(row)

    assert SqlPartners(database).find(parse(b"x@a.test")) == row


@pytest.mark.parametrize("value", ["a[b", "]x[", "relay:x"])
def test_unusable_row_is_not_no_row(sql: Sql, database: Database, value: str) -> None:
    """A row that SQL could not judge stops its partner's mail and says which row; it is never overlooked."""
    sql("INSERT INTO partner (pattern, nexthop, demand) VALUES ('a.test', ?, 'encrypt')", value)

    with pytest.raises(StorageError, match=r"partner row a\.test cannot be used: nexthop"):
        SqlPartners(database).find(parse(b"x@a.test"))


def test_constraint_that_is_gone_opens_nothing(sql: Sql, database: Database) -> None:
    """A ladder that names no treatment is not read as an empty one, even if the constraint was switched off."""
    insert = "INSERT INTO partner (pattern, ladder) VALUES ('a.test', 'opengpg')"
    if database.file is None:
        sql("ALTER TABLE partner DROP CONSTRAINT ladder_names_treatments")
        sql(insert)
    else:
        with closing(sqlite3.connect(database.file)) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(insert)

    with pytest.raises(StorageError, match="ladder: 'opengpg' is not allowed"):
        SqlPartners(database).find(parse(b"x@a.test"))


class TestCache:
    def test_edit_by_sql_is_seen(self, sql: Sql, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """A row that is added, changed or removed by SQL counts once the remembered answer has aged."""
        now = [100.0]
        lookup = SqlPartners(database)
        monkeypatch.setattr(lookup._cached, "_clock", lambda: now[0])
        address = parse(b"x@a.test")
        assert lookup.find(address) is None
        for statement, demand in [
            ("INSERT INTO partner (pattern, demand) VALUES ('a.test', 'tls')", "tls"),
            ("UPDATE partner SET demand = 'encrypt'", "encrypt"),
            ("DELETE FROM partner", None),
        ]:
            sql(statement)
            now[0] += cache.SECONDS
            found = lookup.find(address)
            assert (found.demand if found else None) == demand

    def test_answers_are_remembered_within_the_promise(self) -> None:
        """What is promised is 5 seconds; remembering longer would break it."""
        assert cache.SECONDS < 5

    def test_answer_is_remembered(self) -> None:
        """Presence and absence cost one look-up while they are fresh."""
        asked: list[str] = []
        remembered: cache.Cache[str, None] = cache.Cache(asked.append, clock=lambda: 1.0)
        for question in ("a", "a", "b", "b"):
            remembered(question)

        assert asked == ["a", "b"]

    def test_cache_is_bounded(self) -> None:
        """A flood of new recipients does not fill the memory."""
        remembered: cache.Cache[int, int] = cache.Cache(abs, entries=10)
        for number in range(100):
            remembered(number)

        assert len(remembered._answers) <= 10

    def test_error_is_not_remembered(self) -> None:
        """A database that is back is asked again at once."""
        answers = iter([ZeroDivisionError(), 5])

        def look_up(_question: str) -> int:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        remembered: cache.Cache[str, int] = cache.Cache(look_up)
        with pytest.raises(ZeroDivisionError):
            remembered("a")

        assert remembered("a") == 5


@pytest.mark.parametrize(
    ("nexthop", "expected"),
    [
        ("a.b.test", {"a.b.test", "bob@a.b.test"}),
        ("A.b.test:25", {"a.b.test", "bob@a.b.test"}),
        ("c.b.test", {".b.test"}),
        ("4.3.2.1.c.b.test", {".b.test"}),
        ("5.4.3.2.1.c.b.test", {".b.test"}),
        ("9.8.7.6.5.4.3.2.1.b.test", {".b.test"}),
        ("elsewhere.example", set()),
        ("[relay.test]", {"x.test", "y.test"}),
        ("[relay.test]:25", set()),
        ("relay.test", {".test"}),
        ("[a.b.test]", set()),
    ],
)
def test_find_nexthop(sql: Sql, database: Database, nexthop: str, expected: set[str]) -> None:
    """At delivery a next hop obeys the rows of the domain that it is, and those that name it."""
    for pattern in ("a.b.test", "bob@a.b.test", ".b.test", ".test", "bob@b.test"):
        sql("INSERT INTO partner (pattern, tls) VALUES (?, 'verify')", pattern)
    for pattern in ("x.test", "y.test"):
        sql("INSERT INTO partner (pattern, nexthop) VALUES (?, '[relay.test]')", pattern)

    assert {row.pattern for row in SqlPartners(database).find_nexthop(nexthop)} == expected


class TestPartnerTable:
    def test_add_twice(self, database: Database) -> None:
        """A second `add` of the same pattern says what to do instead."""
        table = PartnerTable(database)
        table.add(Partner("a.test"))
        with pytest.raises(DirectoryError, match="there already"):
            table.add(Partner("a.test", demand="tls"))

    def test_change_and_remove(self, database: Database) -> None:
        """A change replaces the row, a removal removes it; neither makes one."""
        table = PartnerTable(database)
        row = Partner("a.test", ladder=("tls",))
        for act in (lambda: table.change(row), lambda: table.remove(row.pattern)):
            with pytest.raises(DirectoryError, match="not in the partner table"):
                act()
        table.add(row)
        table.change(changed := replace(row, ladder=()))
        assert table.get("a.test") == changed
        table.remove("a.test")
        assert table.get("a.test") is None

    def test_put_is_all_or_nothing(self, database: Database) -> None:
        """A row that SQL refuses takes all others back."""
        table = PartnerTable(database)
        table.add(Partner("a.test", note="old"))
        with pytest.raises(DirectoryError):
            table.put([Partner("a.test", note="new"), Partner("b.test"), Partner("C.test")])

        assert [(row.pattern, row.note) for row in table.rows()] == [("a.test", "old")]

    @pytest.mark.parametrize("content", [None, "", "no certificate"])
    def test_ca_file_must_be_readable(self, database: Database, tmp_path: Path, content: str | None) -> None:
        """A CA file that could verify nobody is refused when the row is written."""
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_text(content)
        with pytest.raises(DirectoryError, match=r"tls_ca: .*(No such file|no certificates in PEM)"):
            PartnerTable(database).add(Partner("a.test", tls="verify", tls_ca=str(path)))


_FILL = """
    INSERT INTO partner (pattern, demand)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
    SELECT CASE mod(i, 3) WHEN 0 THEN 'u@d' || i || '.test' WHEN 1 THEN 'd' || i || '.test'
           ELSE '.d' || i || '.test' END, 'encrypt' FROM n
"""


class TestIndexes:
    """Every look-up is an index search: a million partners cost as much as ten."""

    @pytest.fixture
    def fill(self, sql: Sql) -> Callable[[int], None]:
        def insert(rows: int) -> None:
            sql(_FILL.format(rows=rows))
            sql("ANALYZE")

        return insert

    @pytest.fixture
    def plans(self, database: Database) -> Callable[..., str]:
        def explain(statement: Select[Any] | CompoundSelect[Any], **values: object) -> str:
            text = statement.params(**values).compile(
                dialect=database.reader.dialect, compile_kwargs={"literal_binds": True}
            )
            command = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
            with database.reading() as connection:
                return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(f"{command} {text}"))

        return explain

    def test_find_searches(self, fill: Callable[[int], None], plans: Callable[..., str]) -> None:
        """Address, domain and parent domains are found by the primary key."""
        fill(20_000)  # for a handful PostgreSQL rightly reads the table
        _look_at_find(plans)

    def test_find_nexthop_searches(self, fill: Callable[[int], None], plans: Callable[..., str]) -> None:
        """Next hops and the domains of addresses have indexes of their own."""
        fill(20_000)
        _look_at_find_nexthop(plans)

    @pytest.mark.soak
    def test_million_rows(
        self, database: Database, fill: Callable[[int], None], plans: Callable[..., str]
    ) -> None:
        """With a million partners the plan is the same, and the right row is found."""
        fill(1_000_000)
        _look_at_find(plans)
        _look_at_find_nexthop(plans)
        lookup = SqlPartners(database)
        found = [
            lookup.find(parse(address)) for address in (b"u@d3.test", b"v@d4.test", b"v@x.d5.test", b"v@d3.test")
        ]

        assert [row.pattern if row else None for row in found] == ["u@d3.test", "d4.test", ".d5.test", None]


def _look_at_find(plans: Callable[..., str]) -> None:
    asked = {f"value{number}": f".{number}.b.test" for number in range(8)}
    plan = plans(lookup.query(list(partner.c), partner.c.pattern), **asked)

    assert "USING INDEX sqlite_autoindex_partner_1 (pattern=?)" in plan or re.search(
        "(on|using) partner_pkey", plan
    )
    assert not re.search("SCAN|Seq Scan", plan)


def _look_at_find_nexthop(plans: Callable[..., str]) -> None:
    asked_first = {f"domain{number}": f".{number}.test" for number in range(8)}
    for plan in (
        plans(partners._BY_NEXTHOP, nexthop="a.test", domains=["a.test", ".a.test"]),
        plans(partners._ANY_AT_NEXTHOP, nexthop="a.test", **asked_first),
    ):
        assert re.search(r"partner_nexthop \(nexthop=\?\)|using partner_nexthop on|on partner_nexthop ", plan)
        assert re.search(r"partner_domain \(<expr>=\?\)|using partner_domain on|on partner_domain ", plan)
        assert not re.search("SCAN partner|Seq Scan", plan)
