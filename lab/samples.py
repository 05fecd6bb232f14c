"""
The demo's messages: one of every kind, with what must arrive at each recipient.

What arrived is computed from the receivers' bytes alone: a canary in the body shows whether it came in
clear, the gpg command line opens what did not, and the receiver tells what came inside TLS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.client import Outcome
from lab.letter import canary, letter, pgp_mime
from lab.sink import Received, Sink
from lab.town import OWN, Town

CLEAR = "in clear"
TLS = "inside verified TLS"
OPENPGP = "OpenPGP, opened by gpg"
_WISH = "X-Gatepost-Encrypt: yes"
DECRYPTED = "decrypted for the inside"
WAITS = "nothing: waits in the queue"
NOTHING = "nothing"
REFUSED = "nothing: refused"


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One message: what it shows, who sends it, and what must arrive by recipient.

    `notice` tells that its sender must get a notice from the gateway.
    """

    title: str
    sender: str
    message: bytes
    word: str
    expected: Mapping[str, str]
    from_outside: bool = False
    notice: bool = False

    @property
    def message_id(self) -> str:
        """The message's own Message-ID."""
        line = next(line for line in self.message.split(b"\r\n") if line.startswith(b"Message-ID: "))
        return line.partition(b": ")[2].decode()

    def send(self, town: Town) -> Outcome:
        """Send it the way such mail comes in."""
        way = town.send_from_outside if self.from_outside else town.send
        return way(self.sender, *self.expected, message=self.message)


def samples(town: Town) -> list[Sample]:
    """Write all samples; replies name the message that they answer."""
    inbound = _encrypted_inbound(town)
    return [
        _sample("internal mail", {"doc@hosp.test": CLEAR}),
        _sample("ordinary mail to anyone", {"bob@plain.test": CLEAR}),
        _sample("sender's tag *secure*", {"kim@plain.test": OPENPGP}, subject="*secure* your results"),
        _sample("sender's tag encrypt/", {"kim@plain.test": OPENPGP}, subject="encrypt/ your results"),
        _sample("field X-Gatepost-Encrypt", {"kim@plain.test": OPENPGP}, fields=[_WISH]),
        _sample("partner who demands encryption", {"ann@pgp.test": OPENPGP}),
        _sample("partner by verified TLS", {"carol@tls.test": TLS}),
        _sample("partner by pinned certificate", {"carl@pin.test": TLS}),
        _sample("TLS partner shows a wrong certificate", {"walt@wrong.test": WAITS}),
        _sample(
            "one message to five kinds",
            {"doc@hosp.test": CLEAR, "bob@plain.test": CLEAR, "ann@pgp.test": OPENPGP, "eve@pgp.test": OPENPGP,
             "carol@tls.test": TLS},
        ),
        _sample(
            "tagged, but one has no key: held",
            {"nokey@plain.test": NOTHING, "kim@plain.test": OPENPGP},
            subject="*secure* to two", notice=True,
        ),
        _sample("refused by a rule", {"bob@plain.test": REFUSED, "doc@hosp.test": REFUSED}, subject="blueprint"),
        inbound,
        _sample(
            "reply to it, no tag, no partner row", {"kim@plain.test": OPENPGP},
            sender="doc@hosp.test", fields=(f"In-Reply-To: {inbound.message_id}",),
        ),
        _forged(),
    ]  # fmt: skip


def _sample(
    title: str,
    expected: Mapping[str, str],
    *,
    sender: str = "sue@hosp.test",
    subject: str = "hello",
    fields: Sequence[str] = (),
    notice: bool = False,
) -> Sample:
    word = canary()
    message = letter(word, sender=sender, to=", ".join(expected), subject=subject, fields=fields)
    return Sample(title, sender, message, word, expected, notice=notice)


def _encrypted_inbound(town: Town) -> Sample:
    word = canary()
    entity = f"Content-Type: text/plain\r\n\r\n{word}\r\n".encode()
    cipher = town.gpg.encrypt(entity, [town.gpg.fingerprint(OWN)], signer="kim@plain.test")
    line, body = pgp_mime(cipher)
    message = letter(body, sender="kim@plain.test", to="doc@hosp.test", subject="in confidence", fields=(line,))
    expected = {"doc@hosp.test": DECRYPTED}
    return Sample("encrypted to our domain key", "kim@plain.test", message, word, expected, from_outside=True)


def _forged() -> Sample:
    word = canary()
    fields = ("Gatepost-Result: gatepost.mail.hosp.test; decrypted=openpgp; signed=pass",)
    message = letter(word, sender="mallory@plain.test", to="doc@hosp.test", fields=fields)
    return Sample(
        "outsider forges our result field",
        "mallory@plain.test",
        message,
        word,
        {"doc@hosp.test": CLEAR},
        from_outside=True,
    )


def arrived(town: Town, sample: Sample, recipient: str, outcome: Outcome) -> str:
    """Tell what arrived at a recipient, from the receivers' bytes; Postfix's answer and queue for the rest."""
    found = [how for sink in town.sinks for message in sink.messages if recipient in message.addresses
             for how in [_how(town, sample, message)] if how]  # fmt: skip
    if found:
        return " and ".join(sorted(set(found)))
    if not outcome.ok:
        return REFUSED
    waiting = any(each["address"] == recipient for queued in town.postfix.queue() for each in queued["recipients"])
    return WAITS if waiting else NOTHING


def _how(town: Town, sample: Sample, message: Received) -> str:
    """Tell how this message brought the sample's content; empty if it is another message."""
    if sample.word.encode() in message.data:
        if message.tls is not None:
            return TLS
        return (
            DECRYPTED
            if any("decrypted=openpgp" in value for value in message.values("Gatepost-Result"))
            else CLEAR
        )
    if b"-----BEGIN PGP MESSAGE-----" in message.data and _opens(town, sample, message):
        return OPENPGP
    return ""


def _opens(town: Town, sample: Sample, message: Received) -> bool:
    try:
        return sample.word.encode() in town.gpg.decrypt(message.data).data
    except RuntimeError:
        return False


def noticed(sink: Sink, sample: Sample) -> bool:
    """Tell whether the sender got a notice about this sample that does not hold its content."""
    return any(
        message.sender == ""
        and sample.sender in message.addresses
        and sample.message_id in " ".join(message.values("In-Reply-To"))
        and sample.word.encode() not in message.data
        for message in sink.messages
    )
