"""The schema's version, and the texts that are made from the migrations."""

import os
import sqlite3
import stat
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
from alembic import command
from alembic.runtime.migration import MigrationContext
from lab.postgresql import ROLE, PostgreSQL
from sqlalchemy import inspect, make_url

from gatepost.db import schema
from gatepost.db.engine import Database
from gatepost.db.tables import metadata
from gatepost.errors import ConfigError


def _objects(file: Path) -> set[str]:
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
    found = {_normal(text) for (text,) in rows}
    connection.close()
    return found


def _normal(text: str) -> str:
    """Put an object's parts in one order: a migration may write constraints in another than the tables."""
    for sign in "()":
        text = text.replace(sign, f" {sign} ")
    return " ".join(sorted(text.replace(",", " ").replace("partner.pattern", "pattern").split()))


def test_migrations_make_the_tables(file: Path, tmp_path: Path) -> None:
    """What the migrations make is what the code believes to be there, constraints and comments included."""
    database = Database(f"sqlite:///{tmp_path}/tables.db")
    with database.writing() as writing:
        metadata.create_all(writing)
    database.close()

    assert _objects(tmp_path / "tables.db") == _objects(file)


def _dumped(postgresql: PostgreSQL, name: str) -> list[str]:
    """Give what pg_dump tells of a database's schema, in one order, without its remarks."""
    lines = (line.strip().rstrip(",") for line in postgresql.dump(name).splitlines())
    return sorted(line for line in lines if line and not line.startswith(("--", "\\")))


@pytest.mark.real
def test_migrations_make_the_tables_on_postgresql(
    postgresql: PostgreSQL, new_database: Callable[..., str]
) -> None:
    """Migrations, tables and the schema file for DBAs make the same, constraints and comments included."""
    by_tables, by_file = (make_url(new_database("postgresql", empty=True)).database or "" for _ in range(2))
    database = Database(postgresql.url(by_tables))
    with database.writing() as writing:
        metadata.create_all(writing)
        MigrationContext.configure(writing)._ensure_version_table()
    database.close()
    postgresql.psql(
        resources.files("gatepost.sql").joinpath("schema.postgresql.sql").read_text(), by_file, role=ROLE
    )
    expected = _dumped(postgresql, "migrated")

    assert any(line.startswith("CONSTRAINT pattern_is_address_domain_or_dot_domain CHECK") for line in expected)
    assert any(line.startswith("COMMENT ON COLUMN public.partner.pattern") for line in expected)
    assert _dumped(postgresql, by_tables) == expected
    assert _dumped(postgresql, by_file) == expected


def test_down_and_up(database: Database) -> None:
    """Every migration can be taken back, and made again."""
    tables = set(inspect(database.reader).get_table_names())
    config = schema._config()
    with database.writing() as writing:
        config.attributes["connection"] = writing
        command.downgrade(config, "base")
    assert set(inspect(database.reader).get_table_names()) == {"alembic_version"}
    schema.upgrade(database)

    schema.check(database)
    assert set(inspect(database.reader).get_table_names()) == tables


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_schema_files_are_current(dialect: str) -> None:
    """The schema for DBAs is what the migrations make; `gatepost db sql DIALECT` writes it anew."""
    written = resources.files("gatepost.sql").joinpath(f"schema.{dialect}.sql").read_text()

    assert schema.ddl(dialect) == written


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_partner_columns_are_explained(dialect: str) -> None:
    """An admin who reads the schema finds what each column may hold."""
    text = schema.ddl(dialect).replace("''", "'")

    assert all(column.comment and column.comment in text for column in metadata.tables["partner"].columns)


def test_upgrade_is_idempotent(database: Database) -> None:
    """Upgrading a database that is up to date changes nothing."""
    schema.upgrade(database)
    schema.check(database)

    assert schema.current(database) == schema.newest()


def test_new_file_is_not_for_others(tmp_path: Path) -> None:
    """Only owner and group may read the database, whatever the umask."""
    old = os.umask(0)
    try:
        schema.upgrade(database := Database(f"sqlite:///{tmp_path}/new.db"))
    finally:
        os.umask(old)
    database.close()

    assert not stat.S_IMODE((tmp_path / "new.db").stat().st_mode) & 0o007


