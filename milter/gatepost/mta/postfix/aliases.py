"""
Postfix's alias tables, asked through its own commands: `postconf` for the parameters, `postmap -q` for entries.

Where all four are empty no process is ever started.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatepost.errors import AddressError, AliasError
from gatepost.gateway.alias_keys import Key
from gatepost.gateway.aliases import Habits, Table
from gatepost.message.address import normal_domain
from gatepost.mta.postfix import files
from gatepost.mta.postfix.tables import Remembered, Tables, is_patterns, is_table, maps

_CLASSES = {Table.CANONICAL: "canonical_classes", Table.RECIPIENT_CANONICAL: "recipient_canonical_classes"}
_PARAMETERS = (
    *Table,
    *_CLASSES.values(),
    "mydestination",
    "local_transport",
    "myorigin",
    "mydomain",
    "append_dot_mydomain",
    "recipient_delimiter",
    "propagate_unmatched_extensions",
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What main.cf says."""

    habits: Habits
    maps: Mapping[Table, tuple[str, ...]]
    local: tuple[str, ...]  # domains in lower case, and tables of domains


class PostfixAliases:
    """
    The tables of the Postfix configured in `directory`; an implementation of `AliasTables`.

    Where Postfix has `expanded` aliases already, what local(8) does at delivery is all that is left.
    """

    def __init__(self, directory: Path, *, expanded: bool = False) -> None:
        self._directory = directory
        self._tables = Tables(
            directory, "alias table", "aliases cannot be followed", ", or set [gateway] aliases", AliasError
        )
        self._expanded = expanded
        self._now = Remembered(self._tables, self._read)

    def habits(self) -> Habits:
        """Give what main.cf says now; raises AliasError, ConfigError."""
        return self._now().habits

    def find(self, table: Table, keys: Sequence[Key]) -> tuple[Key, str] | None:
        """Ask every map of the parameter; the first key wins, and for one key the first map. Raises AliasError."""
        best: tuple[int, str] | None = None
        for name in self._now().maps[table]:
            asked = [key.text for key in keys if key.whole or not is_patterns(name)]
            if table is Table.LOCAL and is_patterns(name):
                asked = [key.text for key in keys]
            answers = self._tables.ask(name, asked)
            found = next((place for place, key in enumerate(keys) if key.text in answers), None)
            if found is not None and (best is None or found < best[0]):
                best = (found, answers[keys[found].text])
        return None if best is None else (keys[best[0]], best[1])

    def is_local(self, domain: str) -> bool:
        """Tell whether mydestination names the domain; raises AliasError."""
        known = self._now().local
        return domain.lower() in known or any(
            bool(self._tables.ask(name, [domain])) for name in known if is_table(name)
        )

    def tables(self, domains: Sequence[str]) -> tuple[str, ...]:
        """Name the tables that are asked for addresses in these domains; raises AliasError, ConfigError."""
        known = self._now().maps
        local = any(self.is_local(domain) for domain in domains) if known[Table.LOCAL] else False
        return tuple(name for table, names in known.items() if local or table is not Table.LOCAL for name in names)

    def local_domains(self) -> tuple[str, ...]:
        """Name the domains that stand in mydestination; raises AliasError, ConfigError."""
        return tuple(name for name in self._now().local if not is_table(name))

    def try_table(self, name: str) -> None:
        """Ask a table for what is not there; raises AliasError where it cannot be asked."""
        self._tables.ask(name, ["gatepost-doctor@invalid"])

    def _read(self) -> _Known:
        values = files.read_configuration(self._directory).values(_PARAMETERS, expand=True)
        return _known(values, expanded=self._expanded)


def _known(values: Mapping[str, str], *, expanded: bool) -> _Known:
    named = {table: tuple(maps(values[table])) for table in Table}
    for table, classes in _CLASSES.items():
        if "envelope_recipient" not in _words(values[classes]):
            named[table] = ()
    if expanded:
        named |= {table: () for table in Table if table is not Table.LOCAL}
    if _words(values["local_transport"])[:1] != ["local"]:
        named[Table.LOCAL] = ()
    return _Known(
        Habits(
            tables=frozenset(table for table in Table if named[table]),
            myorigin=_first_line(values["myorigin"]),
            append_dot=values["mydomain"] if values["append_dot_mydomain"] == "yes" else "",
            recipient_delimiter=values["recipient_delimiter"],
            propagate=frozenset(_words(values["propagate_unmatched_extensions"])),
        ),
        named,
        _local(values["mydestination"]) if any(named.values()) else (),
    )


def _first_line(value: str) -> str:
    """Give a domain, or what the file says that is named in its place (postconf(5): myorigin)."""
    if not value.startswith("/"):
        return normal_domain(value)
    try:
        return normal_domain(Path(value).read_text(encoding="utf-8").split()[0])
    except (OSError, IndexError, UnicodeDecodeError, AddressError) as error:
        raise AliasError(f"myorigin: the file {value} cannot be read: {error}") from error


def _local(mydestination: str) -> tuple[str, ...]:
    """Read mydestination, which may hold domains, tables, and files of domains; raises AliasError."""
    found: list[str] = []
    for word in maps(mydestination):
        if word.startswith("!"):
            raise AliasError(f"mydestination: {word} cannot be followed; name the domains that local(8) serves")
        if word.startswith("/"):
            try:
                found += _local(Path(word).read_text(encoding="utf-8"))
            except OSError as error:
                raise AliasError(f"mydestination: {word} cannot be read ({error.strerror})") from error
        else:
            found.append(word if is_table(word) else normal_domain(word))
    return tuple(found)


def _words(value: str) -> list[str]:
    return value.replace(",", " ").replace(":", " ").split()
