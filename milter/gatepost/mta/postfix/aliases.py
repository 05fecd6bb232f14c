"""
Postfix's alias tables, asked through its own commands: `postconf` for the parameters, `postmap -q` for entries.

The parameters are read once, and again when main.cf has changed. Where all four are empty no process is ever
started. No shell is involved; keys go to postmap by standard input. `proxy:` is taken off a table's name, since
proxymap(8) serves Postfix's own processes only: the table behind it is asked.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from gatepost.errors import AddressError, AliasError
from gatepost.gateway.alias_keys import Key
from gatepost.gateway.aliases import Habits, Table
from gatepost.message.address import normal_domain
from gatepost.mta.postfix import files

_TIMEOUT = 10.0  # seconds for one question
_PATTERNS = frozenset({"regexp", "pcre", "cidr", "tcp"})
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
_TROUBLE = re.compile(r"\b(?:fatal|error|panic): ")

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Known:
    """What main.cf said when it was last read."""

    stamp: _Stamp
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
        self._expanded = expanded
        self._known: _Known | None = None
        self._lock = Lock()

    def habits(self) -> Habits:
        """Give what main.cf says now; raises AliasError, ConfigError."""
        return self._now().habits

    def find(self, table: Table, keys: Sequence[Key]) -> tuple[Key, str] | None:
        """Ask every map of the parameter; the first key wins, and for one key the first map. Raises AliasError."""
        best: tuple[int, str] | None = None
        for name in self._now().maps[table]:
            asked = [key.text for key in keys if key.whole or not _is_patterns(name)]
            if table is Table.LOCAL and _is_patterns(name):
                asked = [key.text for key in keys]
            answers = self._ask(name, asked)
            found = next((place for place, key in enumerate(keys) if key.text in answers), None)
            if found is not None and (best is None or found < best[0]):
                best = (found, answers[keys[found].text])
        return None if best is None else (keys[best[0]], best[1])

    def is_local(self, domain: str) -> bool:
        """Tell whether mydestination names the domain; raises AliasError."""
        known = self._now().local
        return domain.lower() in known or any(bool(self._ask(name, [domain])) for name in known if _is_table(name))

    def tables(self, domains: Sequence[str]) -> tuple[str, ...]:
        """Name the tables that are asked for addresses in these domains; raises AliasError, ConfigError."""
        maps = self._now().maps
        local = any(self.is_local(domain) for domain in domains) if maps[Table.LOCAL] else False
        return tuple(name for table, names in maps.items() if local or table is not Table.LOCAL for name in names)

    def local_domains(self) -> tuple[str, ...]:
        """Name the domains that stand in mydestination; raises AliasError, ConfigError."""
        return tuple(name for name in self._now().local if not _is_table(name))

    def try_table(self, name: str) -> None:
        """Ask a table for what is not there; raises AliasError where it cannot be asked."""
        self._ask(name, ["gatepost-doctor@invalid"])

    def _now(self) -> _Known:
        stamp = self._stamp()
        known = self._known
        if known is None or known.stamp != stamp:
            with self._lock:
                known = self._known
                if known is None or known.stamp != stamp:
                    known = self._known = _known(stamp, self._values(), expanded=self._expanded)
        return known

    def _stamp(self) -> _Stamp:
        try:
            found = (self._directory / "main.cf").stat()
        except OSError as error:
            raise AliasError(
                f"{self._directory}/main.cf cannot be read ({error.strerror}), so aliases cannot be followed: set "
                "[postfix] config_directory, or [gateway] aliases"
            ) from error
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def _values(self) -> dict[str, str]:
        return files.read_configuration(self._directory).values(_PARAMETERS, expand=True)

    def _ask(self, name: str, keys: Sequence[str]) -> dict[str, str]:
        """Look several keys up in one map; raises AliasError unless it was asked and answered."""
        command = ("postmap", "-c", str(self._directory), "-q", "-", name)
        asked = "".join(f"{key}\n" for key in keys).encode("utf-8", "surrogateescape")
        try:
            done = subprocess.run(command, input=asked, capture_output=True, check=False, timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AliasError(f"the alias table {name} did not answer within {_TIMEOUT:.0f} s") from None
        except OSError as error:
            raise AliasError(f"postmap cannot be started to ask {name}: {error.strerror}") from error
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode not in {0, 1} or _TROUBLE.search(said):
            raise AliasError(
                f"the alias table {name} cannot be asked: {' '.join(said.split())}; Gatepost's user must be able "
                "to read it, or set [gateway] aliases"
            )
        return _answers(done.stdout.decode("utf-8", "surrogateescape"), keys)


def _answers(printed: str, keys: Sequence[str]) -> dict[str, str]:
    """Read lines of key, tab and entry."""
    lines = (line.partition("\t") for line in printed.split("\n") if line)
    found = {key: entry for key, _, entry in lines}
    if not found.keys() <= set(keys):
        raise AliasError("postmap answered what it was not asked")
    return found


def _known(stamp: _Stamp, values: Mapping[str, str], *, expanded: bool) -> _Known:
    maps = {table: tuple(_maps(values[table])) for table in Table}
    for table, classes in _CLASSES.items():
        if "envelope_recipient" not in _words(values[classes]):
            maps[table] = ()
    if expanded:
        maps |= {table: () for table in Table if table is not Table.LOCAL}
    if _words(values["local_transport"])[:1] != ["local"]:
        maps[Table.LOCAL] = ()
    return _Known(
        stamp,
        Habits(
            tables=frozenset(table for table in Table if maps[table]),
            myorigin=_first_line(values["myorigin"]),
            append_dot=values["mydomain"] if values["append_dot_mydomain"] == "yes" else "",
            recipient_delimiter=values["recipient_delimiter"],
            propagate=frozenset(_words(values["propagate_unmatched_extensions"])),
        ),
        maps,
        _local(values["mydestination"]) if any(maps.values()) else (),
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
    for word in _maps(mydestination):
        if word.startswith("!"):
            raise AliasError(f"mydestination: {word} cannot be followed; name the domains that local(8) serves")
        if word.startswith("/"):
            try:
                found += _local(Path(word).read_text(encoding="utf-8"))
            except OSError as error:
                raise AliasError(f"mydestination: {word} cannot be read ({error.strerror})") from error
        else:
            found.append(word if _is_table(word) else normal_domain(word))
    return tuple(found)


def _maps(value: str) -> Iterator[str]:
    """Split a list at commas and white space outside braces; `proxy:` is taken off."""
    for word in re.findall(r"(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|[^\s,{}])+", value):
        yield word.removeprefix("proxy:")


def _words(value: str) -> list[str]:
    return value.replace(",", " ").replace(":", " ").split()


def _is_table(name: str) -> bool:
    return ":" in name and not name.startswith("[")


def _is_patterns(name: str) -> bool:
    return name.partition(":")[0] in _PATTERNS
