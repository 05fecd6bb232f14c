"""
Signing: whether copies of one message are signed, and in which technology.

Rules:
  * A copy that is encrypted is signed in the same technology. One that passes or goes by TLS to an outsider is
    signed only where the settings or the partner's row say `always`: with S/MIME if there is such a key, else
    OpenPGP.
  * What is held, refused or put off is not signed, and neither is mail among insiders, incoming mail or mail in
    transit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gatepost.decision.demand import Treatment
from gatepost.decision.facts import RecipientFacts
from gatepost.message.direction import Direction

NEVER, PROTECTED, ALWAYS = "never", "protected", "always"
_ENCRYPTED = frozenset({Treatment.SMIME, Treatment.OPENPGP})
_OPEN = frozenset({Treatment.PASS, Treatment.TLS})


@dataclass(frozen=True, slots=True)
class Signing:
    """
    How one message may be signed.

    `when` is the settings' word. `keys` tells, for `smime` and `openpgp`, of a key of the author's that may sign.
    `refusal` is why the message is not signed at all; `told` whether reasons are given where nothing is signed.
    `required`: a copy that is to be signed and cannot be does not go.
    """

    when: str = NEVER
    keys: Mapping[Treatment, str] = field(default_factory=dict)
    refusal: str = ""
    told: bool = False
    required: bool = False

    def refused(self, why: str) -> "Signing":
        """Give the same for a message that turned out not to be one that can be signed."""
        return replace(self, refusal=why, told=True)

    def wanted(self, facts: RecipientFacts, *, protected: bool) -> bool:
        """Tell whether a copy for this recipient is to be signed, encrypted or not."""
        if facts.direction is not Direction.OUT or facts.recipient.tied:
            return False
        row = facts.partner.sign if facts.partner is not None else ""
        return (row or self.when) in ({PROTECTED, ALWAYS} if protected else {ALWAYS})

    def signed(self, treatment: Treatment, facts: RecipientFacts) -> "Signed":
        """Decide for one recipient's copy."""
        if treatment not in _ENCRYPTED | _OPEN or not self.wanted(facts, protected=treatment in _ENCRYPTED):
            return Signed()
        kinds = (treatment,) if treatment in _ENCRYPTED else (Treatment.SMIME, Treatment.OPENPGP)
        kind = next((one for one in kinds if one in self.keys), None)
        if self.refusal or kind is None:
            why = self.refusal or f"there is no {' or '.join(kinds)} key of its author that may sign"
            reasons = (f"not signed: {why}",) if self.told or self.required else ()
            return Signed("", reasons, missing=self.required)
        return Signed(kind.value, (f"signed with {self.keys[kind]}",))


@dataclass(frozen=True, slots=True)
class Signed:
    """The technology in which a copy is signed, or nothing; `missing`: it must not go so."""

    kind: str = ""
    reasons: tuple[str, ...] = ()
    missing: bool = False
