r"""
Aliases: where mail to an inside recipient ends, told before the mail server expands it.

The mail server follows the site's aliases after the milter; a recipient that looks inside may then be outside, in
clear. So the same tables are asked here, in the same order: recipient_canonical_maps and canonical_maps (each
recursive), virtual_alias_maps (recursive, one into many), then alias_maps where local(8) serves the domain. What
aliases(5) sends on to another server goes through the tables once more.

Rules:
  * A table that cannot be asked, or an entry that cannot be read, is an error: the message is put off.
  * A loop is an error too; the mail server could not deliver either.
  * `|command` and `:include:` in aliases(5) lead nobody knows where: the recipient counts as outside.
  * Where some of an entry of aliases(5) is outside and some cannot be addressed without going through the entry
    again (the name itself, `\\name`, `/file`), they are tied: together they count as outside.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from gatepost.gateway.alias_keys import Key
from gatepost.message.address import Address
from gatepost.message.transaction import Recipient


class Table(StrEnum):
    """Postfix's parameter that names the tables."""

    RECIPIENT_CANONICAL = "recipient_canonical_maps"
    CANONICAL = "canonical_maps"
    VIRTUAL = "virtual_alias_maps"
    LOCAL = "alias_maps"


@dataclass(frozen=True, slots=True)
class Habits:
    """
    How the mail server completes and splits addresses; see postconf(5) for the names.

    `tables` are those that are not empty; `append_dot` is $mydomain if append_dot_mydomain is on, else empty.
    """

    tables: frozenset[Table] = frozenset()
    myorigin: str = ""
    append_dot: str = ""
    recipient_delimiter: str = ""
    propagate: frozenset[str] = frozenset()


class AliasTables(Protocol):
    """The site's alias tables. Thread-safe; raises AliasError or ConfigError where they cannot be asked."""

    def habits(self) -> Habits:
        """Give what the configuration says now."""

    def find(self, table: Table, keys: Sequence[Key]) -> tuple[Key, str] | None:
        """Give the first key that has an entry, and the entry."""

    def is_local(self, domain: str) -> bool:
        """Tell whether a domain is one of $mydestination, which local(8) serves."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where mail ends; `tied` and `leads_to` as in Recipient."""

    address: Address
    tied: bool = False
    leads_to: tuple[Address, ...] = ()


def nowhere_else(recipient: Address) -> tuple[Destination, ...]:
    """Lead every recipient to itself: there are no aliases, or nobody follows them."""
    return (Destination(recipient),)


class Aliases:
    """Puts in the place of a message's recipients those to whom the site's aliases lead. Thread-safe."""

    def __init__(
        self,
        resolve: Callable[[Address], tuple[Destination, ...]],
        is_internal: Callable[[Address], bool],
        *,
        parts: bool = True,
        behind: Callable[[Address], tuple[Destination, ...]] | None = None,
    ) -> None:
        """
        Take whether recipients may be parted; those of a copy that was held are known and stay as they are.

        `behind` follows what is left to follow where the mail server has expanded aliases before it asks us.
        """
        self._resolve = resolve
        self._behind = behind
        self._is_internal = is_internal
        self._parts = parts

    def follow(self, recipients: Sequence[Recipient], *, expanded: bool = False) -> tuple[Recipient, ...]:
        """
        Give the recipients to decide about, none twice; `expanded`: the mail server has expanded their aliases.

        Outside ones, and inside ones whose aliases all lead inside, stay; any other gives way to its destinations.
        Raises AliasError, ConfigError.
        """
        resolve = self._behind if expanded and self._behind is not None else self._resolve
        followed = [one for recipient in recipients for one in self._followed(recipient, resolve)]
        known = {to.text.lower() for one in followed if one.alias is None for to in (one.address, *one.targets)}
        kept = []
        for one in followed:
            text = one.address.text.lower()
            if one.alias is None or text not in known:
                kept.append(one)
                known.add(text)
        return tuple(kept)

    def inside(self, recipient: Address) -> tuple[Address, ...]:
        """
        Give an inside address's destinations that are inside for certain; an outside one is its own.

        Where the mail server expands aliases before it asks us, mail to this address will come by that way.
        """
        resolve = self._behind or self._resolve
        if not self._is_internal(recipient):
            return (recipient,)
        return tuple(one.address for one in resolve(recipient) if self._is_internal(one.address) and not one.tied)

    def _followed(
        self, recipient: Recipient, resolve: Callable[[Address], tuple[Destination, ...]]
    ) -> Iterable[Recipient]:
        if recipient.alias is not None or not self._is_internal(recipient.address):
            return (recipient,)
        ends = resolve(recipient.address)
        if all(self._is_internal(one.address) and not one.tied for one in ends):
            targets = tuple(one.address for one in ends)
            return (replace(recipient, targets=targets) if targets != (recipient.address,) else recipient,)
        if not self._parts:
            leads_to = tuple(one.address for one in ends if not self._is_internal(one.address))
            return (replace(recipient, tied=True, leads_to=leads_to),)
        return tuple(
            Recipient(one.address, recipient.parameters, recipient.address, one.tied, one.leads_to) for one in ends
        )
