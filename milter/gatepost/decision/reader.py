"""
Reads rules from TOML files: files by name, rules by position.

Nothing is guessed: an unknown key, a wrong type, a bad pattern, an empty `when` without `everything = true`, a
detector that is not installed, a name used twice are faults. All of them are told at once, each with its file
and rule.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatepost.decision import condition as conditions
from gatepost.decision.condition import Condition
from gatepost.decision.demand import PROTECTING, Demand, Treatment
from gatepost.decision.pattern import Expression, Glob
from gatepost.decision.rules import Rule, RuleSet
from gatepost.errors import ConfigError
from gatepost.message.direction import Direction
from gatepost.message.subject import Tags

_FLAGS = frozenset({"mark", "notify", "pilot", "tls_protects", "always"})
_KEYS = _FLAGS | {"name", "when", "demand", "ladder"}
_TABLES = frozenset({"rule", "example"})
UNREADABLE = "unreadable"  # a find of its own: what no detector could look into


def read_rules(directory: Path, detectors: frozenset[str]) -> RuleSet:
    """
    Read every `*.toml` of a directory; `detectors` names those that are installed.

    Raises ConfigError with every fault.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory}: is no directory; rules are read from the *.toml files in it")
    reading = _Reading(detectors | {UNREADABLE} if detectors else detectors)
    for path in rule_files(directory):
        reading.file(path)
    return reading.result()


def rule_files(directory: Path) -> list[Path]:
    """List a directory's rules files in reading order; what editors leave behind, `.name`, is no rules file."""
    return sorted(path for path in directory.glob("*.toml") if not path.name.startswith("."))


class _Reading:
    """The rules read so far, and the faults found."""

    def __init__(self, detectors: frozenset[str]) -> None:
        self.detectors = detectors
        self.rules: list[Rule] = []
        self.faults: list[str] = []
        self.places: dict[str, str] = {}
        self.tags: list[str] = []
        self.needs_body = False

    def result(self) -> RuleSet:
        """Give the rules; raises ConfigError if there was a fault."""
        if self.faults:
            raise ConfigError(*self.faults)
        return RuleSet(tuple(self.rules), Tags.of(self.tags), self.needs_body)

    def file(self, path: Path) -> None:
        """Read one file."""
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self.faults.append(f"{path}: cannot be read: {error}")
            return
        for key in sorted(tables.keys() - _TABLES):
            self.faults.append(f"{path}: unknown key {key!r}; rules stand in [[rule]]")
        entries = tables.get("rule", [])
        if not isinstance(entries, list):
            self.faults.append(f"{path}: write [[rule]], with two brackets")
            return
        for position, entry in enumerate(entries, start=1):
            self.rule(path, position, entry)

    def rule(self, path: Path, position: int, entry: Any) -> None:  # noqa: ANN401 - as TOML gives it
        """Read one rule."""
        name = entry.get("name") if isinstance(entry, dict) else None
        place = f"{path}: rule {name!r}" if isinstance(name, str) and name else f"{path}: rule {position}"
        if not isinstance(entry, dict):
            self.faults.append(f"{place}: is no table")
            return
        parsed = _Entry(place, self.detectors)
        rule = parsed.rule(entry)
        if isinstance(name, str) and name in self.places:
            parsed.fault(f"the name is taken by a rule in {self.places[name]}")
        self.faults += parsed.faults
        if rule is None or parsed.faults:
            return
        self.places[rule.name] = str(path)
        self.rules.append(rule)
        self.tags += parsed.tags
        self.needs_body |= parsed.detects


