"""The service address: what insiders forward there comes back opened, to them alone."""

from dataclasses import replace

import pysequoia
import pytest
from lab.letter import multipart
from tests.fakes import World, opened
from tests.gateways import INSIDE, OUTSIDE, message, processed, service_over

from gatepost.errors import AddressError, DeliveryError, StorageError
from gatepost.gateway.aliases import Destination
from gatepost.gateway.service import TITLE
from gatepost.gateway.verdict import Accept, Discard, Reject, Verdict
from gatepost.message import address
from gatepost.message.address import NULL_SENDER
from gatepost.message.field import Field, named
from gatepost.message.transaction import Transaction

ANNA, CAROL, SERVICE = "anna@hosp.test", "carol@hosp.test", "decrypt@hosp.test"
KIM, EVE = "kim@partner.test", "eve@evil.test"
ENCRYPTED = b'multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"'
PLAINTEXT = b"Content-Type: text/plain\r\n\r\ncanary\r\n"
CERTIFICATE = pysequoia.Tsk.generate("hosp.test").extract_certificate()


def content(text: bytes = b"anything") -> bytes:
    """Give the body of a message that is truly encrypted."""
    armor = pysequoia.encrypt(text, [CERTIFICATE]).replace(b"\n", b"\r\n")
    return (
        b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
        b"--b\r\nContent-Type: application/octet-stream\r\n\r\n" + armor + b"\r\n--b--\r\n"
    )


def original(body: bytes, *, sender: str = KIM, to: str = ANNA, more: bytes = b"") -> bytes:
    """Write a message as it lies in a mailbox."""
    head = f"Delivered-To: {ANNA}\r\nFrom: {sender}\r\nTo: {to}\r\nSubject: s\r\nMessage-ID: <o@partner.test>\r\n"
    return head.encode() + more + b"Content-Type: " + ENCRYPTED + b"\r\n\r\n" + body


def request(*attached: bytes, sender: str = ANNA, to: tuple[str, ...] = (SERVICE,)) -> Transaction:
    """Write a request with these messages attached."""
    parts = [b"Content-Type: message/rfc822\r\n\r\n" + one for one in attached]
    line, body = multipart("mixed", b"Content-Type: text/plain\r\n\r\nhello\r\n", *parts, boundary="outer")
    kind = Field(b"Content-Type", line.partition(":")[2].encode())
    return message(*to, sender=sender, fields=(kind,), body=body)


def came_in(world: World, body: bytes, *recipients: str, sender: str = KIM) -> None:
    """Have a message come in from outside, and forget what happened."""
    kind = Field(b"Content-Type", b" " + ENCRYPTED)
    processed(service_over(world), message(*recipients, client=OUTSIDE, sender=sender, fields=(kind,), body=body))
    for noted in (world.happened, world.submitted, world.rows, world.events):
        noted.clear()


def served(world: World, transaction: Transaction) -> Verdict:
    return processed(service_over(world), transaction)


@pytest.fixture
def world() -> World:
    return World(opens={ANNA: opened(PLAINTEXT, "none"), CAROL: opened(PLAINTEXT, "none")})


