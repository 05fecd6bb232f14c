"""
Facts: what is known when deciding for one recipient, gathered before the decision and handed in as values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gatepost.decision.demand import Treatment
from gatepost.directory.key import Key
from gatepost.directory.partner import Partner
from gatepost.message.direction import Direction
from gatepost.message.transaction import Recipient


@dataclass(frozen=True, slots=True)
class Rung:
    """
    Whether one recipient can take one treatment, and why or why not.

    `unknown` tells that nobody knows now whether it can: a later try may find it usable. `keys` for `openpgp` and
    `smime`: encrypt to all of them; `nexthop` for `tls`: where the copy goes.
    """

    usable: bool
    reason: str
    keys: tuple[Key, ...] = ()
    nexthop: str = ""
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class RecipientFacts:
    """
    What is known of one recipient of one message.

    `rungs` holds every treatment that is configured here and may be reached; one that is missing is passed over as
    not configured.
    `thread` tells that the message belongs to a conversation that was protected.
    """

    recipient: Recipient
    direction: Direction
    partner: Partner | None = None
    thread: bool = False
    rungs: Mapping[Treatment, Rung] = field(default_factory=dict)