class _Entry:
    """One rule being read."""

    def __init__(self, place: str, detectors: frozenset[str]) -> None:
        self.place = place
        self.detectors = detectors
        self.faults: list[str] = []
        self.tags: list[str] = []
        self.detects = False

    def fault(self, text: str) -> None:
        """Note what is wrong."""
        self.faults.append(f"{self.place}: {text}")

    def rule(self, entry: Mapping[str, Any]) -> Rule | None:
        """Read the rule's table; None where a fault leaves nothing to build."""
        for key in sorted(entry.keys() - _KEYS):
            self.fault(f"unknown key {key!r}; allowed: {', '.join(sorted(_KEYS))}")
        name = entry.get("name")
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            self.fault("needs a name, one line of text")
        condition = self.when(entry.get("when"))
        demand = self.demand(entry.get("demand"))
        ladder = self.ladder(entry.get("ladder", []), demand)
        flags = {key: entry[key] for key in sorted(_FLAGS & entry.keys())}
        for key, value in flags.items():
            if not isinstance(value, bool):
                self.fault(f"{key} is true or false")
            elif key == "always" and not self.detects:
                self.fault(f"{key} has a meaning only with detect in when")
        if self.faults or condition is None or demand is None or not isinstance(name, str):
            return None
        return Rule(name, condition, demand, ladder, detects=self.detects, **flags)

    def demand(self, word: object) -> Demand | None:
        """Read the demand."""
        try:
            return Demand.of(str(word))
        except KeyError:
            words = ", ".join(demand.word for demand in Demand)
            self.fault(f"demand is one of {words}" + ("" if word is None else f", not {word!r}"))
            return None

    def ladder(self, words: object, demand: Demand | None) -> tuple[Treatment, ...]:
        """Read the ladder; a rung must meet the rule's demand."""
        if not isinstance(words, list):
            self.fault("ladder is a list of treatments, best first")
            return ()
        faults = ladder_faults(words, demand or Demand.NONE)
        for text in faults:
            self.fault(text)
        return () if faults else tuple(Treatment(word) for word in words)

    def when(self, table: object) -> Condition | None:
        """Read the rule's `when`."""
        if not isinstance(table, dict) or not table:
            self.fault("when is empty; for a rule that matches everything write when = { everything = true }")
            return None
        if "everything" in table:
            if table != {"everything": True}:
                self.fault("everything = true stands alone in when")
            return conditions.Everything()
        return self.all_of(table, "when")

    def all_of(self, table: object, where: str) -> Condition | None:
        """Read a table of conditions, all of which must hold."""
        if not isinstance(table, dict) or not table:
            self.fault(f"{where} needs at least one condition")
            return None
        found: list[Condition | None] = []
        if "at_least" in table and "detect" not in table:
            self.fault(f"{where}.at_least needs detect beside it")
        for key, value in table.items():
            if key == "at_least":
                continue
            if key == "detect":
                found.append(self.detect(value, table.get("at_least", 1), f"{where}.detect"))
            elif key == "header":
                found += self.headers(value, f"{where}.header")
            elif key.startswith("header."):
                found += self.headers({key.removeprefix("header."): value}, f"{where}.header")
            elif key in _READERS:
                found.append(self.guarded(key, value, f"{where}.{key}"))
            else:
                self.fault(f"unknown condition {where}.{key}; allowed: {', '.join(_CONDITIONS)}")
        kept = tuple(item for item in found if item is not None)
        return kept[0] if len(kept) == 1 else conditions.AllOf(kept) if kept else None

    def guarded(self, key: str, value: object, where: str) -> Condition | None:
        """Read one condition; note its fault."""
        try:
            return _READERS[key](self, value, where)
        except ValueError as error:
            self.fault(f"{where}: {error}")
            return None

    def headers(self, table: object, where: str) -> list[Condition | None]:
        """Read header.NAME conditions."""
        if not isinstance(table, dict) or not table:
            self.fault(f"{where} needs a field's name: header.NAME = 'regular expression'")
            return []
        found: list[Condition | None] = []
        for name, value in table.items():
            if not _is_field_name(name):
                self.fault(f"{where}: {name!r} is no field name")
                continue
            try:
                expressions = tuple(map(Expression.of, _texts(value)))
                found.append(conditions.HeaderMatches(name.lower().encode("ascii"), expressions))
            except ValueError as error:
                self.fault(f"{where}.{name}: {error}")
        return found

    def detect(self, value: object, at_least: object, where: str) -> Condition | None:
        """Read a detect condition: every detector must be installed."""
        self.detects = True
        try:
            names = _texts(value)
            count = _count(at_least, 1)
        except ValueError as error:
            self.fault(f"{where}: {error}")
            return None
        for name in sorted(set(names) - self.detectors):
            known = ", ".join(sorted(self.detectors)) or "none"
            self.fault(f"{where}: no detector {name!r} is installed, it would never match; there are: {known}")
        return conditions.Detect(frozenset(names), count)

    def subject_tag(self, value: object, _where: str) -> Condition:
        """Read subject tags."""
        words = _texts(value)
        Tags.of(words)
        self.tags += words
        return conditions.SubjectTag(frozenset(words))

    def several(self, value: object, where: str) -> tuple[Condition, ...]:
        """Read a list of tables of conditions."""
        if not isinstance(value, list) or not value:
            raise ValueError("is a list of tables with conditions, and not empty")
        read = (self.all_of(table, f"{where}[{index}]") for index, table in enumerate(value, start=1))
        return tuple(item for item in read if item is not None)

    def negated(self, value: object, where: str) -> Condition | None:
        """Read what must not hold."""
        inner = self.all_of(value, where)
        return None if inner is None else conditions.Not(inner)


