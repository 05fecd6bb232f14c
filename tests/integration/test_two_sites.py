"""
Two Gatepost sites write to each other, encrypted by domain keys; neither needs to do more than ask once.

`hosp.test` and `clinic.test` have a Postfix, a site and a mailbox server each. Between them lie taps: what must be
protected is judged from all the bytes that crossed them. `branch.test` belongs to the clinic but has no key.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab.client import Envelope, Outcome, send
from lab.gpg import Gpg
from lab.letter import canary, letter, multipart, part, pgp_mime, signed_parts
from lab.place import short_folder
from lab.postfix import Postfix
from lab.sink import Received, Sink
from lab.site import GatepostSite
from lab.tap import Tap

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

HOSP, CLINIC, BRANCH = "hosp.test", "clinic.test", "branch.test"
SUE, BOB, EVE = f"sue@{HOSP}", f"bob@{CLINIC}", f"eve@{BRANCH}"


@dataclass(frozen=True)
class Place:
    """One of the two: its mail server, its Gatepost, its mailboxes, and the tap on the way to it."""

    domain: str
    postfix: Postfix
    site: GatepostSite
    mailboxes: Sink
    tap: Tap

    def send(self, sender: str, *recipients: str, message: bytes) -> Outcome:
        """Send from an inside client."""
        return send(self.postfix.inside_port, Envelope(sender, recipients), message)

    def message_to(self, address: str) -> Received:
        """Wait for the message to one of its mailboxes."""
        self.mailboxes.wait_for_recipients([address])
        return next(message for message in self.mailboxes.messages if address in message.addresses)


@dataclass(frozen=True)
class Pair:
    """Both sites."""

    hosp: Place
    clinic: Place
    gpg: Gpg


def _place(folder: Path, stack: ExitStack, domains: Sequence[str], tap: Tap, others: dict[str, int]) -> Place:
    mailboxes = stack.enter_context(Sink(name=f"mailboxes.{domains[0]}"))
    postfix = Postfix(
        folder / "p",
        hostname=f"mail.{domains[0]}",
        routes=dict.fromkeys(domains, mailboxes.port) | others,
        relay_domains=domains,
        settings={"smtp_tls_security_level": "may"},
    )
    site = GatepostSite(folder / "gatepost", postfix, domains=domains).create()
    site.gatepost("key", "generate", "openpgp", "--for", domains[0])
    tap.target = postfix.outside_port
    return Place(domains[0], postfix, site, mailboxes, tap)


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    """Give two sites that know each other's domain key, and nothing else of each other."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        to_hosp, to_clinic = stack.enter_context(Tap()), stack.enter_context(Tap())
        hosp = _place(folder / "h", stack, [HOSP], to_hosp, {CLINIC: to_clinic.port, BRANCH: to_clinic.port})
        clinic = _place(folder / "c", stack, [CLINIC, BRANCH], to_clinic, {HOSP: to_hosp.port})
        for one, other in ((hosp, clinic), (clinic, hosp)):
            file = folder / f"{other.domain}.asc"
            file.write_text(other.site.gatepost("key", "export", other.domain).stdout)
            one.site.gatepost("key", "import", file, "--for", other.domain)
            stack.enter_context(one.postfix)
            stack.callback(one.site.stop)
            one.site.start()
        gpg = Gpg(folder / "gpg")
        stack.callback(gpg.close)
        gpg.import_key((folder / f"{CLINIC}.asc").read_bytes())
        yield Pair(hosp, clinic, gpg)


@pytest.fixture
def pair(both: Pair) -> Pair:
    """Give both sites with nothing received and nothing tapped."""
    for place in (both.hosp, both.clinic):
        place.mailboxes.clear()
        place.tap.clear()
    return both


