"""Postfix's alias tables: asked through postmap, and never taken for empty when they cannot be asked."""

import os
import time
from pathlib import Path

import pytest

from gatepost.errors import AliasError, ConfigError
from gatepost.gateway.alias_keys import Key
from gatepost.gateway.aliases import Table
from gatepost.mta.postfix import files
from gatepost.mta.postfix import tables as asked
from gatepost.mta.postfix.aliases import PostfixAliases

pytestmark = pytest.mark.real

_ANN = [Key("ann+x@hosp.test", whole=True), Key("ann@hosp.test", "+x"), Key("@hosp.test")]


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """Give a Postfix configuration directory without any table."""
    (tmp_path / "master.cf").write_text("")
    _write(tmp_path)
    return tmp_path


def _write(folder: Path, **settings: str) -> None:
    main = {"compatibility_level": "3.6", "myhostname": "mail.hosp.test", "alias_maps": ""} | settings
    (folder / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))


def _table(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return f"texthash:{folder / name}"


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Note every command that is started to ask a table."""
    started: list[tuple[str, ...]] = []
    run = asked.subprocess.run

    def noted(command: tuple[str, ...], **arguments: object) -> object:
        started.append(command)
        return run(command, **arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(asked.subprocess, "run", noted)
    return started


class TestHabits:
    def test_empty_parameters_start_no_process(
        self, configured: Path, processes: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where there are no tables, postconf is asked once and postmap never."""
        tables = PostfixAliases(configured)
        assert frozenset() == tables.habits().tables
        asked = len(processes)
        monkeypatch.setattr(files, "read_configuration", None)  # would fail if it were asked again

        assert frozenset() == tables.habits().tables
        assert [] == [command for command in processes if command[0] == "postmap"]
        assert asked == len(processes)

    def test_a_change_of_main_cf_is_seen(self, configured: Path) -> None:
        """main.cf is read again once it has changed."""
        tables = PostfixAliases(configured)
        assert frozenset() == tables.habits().tables
        _write(configured, virtual_alias_maps="inline:{a=b}", recipient_delimiter="+")
        os.utime(configured / "main.cf", (time.time() + 5,) * 2)

        assert frozenset({Table.VIRTUAL}) == tables.habits().tables
        assert tables.habits().recipient_delimiter == "+"

    def test_classes_count(self, configured: Path) -> None:
        """Canonical maps count only where their classes name the envelope's recipients."""
        _write(configured, canonical_maps="inline:{a=b}", canonical_classes="header_sender")

        assert frozenset() == PostfixAliases(configured).habits().tables

    def test_alias_maps_count_where_local_delivers(self, configured: Path) -> None:
        """alias_maps belong to local(8): with another local_transport nobody follows them."""
        _write(configured, alias_maps="inline:{a=b}", local_transport="lmtp:unix:private/lmtp")
        assert frozenset() == PostfixAliases(configured).habits().tables

        _write(configured, alias_maps="inline:{a=b}")
        assert frozenset({Table.LOCAL}) == PostfixAliases(configured).habits().tables

    def test_no_configuration_is_an_error(self, tmp_path: Path) -> None:
        """Without main.cf nobody knows, and that is told."""
        with pytest.raises(AliasError, match=r"main.cf cannot be read .*aliases cannot be followed"):
            PostfixAliases(tmp_path).habits()

    def test_a_configuration_that_postfix_cannot_read_is_an_error(self, configured: Path) -> None:
        """What Postfix cannot read says nothing of aliases."""
        (configured / "main.cf").write_text("no sense\n")

        with pytest.raises(ConfigError, match="cannot read this configuration"):
            PostfixAliases(configured).habits()


class TestLocalDomains:
    @pytest.mark.parametrize(
        ("mydestination", "expected"),
        [
            ("box.hosp.test, $myhostname", True),
            ("BOX.hosp.test", True),
            ("inline:{ {box.hosp.test = 1} }", True),
            ("hosp.test", False),
            ("", False),
        ],
    )
    def test_mydestination(self, configured: Path, mydestination: str, *, expected: bool) -> None:
        """Domains and tables of domains are followed."""
        _write(configured, alias_maps="inline:{a=b}", mydestination=mydestination)

        assert expected == PostfixAliases(configured).is_local("box.hosp.test")

    def test_a_file_of_domains(self, configured: Path) -> None:
        """A file names domains too."""
        (configured / "domains").write_text("hosp.test\nbox.hosp.test\n")
        _write(configured, alias_maps="inline:{a=b}", mydestination=f"{configured}/domains")

        assert PostfixAliases(configured).is_local("box.hosp.test")

    @pytest.mark.parametrize("mydestination", ["!box.hosp.test, hosp.test", "/nowhere/domains"])
    def test_what_cannot_be_followed_is_an_error(self, configured: Path, mydestination: str) -> None:
        """A list that cannot be read is never taken for an empty one."""
        _write(configured, alias_maps="inline:{a=b}", mydestination=mydestination)

        with pytest.raises(AliasError, match="mydestination"):
            PostfixAliases(configured).is_local("box.hosp.test")


class TestFind:
    def test_the_first_key_wins_and_then_the_first_map(self, configured: Path) -> None:
        """Key by key, each through all maps in their order, as Postfix does."""
        first = _table(configured, "first", "@hosp.test catchall@out.test\nann@hosp.test one@out.test\n")
        second = _table(configured, "second", "ann@hosp.test two@out.test\nbob@hosp.test three@out.test\n")
        _write(configured, virtual_alias_maps=f"{first}, {second}")
        tables = PostfixAliases(configured)

        assert (_ANN[1], "one@out.test") == tables.find(Table.VIRTUAL, _ANN)
        bob = [Key("bob@hosp.test", whole=True), Key("@hosp.test")]
        assert (bob[0], "three@out.test") == tables.find(Table.VIRTUAL, bob)

    def test_one_process_for_all_keys_of_a_map(self, configured: Path, processes: list[tuple[str, ...]]) -> None:
        """Keys go together, by standard input."""
        _write(configured, virtual_alias_maps=_table(configured, "map", "@hosp.test x@out.test\n"))
        PostfixAliases(configured).find(Table.VIRTUAL, _ANN)

        asked = [command for command in processes if command[0] == "postmap"]
        assert [("-q", "-")] == [command[3:5] for command in asked]

    def test_patterns_see_the_whole_address_alone(self, configured: Path) -> None:
        """A pattern that would match a part of the address does not count."""
        (configured / "patterns").write_text("/^@hosp/ wrong@out.test\n/^(.*)\\+x@hosp\\.test$/ $1@out.test\n")
        _write(configured, virtual_alias_maps=f"regexp:{configured}/patterns")
        tables = PostfixAliases(configured)

        assert (_ANN[0], "ann@out.test") == tables.find(Table.VIRTUAL, _ANN)
        assert tables.find(Table.VIRTUAL, [Key("bob@hosp.test", whole=True), Key("@hosp.test")]) is None

    def test_a_list_with_braces(self, configured: Path) -> None:
        """Names of maps may hold braces, blanks and commas."""
        _write(configured, virtual_alias_maps="inline:{ {a@x = b@y, c@y} }, proxy:inline:{ d@x=e@y }")
        tables = PostfixAliases(configured)
        keys = [Key("a@x"), Key("d@x")]

        assert (keys[0], "b@y, c@y") == tables.find(Table.VIRTUAL, keys[:1])
        assert (keys[1], "e@y") == tables.find(Table.VIRTUAL, keys[1:])

    @pytest.mark.parametrize("name", ["texthash:/nowhere/table", "nosuch:/type", "hash:/nowhere/table"])
    def test_a_table_that_cannot_be_asked_is_an_error(self, configured: Path, name: str) -> None:
        """Postfix would put the mail off, and so is ours."""
        _write(configured, virtual_alias_maps=name)

        with pytest.raises(AliasError, match=f"the alias table {name} cannot be asked"):
            PostfixAliases(configured).find(Table.VIRTUAL, _ANN)

    def test_a_table_that_does_not_answer_is_an_error(
        self, configured: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The wait for a table is bounded."""
        _write(configured, virtual_alias_maps="inline:{a=b}")
        tables = PostfixAliases(configured)
        tables.habits()
        hanging = tmp_path / "bin" / "postmap"
        hanging.parent.mkdir()
        hanging.write_text("#!/bin/sh\nexec sleep 30\n")
        hanging.chmod(0o755)
        monkeypatch.setenv("PATH", f"{hanging.parent}:{os.environ['PATH']}")
        monkeypatch.setattr(asked, "_TIMEOUT", 0.2)

        with pytest.raises(AliasError, match="did not answer"):
            tables.find(Table.VIRTUAL, _ANN)

    def test_postmap_that_is_gone_is_an_error(self, configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without postmap nobody can tell."""
        _write(configured, virtual_alias_maps="inline:{a=b}")
        tables = PostfixAliases(configured)
        tables.habits()
        monkeypatch.setenv("PATH", "/nowhere")

        with pytest.raises(AliasError, match="postmap cannot be started"):
            tables.find(Table.VIRTUAL, _ANN)