class TestGivenBack:
    def test_to_its_addressee_alone(self, world: World) -> None:
        """It comes back whole: its own header with the result, from nobody, to who forwarded it."""
        assert isinstance(
            served(world, request(original(content(), more=b"Gatepost-Result: forged\r\n"))), Discard
        )

        (copy,) = world.submitted
        assert copy.sender == NULL_SENDER
        assert [one.address.text for one in copy.recipients] == [ANNA]
        assert b"canary" in copy.body.read()
        assert "RET=HDRS" in copy.parameters
        (result,) = named(copy.fields, b"gatepost-result")
        assert b"decrypted=openpgp" in result.value
        assert named(copy.fields, b"subject")[0].value == b" [unverified] s"
        assert not named(copy.fields, b"delivered-to")
        assert [(one.inside, one.outside, one.cause) for one in world.rows] == [(ANNA, KIM, "decrypted")]
        told = [(one.recipient, one.message_id, one.reasons[0]) for one in world.events]
        assert told[0][:2] == (ANNA, "<o@partner.test>")
        assert told[0][2].startswith(f"forwarded to {SERVICE}: decrypted=openpgp")
        assert told[1] == (SERVICE, "<1@hosp.test>", "1 of 1 messages were opened")

    def test_durable_before_the_request_is_dropped(self, world: World) -> None:
        """Exchange, journal and threads stand before the copy goes."""
        served(world, request(original(content())))
        steps = [one for one in world.happened if one in {"exchange", "journal add", "commit", "submit"}]
        assert steps == ["exchange", "journal add", "commit", "submit"]

    def test_several(self, world: World) -> None:
        """Each attached message comes back as one; what does not open is told of in one notice."""
        clear = b"From: kim@partner.test\r\n\r\nnot encrypted\r\n"
        served(world, request(original(content()), clear, original(content())))

        *copies, notice = world.submitted
        assert len(copies) == 2
        assert named(notice.fields, b"subject")[0].value == b" " + TITLE.encode()
        assert b"Of 3 messages that you forwarded to decrypt@hosp.test, 1 could not" in notice.body.read()
        assert [one.address.text for one in notice.recipients] == [ANNA]

    def test_redirected_whole(self, world: World) -> None:
        """A message that was redirected to the address is the one that is opened."""
        fields = (Field(b"Content-Type", b" " + ENCRYPTED), Field(b"Resent-From", b" anna@hosp.test"))
        redirected = message(SERVICE, sender=ANNA, fields=fields, body=content())
        header = (Field(b"From", b" kim@partner.test"), Field(b"To", b" anna@hosp.test"), *redirected.fields[2:])
        served(world, replace(redirected, fields=header))

        (copy,) = world.submitted
        assert b"canary" in copy.body.read()
        assert [one.address.text for one in copy.recipients] == [ANNA]

    def test_where_aliases_lead(self, world: World) -> None:
        """It goes where the forwarder's own mail goes, inside."""
        world.aliases[ANNA] = (Destination(address.parse(b"<box@hosp.test>")),)
        served(world, request(original(content())))

        assert [one.address.text for one in world.submitted[0].recipients] == ["box@hosp.test"]

    def test_nothing_to_open(self, world: World) -> None:
        """Where nothing is attached, as in a mail with quoted text, the notice says how to forward."""
        served(world, message(SERVICE, sender=ANNA, body=b"> -----BEGIN PGP MESSAGE-----\r\n"))

        (notice,) = world.submitted
        assert b"No message was attached" in notice.body.read()
        assert not [one for one in world.happened if one.startswith("open")]


class TestWhose:
    def test_the_domains_key_needs_an_addressee(self, world: World) -> None:
        """What came in for anna is opened with the domain's key for her, and for nobody who got hold of it."""
        body = content()
        came_in(world, body, ANNA)
        for _ in range(2):  # asking once makes nobody an addressee
            served(world, request(original(body, to=f"{ANNA}, {CAROL}"), sender=CAROL))
        assert [named(one.fields, b"subject")[0].value for one in world.submitted] == [b" " + TITLE.encode()]

        world.submitted.clear()
        served(world, request(original(body)))
        assert b"canary" in world.submitted[0].body.read()

    def test_an_envelope_of_ones_own_hides_nothing(self, world: World) -> None:
        """What stands inside is opened by one's own key alone: nobody knows whom it was for."""
        inside = content()
        world.opens[ANNA] = opened(b"Content-Type: " + ENCRYPTED + b"\r\n\r\n" + inside, "none")

        served(world, request(original(content())))

        (copy,) = world.submitted
        assert b"flag=unauthenticated,undecryptable" in named(copy.fields, b"gatepost-result")[0].value
        assert copy.body.read() == inside

    def test_ones_own_key_is_enough(self, world: World) -> None:
        """Her own key opens mail for her, whomever it came for."""
        body = content()
        came_in(world, body, ANNA)
        world.own_opens[CAROL] = opened(PLAINTEXT, "none")
        served(world, request(original(body), sender=CAROL))

        assert [one.address.text for one in world.submitted[0].recipients] == [CAROL]
        assert b"canary" in world.submitted[0].body.read()

    @pytest.mark.parametrize(("to", "opens"), [(f"Anna <{ANNA}>, x@y.test", True), (f"x{ANNA}", False)])
    def test_what_never_came_in(self, world: World, to: str, opens: bool) -> None:
        """Of mail that is not remembered To and Cc tell for whom it was."""
        served(world, request(original(content(), to=to)))

        assert (b"canary" in world.submitted[0].body.read()) is opens

    def test_another_author(self, world: World) -> None:
        """Whoever captured it cannot have it opened this way either."""
        body = content()
        came_in(world, body, ANNA)
        served(world, request(original(body, sender=EVE)))

        (notice,) = world.submitted
        assert b"canary" not in notice.body.read()


