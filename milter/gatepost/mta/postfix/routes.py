"""
Where Postfix itself would send mail for an outside address: to the domain's own mail hosts, or elsewhere.

Follows trivial-rewrite(8): transport_maps win; then sender_dependent_default_transport_maps, or default_transport
and relay_transport; then sender_dependent_relayhost_maps and relayhost. Tables are asked with `postmap -q`. A
transport other than smtp and relay is elsewhere, since it may go another way. transport(5), postconf(5).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from gatepost.errors import ConfigError, RouteError
from gatepost.message.address import Address, parent_domains
from gatepost.mta.postfix import files
from gatepost.mta.postfix.tables import Remembered, Tables, is_patterns, is_table, maps

_ORDINARY = frozenset({"", "smtp", "relay"})
_NULL_SENDER = "<>"  # empty_address_relayhost_maps_lookup_key, and that of the default transport
_NAMES = (
    "transport_maps",
    "sender_dependent_default_transport_maps",
    "default_transport",
    "relay_transport",
    "relay_domains",
    "sender_dependent_relayhost_maps",
    "relayhost",
    "recipient_delimiter",
    "parent_domain_matches_subdomains",
)


class PostfixRoutes:
    """Tells detours; implements `Routes`. Thread-safe."""

    def __init__(self, directory: Path) -> None:
        self._tables = Tables(directory, "routing table", "routes cannot be followed", "", RouteError)
        self._values = Remembered(self._tables, self._read)

    def __call__(self, question: tuple[Address, Address]) -> str:
        """Tell by what mail of a sender to a recipient goes elsewhere; empty if it does not. Raises RouteError."""
        sender, recipient = question
        values = self._values()
        entry = self._transport(values, recipient)
        if entry is not None and entry.strip(":"):
            ours = _is_ordinary(entry, recipient.domain)
            return "" if ours else f"transport_maps: {entry}"
        return (
            self._by_default_transport(values, sender, recipient)
            or self._by_relay_transport(values, recipient)
            or self._by_relayhost(values, sender, recipient)
        )

    def _transport(self, values: Mapping[str, str], recipient: Address) -> str | None:
        delimiter = values["recipient_delimiter"]
        parents = parent_domains(recipient.domain)
        by_name = "transport_maps" in values["parent_domain_matches_subdomains"].replace(",", " ").split()
        names = (recipient.domain, *(parents if by_name else (f".{parent}" for parent in parents)), "*")
        return self._find(values["transport_maps"], (*_addresses(recipient, delimiter), *names))

    def _by_default_transport(self, values: Mapping[str, str], sender: Address, recipient: Address) -> str:
        name = "sender_dependent_default_transport_maps"
        entry = self._find(values[name], _senders(sender, values["recipient_delimiter"]))
        if entry is None or entry.upper() == "DUNNO":
            name, entry = "default_transport", values["default_transport"]
        return "" if _is_ordinary(entry, recipient.domain) else f"{name}: {entry}"

    def _by_relay_transport(self, values: Mapping[str, str], recipient: Address) -> str:
        transport = values["relay_transport"]
        if _is_ordinary(transport, recipient.domain):
            return ""
        domains = (recipient.domain, *parent_domains(recipient.domain))
        listed = list(maps(values["relay_domains"]))
        named = any(word.lower().lstrip(".") in domains for word in listed if not is_table(word))
        if named or any(word.startswith("/") for word in listed):
            return f"relay_transport: {transport}"
        asked = self._find(" ".join(word for word in listed if is_table(word)), domains)
        return "" if asked is None else f"relay_transport: {transport}"

    def _by_relayhost(self, values: Mapping[str, str], sender: Address, recipient: Address) -> str:
        name = "sender_dependent_relayhost_maps"
        entry = self._find(values[name], _senders(sender, values["recipient_delimiter"]))
        if entry is None or entry.upper() == "DUNNO":
            name, entry = "relayhost", values["relayhost"]
        return "" if entry.lower() in {"", recipient.domain} else f"{name}: {entry}"

    def _find(self, listed: str, keys: Iterable[str]) -> str | None:
        """Give the entry of the first key that has one, and for one key that of the first table."""
        keys = tuple(keys)
        found: dict[str, str] = {}
        for name in maps(listed):
            for key, entry in self._tables.ask(name, keys[:1] if is_patterns(name) else keys).items():
                found.setdefault(key, entry)
        return next((found[key] for key in keys if key in found), None)

    def _read(self) -> Mapping[str, str]:
        try:
            return files.read_configuration(self._tables.directory).values(_NAMES, expand=True)
        except ConfigError as error:
            raise RouteError(f"routes cannot be followed: {error}") from error


def _is_ordinary(entry: str, domain: str) -> bool:
    """Tell whether `transport:nexthop` is smtp(8) to the domain's own mail hosts."""
    transport, _, nexthop = entry.partition(":")
    return transport in _ORDINARY and nexthop.lower() in {"", domain}


def _addresses(address: Address, delimiters: str) -> tuple[str, ...]:
    """Give an address whole, and without its extension."""
    cut = min((place for mark in delimiters if (place := address.local.find(mark)) > 0), default=-1)
    whole = f"{address.local}@{address.domain}"
    return (whole,) if cut < 0 else (whole, f"{address.local[:cut]}@{address.domain}")


def _senders(sender: Address, delimiters: str) -> tuple[str, ...]:
    return (_NULL_SENDER,) if sender.is_null else (*_addresses(sender, delimiters), f"@{sender.domain}")
