"""
The way of one recipient through the site's alias tables, as cleanup(8) and local(8) go it; see `aliases`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from gatepost.errors import AddressError, AliasError
from gatepost.gateway import alias_entry
from gatepost.gateway.alias_keys import Key, address_keys, name_keys, tagged
from gatepost.gateway.aliases import AliasTables, Destination, Habits, Table
from gatepost.message import address
from gatepost.message.address import Address

_MOST_REWRITES = 8  # MAX_RECURSION of cleanup(8)
_MOST_STEPS = 100  # nesting; Postfix allows 1000 and 100
_MOST_TARGETS = 1000  # virtual_alias_expansion_limit
_ROUTED = frozenset("%!@")


class Resolver:
    """Follows aliases. Thread-safe."""

    def __init__(self, tables: AliasTables, is_internal: Callable[[Address], bool]) -> None:
        self._tables = tables
        self._is_internal = is_internal

    def __call__(self, recipient: Address) -> tuple[Destination, ...]:
        """Tell where mail to a recipient ends, at least at one place; raises AliasError, ConfigError."""
        habits = self._tables.habits()
        if not habits.tables:
            return (Destination(recipient),)
        walk = _Walk(self._tables, habits, self._is_internal)
        found = dict.fromkeys(walk.cleaned(recipient.text, 0))
        if len(found) == 1 and next(iter(found)).address.text == walk.completed(recipient.text):
            return (replace(next(iter(found)), address=recipient),)
        return tuple(found)


class _Walk:
    """One recipient's way through the tables, as cleanup(8) and local(8) go it."""

    def __init__(self, tables: AliasTables, habits: Habits, is_internal: Callable[[Address], bool]) -> None:
        self._tables = tables
        self._habits = habits
        self._is_internal = is_internal

    def cleaned(self, text: str, depth: int) -> Iterator[Destination]:
        """Follow an address through cleanup(8), and on through local(8)."""
        text = self.completed(text)
        for table in (Table.RECIPIENT_CANONICAL, Table.CANONICAL):
            text = self._rewritten(table, text)
        for target in self._expanded(text):
            yield from self._delivered(_read(target), depth)

    def completed(self, text: str) -> str:
        """Complete an address as trivial-rewrite(8) does, its domain in lower case as A-labels."""
        local, at, domain = text.rpartition("@")
        if not at:
            local, domain = domain, self._habits.myorigin
        if self._habits.append_dot and "." not in domain and not domain.startswith("["):
            domain = f"{domain}.{self._habits.append_dot}"
        return _read(f"{local}@{domain}").text

    def _rewritten(self, table: Table, text: str) -> str:
        for _ in range(_MOST_REWRITES):
            found = self._looked_up(table, text, "canonical")
            if found is None or found[0].lower() == text.lower():
                return text
            text = found[0]
        raise AliasError(f"{table}: the entries for {text} lead in a circle; correct them")

    def _expanded(self, text: str) -> tuple[str, ...]:
        """Follow virtual aliases; an address that expands to itself is not expanded again."""
        ends: dict[str, str] = {}
        steps = 0
        waiting, own = [text], set[str]()
        while waiting:
            one = waiting.pop(0)
            found = None if one.lower() in own else self._looked_up(Table.VIRTUAL, one, "virtual")
            if found is None:
                ends[one.lower()] = one
                continue
            if one.lower() in map(str.lower, found):
                own.add(one.lower())
            steps += 1
            waiting += found
            if steps > _MOST_STEPS or len(waiting) + len(ends) > _MOST_TARGETS:
                raise AliasError(f"{Table.VIRTUAL}: the entries for {text} lead in a circle, or to too many")
        return tuple(ends.values())

    def _looked_up(self, table: Table, text: str, kind: str) -> tuple[str, ...] | None:
        if table not in self._habits.tables:
            return None
        domain = text.rpartition("@")[2]
        by_name = domain == self._habits.myorigin.lower() or self._tables.is_local(domain)
        delimiter = self._habits.recipient_delimiter
        keys = address_keys(text, delimiter, by_name=by_name)
        local = text.rpartition("@")[0]
        spelt_out = address.unicode_domain(domain)
        if spelt_out != domain:  # who mails with SMTPUTF8 is looked up as written
            keys += address_keys(f"{local}@{spelt_out}", delimiter, by_name=False)
        found = self._tables.find(table, keys)
        if found is None:
            return None
        key, entry = found
        targets = [f"{local}{one}" if one.startswith("@") else one for one in alias_entry.addresses(entry)]
        tag = key.tag if kind in self._habits.propagate else ""
        return tuple(self.completed(one) for one in tagged(targets, tag))

    def _delivered(self, end: Address, depth: int, parent: str = "") -> Iterator[Destination]:
        """Follow an address through local(8) if that serves it; `parent` is the name whose entry led here."""
        if depth > _MOST_STEPS:
            raise AliasError(f"{Table.LOCAL}: the entries for {end.text} lead in a circle; correct them")
        if self._is_internal(end) and not _ROUTED.isdisjoint(end.local):
            yield Destination(end, tied=True)  # it may be a route to elsewhere
            return
        found = self._aliased(end, parent)
        if found is None:
            yield Destination(end)
        else:
            yield from self._parted(end, found[1], found[0].text, depth)

    def _aliased(self, end: Address, parent: str) -> tuple[Key, tuple[str, ...]] | None:
        if Table.LOCAL not in self._habits.tables or not self._tables.is_local(end.domain):
            return None
        keys = name_keys(end.local.lower(), self._habits.recipient_delimiter)
        found = self._tables.find(Table.LOCAL, [key for key in keys if key.text != parent])
        if found is None:
            return None
        key, entry = found
        return key, tagged(alias_entry.local_targets(entry), key.tag if "alias" in self._habits.propagate else "")

    def _parted(self, end: Address, targets: Sequence[str], name: str, depth: int) -> Iterator[Destination]:
        """Tell where an entry of aliases(5) leads: its own address if all is inside, or if it cannot be parted."""
        ends: list[Destination] = []
        unknown = inseparable = False
        for target in targets:
            if target.startswith(("|", ":")):
                unknown = True
            elif target.startswith(("/", "\\")) or target.lower() == name or self._is_itself(target, end):
                inseparable = True
            else:
                ends += self._sent_on(target, name, depth + 1)
        leads_to = tuple(address for one in ends for address in self._outside(one))
        if not unknown and not leads_to and not any(one.tied for one in ends):
            yield Destination(end)
        elif unknown or inseparable:
            yield Destination(end, tied=True, leads_to=leads_to)
        else:
            yield from ends

    def _is_itself(self, target: str, end: Address) -> bool:
        return self.completed(target).lower() == end.text.lower()

    def _sent_on(self, target: str, name: str, depth: int) -> Iterator[Destination]:
        reached = _read(self.completed(target))
        if self._tables.is_local(reached.domain):
            return self._delivered(reached, depth, parent=name)
        return self.cleaned(reached.text, depth)

    def _outside(self, one: Destination) -> tuple[Address, ...]:
        if one.tied:
            return one.leads_to
        return () if self._is_internal(one.address) else (one.address,)


def _read(text: str) -> Address:
    try:
        return address.parse(f"<{text}>".encode("utf-8", "surrogateescape"))
    except AddressError as error:
        raise AliasError(f"an alias leads to {text!r}, which is no address: {error}") from error
