"""
Whether mail to a next hop can be carried by assured TLS, by what, and what Postfix must be told to keep it.

Three things assure, in this order: the partner row's own policy, DANE (RFC 7672), MTA-STS in `enforce` (RFC 8461).
What is found besides is shown to admins and assures nothing.
"""

from dataclasses import asdict, dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Method:
    """
    What one way to assure TLS says of a next hop.

    `policy` is the line of smtp_tls_policy_maps that keeps it, empty where nothing is assured. `unknown` tells
    that this cannot be said now, since a look-up failed, or since what is published demands TLS that no mail host
    can give now (an MTA-STS policy in enforce that names none of them): a later try may assure it. `steps` tell
    what was found, in plain words.
    """

    assured: bool
    policy: str = ""
    unknown: bool = False
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Discovery:
    """
    What DNS and the web say of one next hop, whatever the partner table says; kept in the cache.

    `hosts` are its mail hosts, best first. `seconds` is how long all of it may be kept.
    """

    hop: str
    hosts: tuple[str, ...]
    dane: Method
    sts: Method
    steps: tuple[str, ...]
    seconds: int

    @property
    def unknown(self) -> bool:
        """Whether a part of it could not be looked up."""
        return self.dane.unknown or self.sts.unknown


@dataclass(frozen=True, slots=True)
class Capability:
    """
    The answer for one next hop, partner rows included; `by` is `partner`, `dane`, `mta-sts` or empty.

    `by` is `partner` wherever a row decides, also where nothing is assured. Never both `assured` and `unknown`.
    """

    hop: str
    assured: bool
    by: str = ""
    policy: str = ""
    unknown: bool = False
    steps: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Give it as the JSON object that the policy service answers with."""
        return asdict(self)


class Pending(Protocol):
    """A look-up that is under way."""

    def wait(self) -> Capability:
        """Give the answer, at the latest at the look-up's deadline; one that did not come is `unknown`."""


class Capabilities(Protocol):
    """Asks for capabilities in the background. Thread-safe; never raises: what fails is `unknown`."""

    def begin(self, hop: str) -> Pending:
        """Begin to look a next hop up, as Postfix names it: `domain`, `[host]`, either with `:port`."""
