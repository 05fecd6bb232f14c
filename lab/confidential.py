"""
A confidential message, and what is told of it by others than Gatepost: where it went, in what form, who read it.

Each holds a word that no other message holds. Its rule demands the treatment `tls`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.client import Outcome
from lab.internet import CONFIDENTIAL, OWN, STOPPED, Internet
from lab.letter import canary, letter
from lab.mail_host import Arrival
from lab.wait import until

_PATIENCE = 40.0


class Confidential:
    """One message from sue@hosp.test to one recipient; sent at once."""

    def __init__(self, net: Internet, recipient: str) -> None:
        self._net = net
        self.recipient = recipient
        self.word = canary().encode()
        self.message_id = f"<{canary()}@{OWN}>"
        message = letter(self.word + b"\r\n", to=recipient, subject=CONFIDENTIAL, message_id=self.message_id)
        self.outcome: Outcome = net.send(recipient, message=message)

    def arrived(self) -> Arrival:
        """Wait until it came as it was sent, through TLS and unread on the way, and tell at which door."""
        arrival = self._came()
        if self.word not in arrival.message.data:
            raise AssertionError(f"it came otherwise than it was sent: {arrival.message.data!r}")
        if not arrival.tls:
            raise AssertionError(f"it came in clear at {arrival.door}")
        self.check_unread()
        return arrival

    def arrived_encrypted(self) -> Arrival:
        """Wait until it came encrypted by OpenPGP, so that only its recipient can read it."""
        arrival = self._came()
        self.check_unread()
        if self.word in arrival.message.data or self.word not in self._net.gpg.decrypt(arrival.message.data).data:
            raise AssertionError(f"it came otherwise than encrypted: {arrival.message.data!r}")
        return arrival

    def _came(self) -> Arrival:
        until(self._arrivals, _PATIENCE, lambda: f"{self._described()} arrives")
        [arrival] = self._arrivals()
        return arrival

    def _arrivals(self) -> list[Arrival]:
        came = self._net.arrivals(self.recipient)
        return [arrival for arrival in came if self.message_id in arrival.message.values("Message-ID")]

    def deferred(self) -> str:
        """
        Wait until Postfix has tried to deliver it and put it off, and give the reason.

        It went nowhere, and nobody read it.
        """

        def reasons() -> list[str]:
            return [reason for reason in self._net.reasons(self.recipient) if reason != STOPPED]

        until(reasons, _PATIENCE, lambda: f"{self._described()} is put off")
        self.check_went_nowhere()
        return reasons()[0]

    def put_off(self) -> str:
        """Give the temporary reply that its sender got; it went nowhere, and nobody read it."""
        if not self.outcome.reply.temporary:
            raise AssertionError(f"{self._described()} was not put off: {self.outcome}")
        self.check_went_nowhere()
        return f"{self.outcome.reply.code} {self.outcome.reply.text}"

    def check_went_nowhere(self) -> None:
        """Raise AssertionError if anybody has it, in whatever form."""
        came = self._arrivals()
        if came or any(self.recipient in message.addresses for message in self._net.evil.messages):
            raise AssertionError(f"it went to {came or 'the attacker'}")
        self.check_unread()

    def check_unread(self) -> None:
        """Raise AssertionError if its word went over the gateway's wire in clear, or if the attacker has it."""
        readers = self._net.wire.readers(self.word)
        if readers:
            raise AssertionError(f"{self._described()} went in clear to {readers}")
        if any(self.word in message.data for message in self._net.evil.messages):
            raise AssertionError(f"the attacker has read {self._described()}")

    def _described(self) -> str:
        log = "\n".join(self._net.postfix.log().splitlines()[-30:])
        return f"mail to {self.recipient}, answered {self.outcome}; {self._net.postfix.queue()} is queued;\n{log}"


@dataclass(frozen=True, slots=True)
class Told:
    """
    What Gatepost says of confidential mail to several domains, and the mail.

    `plans` (from `explain`), `messages` and `held` (with their causes, from `quarantine list`) are found by
    recipient, `checks` (from `tls check`) by domain.
    """

    plans: Mapping[str, Mapping[str, Any]]
    checks: Mapping[str, Mapping[str, Any]]
    messages: Mapping[str, Confidential]
    held: Mapping[str, str]


def told(net: Internet, recipients: Sequence[str]) -> Told:
    """Send a confidential message to each recipient, and ask Gatepost about each and about its domain."""
    messages = {recipient: Confidential(net, recipient) for recipient in recipients}
    domains = sorted({recipient.rpartition("@")[2] for recipient in recipients})
    commands = [_explain(recipients), ["quarantine", "list"], *(["tls", "check", domain] for domain in domains)]
    plan, quarantine, *checks = net.site.json_each(*commands)
    held = {recipient: row["cause"] for row in quarantine["held"] for recipient in row["recipients"]}
    plans = {one["address"]: one for one in plan["recipients"]}
    return Told(plans, dict(zip(domains, checks, strict=True)), messages, held)


def explained(net: Internet, *recipients: str) -> list[dict[str, Any]]:
    """Give what `explain` says of a confidential message to these recipients, one after another."""
    found: list[dict[str, Any]] = net.site.json(*_explain(recipients))["recipients"]
    return found


def _explain(recipients: Sequence[str]) -> list[str]:
    addressed = [part for recipient in recipients for part in ("--to", recipient)]
    return ["explain", "--from", f"sue@{OWN}", *addressed, "--subject", CONFIDENTIAL]
