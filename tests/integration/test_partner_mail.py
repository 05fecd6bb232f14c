"""
Mail that says it comes from a partner, through a real Postfix: how it came is told, flagged, held or put off.

Partners and what their rows ask:

    flag.test      TLS, else a flag; names its certificate
    hold.test      TLS, else quarantine
    later.test     TLS, else put off
    secret.test    encryption, else put off
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.certificate import Authority, ServerCertificate
from lab.client import Client, Envelope, Outcome
from lab.gpg import Gpg
from lab.letter import canary, letter, pgp_mime
from lab.place import short_folder
from lab.postfix import Postfix
from lab.sink import Received, Sink
from lab.site import GatepostSite

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_DOC = "doc@hosp.test"
_ROWS = """\
pattern,tls,tls_name,inbound,inbound_action
flag.test,verify,mx.flag.test,tls,flag
hold.test,,,tls,quarantine
later.test,,,tls,tempfail
secret.test,,,encrypt,tempfail
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A site with its Postfix, its mailboxes, and the certificates that clients may show."""

    site: GatepostSite
    postfix: Postfix
    inside: Sink
    gpg: Gpg
    trusted: ServerCertificate
    other: ServerCertificate
    stranger: ServerCertificate

    def context(self, certificate: ServerCertificate | None) -> ssl.SSLContext:
        """Give a client's side of TLS with that certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if certificate is not None:
            context.load_cert_chain(certificate.file, certificate.key)
        return context

    def held(self) -> list[dict[str, object]]:
        """Give what is in quarantine."""
        found: list[dict[str, object]] = self.site.json("quarantine", "list")["held"]
        return found


@pytest.fixture(scope="module")
def running() -> Iterator[Place]:
    """Give a site whose Postfix offers TLS, asks clients for certificates and trusts one authority."""
    with short_folder() as folder, Sink(name="inside") as inside:
        authority = Authority(folder / "ca")
        own = authority.issue("mail.hosp.test")
        settings = {
            "smtpd_tls_security_level": "may",
            "smtpd_tls_cert_file": str(own.file),
            "smtpd_tls_key_file": str(own.key),
            "smtpd_tls_CAfile": str(authority.file),
            "smtpd_tls_ask_ccert": "yes",
            "smtpd_tls_session_cache_database": "",
        }
        gpg = Gpg(folder / "gpg")
        routes = {"hosp.test": inside.port}
        postfix = Postfix(
            folder / "p", hostname="mail.hosp.test", routes=routes, relay_domains=["hosp.test"], settings=settings
        )
        site = GatepostSite(folder / "gatepost", postfix, domains=["hosp.test"]).create()
        table = folder / "rows.csv"
        table.write_text(_ROWS)
        site.gatepost("partner", "import", table)
        made = site.json("key", "generate", "openpgp", "--for", "hosp.test")["keys"][0]["fingerprint"]
        gpg.import_key(site.gatepost("key", "export", made).stdout.encode())
        place = Place(
            site,
            postfix,
            inside,
            gpg,
            trusted=authority.issue("mx.flag.test"),
            other=authority.issue("mx.other.test"),
            stranger=Authority(folder / "unknown", "Unknown CA").issue("mx.flag.test"),
        )
        try:
            with postfix:
                site.start()
                yield place
                site.stop()
        finally:
            site.kill()
            gpg.close()


@pytest.fixture
def place(running: Place) -> Iterator[Place]:
    """Give the place with empty mailboxes."""
    running.inside.clear()
    yield running
    running.inside.clear()


def _plain(_: Place, sender: str) -> bytes:
    return letter(canary(), sender=sender, to=_DOC)


def _encrypted(place: Place, sender: str) -> bytes:
    entity = f"Content-Type: text/plain\r\n\r\n{canary()}\r\n".encode()
    line, body = pgp_mime(place.gpg.encrypt(entity, [place.gpg.fingerprint("hosp.test")]))
    return letter(body, sender=sender, to=_DOC, fields=["MIME-Version: 1.0", line])


def _send(place: Place, envelope_sender: str, message: bytes, tls: ssl.SSLContext | None = None) -> Outcome:
    with Client(place.postfix.outside_port) as client:
        if tls is not None:
            assert client.starttls(tls).ok
        return client.send(Envelope.of(envelope_sender, _DOC), message)


def _arrived(place: Place) -> Received:
    place.inside.wait_for_recipients([_DOC])
    (message,) = (one for one in place.inside.messages if _DOC in one.addresses)
    return message


def _result(place: Place) -> str:
    (result,) = _arrived(place).values("Gatepost-Result")
    return result.partition("signed=none; ")[2]