@pytest.mark.parametrize(("folder", "file"), [(0o2770, 0o660), (0o755, 0o640), (0o700, 0o600)])
def test_new_file_is_shared_as_its_directory(tmp_path: Path, folder: int, file: int) -> None:
    """Where a group shares the directory it may write the database and what SQLite puts beside it."""
    tmp_path.chmod(folder)
    old = os.umask(0o022)
    try:
        schema.upgrade(database := Database(f"sqlite:///{tmp_path}/new.db"))
        beside = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(old)
    database.close()

    assert beside == {"new.db": file, "new.db-wal": file, "new.db-shm": file}


@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root")
def test_new_file_of_root_belongs_to_the_directory(tmp_path: Path) -> None:
    """What root makes, with the files that SQLite puts beside it, belongs to whom the directory belongs to."""
    os.chown(tmp_path, 12345, 23456)
    schema.upgrade(database := Database(f"sqlite:///{tmp_path}/new.db"))
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()}
    database.close()

    assert owners == dict.fromkeys(("new.db", "new.db-wal", "new.db-shm"), (12345, 23456))


def test_missing_database_is_not_made_by_looking(tmp_path: Path) -> None:
    """A daemon that starts without its database says so and leaves no empty file."""
    database = Database(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(ConfigError, match=r"is not there: .*`gatepost db upgrade`"):
        schema.check(database)

    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("version", "told"), [("9999", "of a later Gatepost"), ("", "no Gatepost schema"), ("0000", "of a later")]
)
def test_other_schema_stops_the_start(
    database: Database, sql: Callable[..., list[tuple[object, ...]]], version: str, told: str
) -> None:
    """A daemon never runs on a schema that it does not know."""
    sql("DELETE FROM alembic_version")
    if version:
        sql("INSERT INTO alembic_version VALUES (?)", version)

    with pytest.raises(ConfigError, match=told):
        schema.check(database)


def test_older_schema_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that was updated before its database says what to run."""
    before = schema.newest()
    monkeypatch.setattr(schema, "newest", lambda: "9999")

    with pytest.raises(ConfigError, match=f"older schema {before}: run `gatepost db upgrade`"):
        schema.check(database)


def test_later_schema_is_not_touched(database: Database, sql: Callable[..., list[tuple[object, ...]]]) -> None:
    """Upgrading with an older Gatepost is refused in one line."""
    sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(ConfigError, match="9999 of a later Gatepost"):
        schema.upgrade(database)


def test_events_outlive_the_way_to_stamps_and_back(tmp_path: Path) -> None:
    """Events that were there before stamps keep their content; their number becomes their place. And back."""
    database = Database(f"sqlite:///{tmp_path}/old.db")
    schema.upgrade(database)
    _move(database, "0002")
    with database.writing() as writing:
        writing.exec_driver_sql("INSERT INTO event (at, queue_id) VALUES ('2026-05-01 00:00:00', 'Q')")
    before = _objects(tmp_path / "old.db")
    schema.upgrade(database)
    with database.reading() as reading:
        rows = reading.exec_driver_sql("SELECT queue_id, kind, host, sequence FROM event").all()
    _move(database, "0002")
    database.close()

    assert rows == [("Q", "message", "", 1)]
    assert _objects(tmp_path / "old.db") == before


def _move(database: Database, version: str) -> None:
    config = schema._config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)


def test_look_ups_go_and_come_without_a_trace(tmp_path: Path) -> None:
    """The cache of look-ups can be taken back and made again; nothing else changes by it."""
    database = Database(f"sqlite:///{tmp_path}/old.db")
    schema.upgrade(database)
    newest = _objects(tmp_path / "old.db")
    with database.writing() as writing:
        writing.exec_driver_sql("INSERT INTO partner (pattern) VALUES ('p.test')")
        writing.exec_driver_sql("INSERT INTO discovery VALUES ('p.test', '{}', '2026-05-01', '2026-05-01')")
    _move(database, "0003")
    before = _objects(tmp_path / "old.db")
    schema.upgrade(database)
    with database.reading() as reading:
        rows = reading.exec_driver_sql(
            "SELECT (SELECT count(*) FROM partner), (SELECT count(*) FROM discovery)"
        ).all()
    database.close()

    assert rows == [(1, 0)]
    assert not any("discovery" in text or "sts_policy" in text for text in before)
    assert _objects(tmp_path / "old.db") == newest