def _content(message: bytes) -> list[bytes]:
    """Give every whole field of the header that describes the content, as it stands."""
    header = message.partition(b"\r\n\r\n")[0] + b"\r\n"
    fields = re.findall(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*", header)
    return [field for field in fields if field.lower().startswith((b"content-", b"mime-version"))]


def _signed(received: Received) -> bytes:
    """Give the entity that stands signed in a message, to the octet."""
    assert received.values("Content-Type")[0].startswith("multipart/signed;")
    return signed_parts(received.data)[0]


def _illustrated(word: str) -> tuple[str, bytes]:
    html = f'Content-Type: text/html\r\n\r\n<p>{word}</p><img src="cid:one@lab">\r\n'.encode()
    return multipart("related", html, part(os.urandom(20_000), "image/png", "Content-ID: <one@lab>"))


class TestExchange:
    def test_without_a_demand_the_wire_shows_it(self, pair: Pair) -> None:
        """What nobody wants protected crosses in clear: the tap does see what crosses."""
        word = canary()
        assert pair.hosp.send(SUE, BOB, message=letter(word)).ok

        assert word.encode() in pair.clinic.message_to(BOB).body
        assert word.encode() in pair.clinic.tap.seen

    def test_asked_for_once_protected_both_ways(self, pair: Pair) -> None:
        """A tagged message, the reply, and the reply to that are encrypted on the wire and opened for each."""
        words = [canary(), canary(), canary()]
        content_type, body = _illustrated(words[0])
        first = letter(
            body,
            to=BOB,
            subject="*secure* results",
            message_id=f"<{words[0]}@{HOSP}>",
            fields=["MIME-Version: 1.0", content_type],
        )
        assert pair.hosp.send(SUE, BOB, message=first).ok
        got = pair.clinic.message_to(BOB)
        assert _signed(got) == f"{content_type}\r\n\r\n".encode() + body
        assert f"signed=pass by={SUE}" in got.values("Gatepost-Result")[0]
        assert got.values("Subject") == ["results"]

        reply = letter(
            f"{words[1]}\r\n.dot\r\n\r\n",
            sender=BOB,
            to=SUE,
            subject="Re: results",
            message_id=f"<{words[1]}@{CLINIC}>",
            fields=[f"In-Reply-To: <{words[0]}@{HOSP}>", "Content-Type: text/plain; charset=us-ascii"],
        )
        assert pair.clinic.send(BOB, SUE, message=reply).ok
        answered = pair.hosp.message_to(SUE)
        assert _signed(answered) == b"".join(_content(reply)) + b"\r\n" + reply.partition(b"\r\n\r\n")[2]

        assert answered.values("Subject") == ["Re: results [-Encrypted-]"]  # the mark stays in a protected thread
        pair.clinic.mailboxes.clear()
        again = letter(words[2], to=BOB, subject="Re: results", fields=[f"References: <{words[1]}@{CLINIC}>"])
        assert pair.hosp.send(SUE, BOB, message=again).ok
        assert words[2].encode() in pair.clinic.message_to(BOB).body

        crossed = pair.clinic.tap.seen + pair.hosp.tap.seen
        assert crossed.count(b"-----BEGIN PGP MESSAGE-----") == 3
        assert not [word for word in words if f"\r\n{word}".encode() in crossed or f">{word}".encode() in crossed]

    def test_result_fields(self, pair: Pair) -> None:
        """The addressee learns that the message was decrypted; a forged result does not survive."""
        forged = f"Gatepost-Result: gatepost.mail.{CLINIC}; decrypted=openpgp; signed=pass by=ceo@{HOSP}"
        message = letter(canary(), to=BOB, subject="[secure] results", fields=[forged])
        assert pair.hosp.send(SUE, BOB, message=message).ok

        got = pair.clinic.message_to(BOB)
        key = pair.hosp.site.json("key", "show", HOSP)["keys"][0]["fingerprint"]
        signed = f"signed=pass by={SUE} key={key} trust=admin"
        assert got.values("Gatepost-Result") == [
            f"gatepost.mail.{CLINIC}; decrypted=openpgp; {signed}; came=plain"
        ]
        assert got.values("Authentication-Results")[0].startswith(f"gatepost.mail.{CLINIC}; pgp=pass")
        assert b"multipart/encrypted" not in got.header
        assert b"gatepost-result" not in pair.clinic.tap.seen.lower()

    def test_forged_result_from_elsewhere(self, pair: Pair) -> None:
        """A result that the outside world wrote is replaced by ours, and plain mail says decrypted=no."""
        forged = f"Gatepost-Result: gatepost.mail.{CLINIC}; decrypted=openpgp; signed=pass"
        message = letter("plain\r\n", sender="x@plain.test", to=BOB, fields=[forged])
        assert send(pair.clinic.postfix.outside_port, Envelope.of("x@plain.test", BOB), message).ok

        own = f"gatepost.mail.{CLINIC}; decrypted=no; signed=none; came=plain"
        assert pair.clinic.message_to(BOB).values("Gatepost-Result") == [own]


class TestBounces:
    def test_of_a_message_opened_in_place(self, pair: Pair) -> None:
        """If the mailbox server refuses a decrypted message, what goes back holds headers only."""
        word = canary()
        pair.clinic.mailboxes.fail("DOT", "550 5.2.2 mailbox full")
        assert pair.hosp.send(SUE, BOB, message=letter(f"{word}\r\n", to=BOB, subject="*secure* x")).ok

        bounce = pair.hosp.message_to(SUE)
        assert bounce.sender == ""
        assert b"text/rfc822-headers" in bounce.data.lower()
        assert word.encode() not in bounce.data + pair.hosp.tap.seen + pair.clinic.tap.seen

    def test_of_a_message_opened_for_one_of_two(self, pair: Pair) -> None:
        """A copy that was split off and decrypted bounces with headers only as well."""
        word = canary()
        plain = f"Content-Type: text/plain\r\n\r\n{word}\r\n".encode()
        content_type, body = pgp_mime(pair.gpg.encrypt(plain, [pair.gpg.fingerprint(CLINIC)]))
        message = letter(body, to=f"{BOB}, {EVE}", fields=["MIME-Version: 1.0", content_type])
        pair.clinic.mailboxes.fail("DOT", "550 5.2.2 mailbox full", times=2)
        assert send(pair.clinic.postfix.outside_port, Envelope.of(SUE, BOB, EVE), message).ok

        bounces = pair.hosp.mailboxes.wait_for(2)
        opened = next(one for one in bounces if f"Final-Recipient: rfc822; {BOB}".encode() in one.body)
        assert b"text/rfc822-headers" in opened.data.lower()
        assert word.encode() not in pair.hosp.tap.seen
        assert b"BEGIN PGP MESSAGE" not in opened.data