class TestHowItCame:
    @pytest.mark.parametrize(
        ("sender", "shown", "expected"),
        [
            ("x@plain.test", None, "came=tls"),
            ("x@plain.test", "trusted", "came=verified"),
            ("x@plain.test", "stranger", "came=tls"),
            ("x@flag.test", "trusted", "came=verified"),
            ("x@flag.test", "other", "came=tls"),
            ("x@flag.test", "stranger", "came=tls"),
        ],
    )
    def test_by_tls(self, place: Place, sender: str, shown: str | None, expected: str) -> None:
        """`verified` takes a certificate that Postfix trusts, and the partner's where the row names it."""
        context = place.context(getattr(place, shown) if shown else None)

        assert _send(place, sender, _plain(place, sender), context).ok
        assert _result(place) == expected

    def test_in_clear(self, place: Place) -> None:
        """Mail from anybody says that it came in clear; without a row that is no fault."""
        assert _send(place, "x@plain.test", _plain(place, "x@plain.test")).ok
        assert _result(place) == "came=plain"

    def test_for_every_message_of_a_connection(self, place: Place) -> None:
        """What the handshake told holds after RSET and for the messages that follow."""
        with Client(place.postfix.outside_port) as client:
            client.starttls(place.context(place.trusted))
            for _ in range(2):
                client.mail("x@later.test")
                client.rset()
                assert client.send(Envelope.of("x@later.test", _DOC), _plain(place, "x@later.test")).ok

        messages = place.inside.wait_for(2)
        assert all("came=verified" in one.values("Gatepost-Result")[0] for one in messages)

    def test_without_a_second_greeting_it_came_in_clear(self, place: Place) -> None:
        """Postfix tells of TLS at EHLO: a client that says none after the handshake proves nothing."""
        with Client(place.postfix.outside_port) as client:
            client.starttls(greet=False)
            outcome = client.send(Envelope.of("x@later.test", _DOC), _plain(place, "x@later.test"))

        assert outcome.reply.code == 451


class TestActions:
    @pytest.mark.parametrize(
        ("envelope", "author"),
        [
            ("x@flag.test", "x@plain.test"),
            ("x@plain.test", "x@flag.test"),
            ("x@plain.test", "me@plain.test, Boss <x@flag.test>"),
            ("", "x@flag.test"),
        ],
    )
    def test_flag(self, place: Place, envelope: str, author: str) -> None:
        """What says it comes from the partner, in either place, and came in clear is delivered and flagged."""
        assert _send(place, envelope, _plain(place, author)).ok
        assert _result(place) == "came=plain; flag=unprotected"

    def test_quarantine(self, place: Place) -> None:
        """It is held, the row named as cause; the admin is told and nobody else; a release delivers it flagged."""
        assert _send(place, "x@hold.test", _plain(place, "x@hold.test")).ok

        (held,) = place.held()
        assert "partner hold.test asks that its mail come by tls; it came in clear" in str(held["cause"])
        place.inside.wait_for(1)
        assert [one.addresses for one in place.inside.messages] == [("postmaster@hosp.test",)]
        place.site.gatepost("quarantine", "release", str(held["id"]))
        assert _result(place) == "came=plain; flag=unprotected"

    def test_tempfail(self, place: Place) -> None:
        """It is put off with a text that says what would be taken, and taken once it comes by TLS."""
        message = _plain(place, "x@later.test")
        reply = _send(place, "spoof@plain.test", message).reply

        assert reply.code == 451
        assert "4.7.1" in reply.text
        assert "TLS" in reply.text
        assert not place.inside.messages
        assert not place.held()
        assert _send(place, "spoof@plain.test", message, place.context(None)).ok
        assert _result(place) == "came=tls"

    def test_encryption_is_not_met_by_tls(self, place: Place) -> None:
        """Where the row asks for encryption, a trusted certificate does not help."""
        message = _plain(place, "x@secret.test")

        assert _send(place, "x@secret.test", message, place.context(place.trusted)).reply.code == 451

    @pytest.mark.parametrize("sender", ["x@secret.test", "x@later.test"])
    def test_what_was_decrypted_meets_every_demand(self, place: Place, sender: str) -> None:
        """Encrypted mail that came in clear is opened and has no flag but that nobody signed it."""
        assert _send(place, sender, _encrypted(place, sender)).ok

        (result,) = _arrived(place).values("Gatepost-Result")
        assert "decrypted=openpgp" in result
        assert result.endswith("; came=plain; flag=unauthenticated")

    @pytest.mark.parametrize(("tls", "verdict"), [("none", "tempfail"), ("tls", "accept"), ("verified", "accept")])
    def test_explain(self, place: Place, tls: str, verdict: str) -> None:
        """`explain` tells the same without sending."""
        plan = place.site.json("explain", "--from", "x@later.test", "--to", _DOC, "--tls", tls)

        assert plan["verdict"] == verdict
        assert "partner later.test asks that its mail come by tls" in plan["recipients"][0]["reasons"][0]