def ladder_faults(words: Iterable[object], demand: Demand) -> tuple[str, ...]:
    """Tell what is wrong with a ladder that is to meet `demand`; the settings' ladders keep the same rules."""
    allowed = sorted(PROTECTING - ({Treatment.TLS} if demand is Demand.ENCRYPT else set()))
    seen: set[object] = set()
    faults = []
    for word in words:
        if word not in allowed:
            faults.append(f"{word!r} cannot stand in a ladder for {demand.word}; allowed: {', '.join(allowed)}")
        elif word in seen:
            faults.append(f"{word!r} stands twice in the ladder")
        seen.add(str(word))
    return tuple(faults)


def _is_field_name(name: str) -> bool:
    return bool(name) and all("!" <= char <= "~" and char != ":" for char in name)  # RFC 5322 section 2.2


def _texts(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("is a text or a list of texts, none of them empty")
    return texts


def _count(value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"is a whole number, {least} or more")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")  # noqa: TRY004 - a fault of the file, told like all others
    return value


def _directions(value: object) -> frozenset[Direction]:
    words = _texts(value)
    if unknown := [word for word in words if word not in set(Direction)]:
        raise ValueError(f"no direction {unknown[0]!r}; there are: {', '.join(Direction)}")
    return frozenset(Direction(word) for word in words)


@dataclass(frozen=True, slots=True)
class _Simple:
    """A condition that is built from its value alone."""

    build: Callable[[object], Condition]

    def __call__(self, _entry: _Entry, value: object, _where: str) -> Condition:
        return self.build(value)


_READERS: Mapping[str, Callable[[_Entry, object, str], Condition | None]] = {
    "direction": _Simple(lambda value: conditions.DirectionIs(_directions(value))),
    "sender": _Simple(lambda value: conditions.SenderIs(tuple(map(Glob.of, _texts(value))))),
    "recipient": _Simple(lambda value: conditions.RecipientIs(tuple(map(Glob.of, _texts(value))))),
    "subject": _Simple(lambda value: conditions.SubjectMatches(tuple(map(Expression.of, _texts(value))))),
    "authenticated": _Simple(lambda value: conditions.Authenticated(_flag(value))),
    "recipients_over": _Simple(lambda value: conditions.RecipientsOver(_count(value, 0))),
    "subject_tag": _Entry.subject_tag,
    "size_over": _Simple(lambda value: conditions.SizeOver(_count(value, 0))),
    "all": lambda entry, value, where: conditions.AllOf(entry.several(value, where)),
    "any": lambda entry, value, where: conditions.AnyOf(entry.several(value, where)),
    "not": _Entry.negated,
}
_CONDITIONS = (*sorted(_READERS), "header.NAME", "detect", "at_least")