class TestRefused:
    @pytest.mark.parametrize(
        ("transaction", "told"),
        [
            (request(sender="bob@other.test"), "answers addresses of this site only"),
            (request(sender=SERVICE), "answers people only"),
            (request(to=(SERVICE, CAROL)), "alone: the message was sent to nobody"),
            (request(sender="mailer-daemon@hosp.test"), "answers people only"),
            (replace(request(), sender=NULL_SENDER), "answers people only"),
            (request(*[b"From: a@b.test\r\n\r\n"] * 21), "More than 20 messages"),
        ],
    )
    def test_with_what_to_do(self, world: World, transaction: Transaction, told: str) -> None:
        """Robots, strangers, and messages to others beside are refused; nothing is opened."""
        verdict = served(world, transaction)
        assert isinstance(verdict, Reject)
        assert told in verdict.lines[0]
        assert not world.submitted
        assert [one.treatment for one in world.events] == ["reject"]

    @pytest.mark.parametrize(
        "field", [Field(b"Auto-Submitted", b" auto-replied"), Field(b"List-Id", b" <l.test>")]
    )
    def test_no_loop(self, world: World, field: Field) -> None:
        """Automatic mail and lists get no answer."""
        transaction = request(original(content()))
        assert isinstance(served(world, replace(transaction, fields=(*transaction.fields, field))), Reject)

    def test_whose_mail_leads_outside(self, world: World) -> None:
        """What is opened never leaves: whoever's mailbox is outside gets nothing."""
        world.aliases[ANNA] = (Destination(address.parse(b"<anna@elsewhere.test>")),)
        verdict = served(world, request(original(content())))
        assert isinstance(verdict, Reject)
        assert "may lead outside" in verdict.lines[0]

    def test_outside_clients(self, world: World) -> None:
        """From outside the address is refused at RCPT, whoever the sender claims to be."""
        service, recipient = service_over(world), address.parse(b"<Decrypt@hosp.test>")
        with pytest.raises(AddressError, match="inside"):
            service.check_recipient(recipient, OUTSIDE)
        service.check_recipient(recipient, INSIDE)
        service.check_recipient(address.parse(b"<anna@hosp.test>"), OUTSIDE)

        assert isinstance(served(world, replace(request(original(content())), client=OUTSIDE)), Accept)
        assert not world.submitted

    def test_switched_off(self, world: World) -> None:
        """Without a service address the recipient is like any other."""
        service = service_over(world, addresses=frozenset())
        service.check_recipient(address.parse(b"<decrypt@hosp.test>"), OUTSIDE)
        assert isinstance(processed(service, request(original(content()))), Accept)


class TestAgain:
    def test_nothing_twice(self, world: World) -> None:
        """A retry after the verdict was lost sends nothing again, nor a second notice."""
        transaction = request(original(content()), b"From: a@b.test\r\n\r\nx")
        service = service_over(world)
        for _ in range(2):
            assert isinstance(processed(service, transaction), Discard)
        assert len(world.submitted) == 2

    def test_a_retry_goes_on(self, world: World) -> None:
        """Of two messages one of which could not be submitted, the retry sends the other alone."""
        transaction, service = request(original(content()), original(content())), service_over(world)
        done: list[str] = []

        def submit(*_: object) -> str:
            done.append("Q")
            if len(done) == 2:
                raise DeliveryError("down")
            return "Q"

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world, "submit", submit)
            with pytest.raises(DeliveryError):
                processed(service, transaction)
        assert not world.submitted

        assert isinstance(processed(service, transaction), Discard)
        assert len(world.submitted) == 1

    @pytest.mark.parametrize("fault", ["exchange", "journal add", "commit", "submit"])
    def test_what_fails_puts_it_off(self, world: World, fault: str) -> None:
        """Whatever cannot be made durable leaves the request with its client."""
        world.faults[fault] = StorageError("down")
        with pytest.raises(StorageError):
            served(world, request(original(content())))
        assert not world.submitted
