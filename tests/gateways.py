"""A gateway of the product over the stand-ins of `tests.fakes`, and messages for it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.fakes import FakeCertificates, FakeExchanges, FakeJournal, FakeKeys, World

from gatepost.crypto import openpgp_signature
from gatepost.crypto.certificate import Reader
from gatepost.crypto.certification import Certification, NoAuthorities
from gatepost.crypto.envelope import Enveloper
from gatepost.crypto.signature import Signer
from gatepost.crypto.smime import Smime
from gatepost.decision.demand import Treatment
from gatepost.decision.ladder import Ladders
from gatepost.decision.reader import read_rules
from gatepost.decision.rules import RuleSet
from gatepost.directory.key import Trust
from gatepost.gateway.aliases import Aliases
from gatepost.gateway.arrival import Arrivals
from gatepost.gateway.budget import Budget
from gatepost.gateway.despatch import Despatch
from gatepost.gateway.exchanges import Exchanges
from gatepost.gateway.gateway import Gateway
from gatepost.gateway.introduction import Introduction
from gatepost.gateway.journal import Journal
from gatepost.gateway.notices import Notices
from gatepost.gateway.opening import Opening
from gatepost.gateway.protection import Protection
from gatepost.gateway.service import Service
from gatepost.gateway.signatures import Signatures
from gatepost.gateway.signing import SignedForms, SigningKeys
from gatepost.gateway.survey import Surveyor
from gatepost.gateway.telling import Telling
from gatepost.gateway.verdict import Awaited, Verdict
from gatepost.message import address
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Site
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction

SITE = Site(frozenset({"hosp.test"}))
SHIPPED_RULES = Path(__file__).parents[1] / "rules"
INSIDE, OUTSIDE = Client(authenticated="alice"), Client(address="192.0.2.1")
BODY = b"canary\r\n"


def service_over(world: World, *, addresses: frozenset[str] = frozenset({"decrypt@hosp.test"})) -> Service:
    """Build the service before a gateway over a world; its own copies are submitted as all others are."""
    gateway = gateway_over(world)
    notices = Notices(log=world, admin=address.parse(b"<admin@hosp.test>"), hostname="gw.hosp.test")
    return Service(
        addresses=addresses,
        site=SITE,
        mail=gateway,
        inside=gateway._surveyor._aliases.inside,
        arrivals=gateway._arrivals,
        journal=gateway._journal,
        despatch=gateway._despatch,
        notices=notices,
        telling=gateway._despatch._telling,
    )


class Spot:
    """The port `Detached`: Sequoia on the spot, whatever the size."""

    def verify(
        self, signed: bytes, signature: bytes, certificates: Sequence[bytes], on_wait: Callable[[], None]
    ) -> tuple[Signer, ...]:
        on_wait()
        return openpgp_signature.verify(signed, signature, certificates)


def gateway_over(
    world: World,
    *,
    rules: RuleSet | None = None,
    no_rung: Treatment = Treatment.QUARANTINE,
    journal: Journal | None = None,
    reader: Reader | None = None,
    certification: Certification | None = None,
    inline: bool = False,
    warn: bool = True,
    when: str = "protected",
    required: bool = False,
) -> Gateway:
    """Build a gateway over a world, with the shipped rules unless others are given."""
    rules = rules or read_rules(SHIPPED_RULES, frozenset())
    keys = FakeKeys(world)
    aliases = Aliases(world.resolve, SITE.is_internal)
    surveyor = Surveyor(
        site=SITE,
        aliases=aliases,
        partners=world,
        keys=keys,
        threads=world,
        reader=FakeCertificates(),
        min_trust=Trust.WKD,
        capabilities=world,
        routes=world.route,
    )
    return Gateway(
        site=SITE,
        rules=rules,
        ladders=Ladders(),
        no_rung=no_rung,
        surveyor=surveyor,
        signing=SigningKeys(when=when, required=required, keys=keys, reader=FakeCertificates(), site=SITE),
        protection=Protection(
            authserv_id="gw.hosp.test",
            tags=rules.tags,
            encryption=world,
            smime=Smime(Enveloper()),
            signed=SignedForms(world),
            introduction=Introduction(
                keys=keys, reader=FakeCertificates(), minimal=lambda certificate, _: b"minimal " + certificate
            ),
        ),
        arrivals=Arrivals(
            authserv_id="gw.hosp.test",
            opening=Opening(
                opener=world,
                signatures=Signatures(
                    keys=keys,
                    announced=keys,
                    reader=reader or FakeCertificates(),
                    certification=certification or NoAuthorities(),
                    openpgp=Spot(),
                ),
                exchanges=Exchanges(FakeExchanges(world)),
                inline=inline,
            ),
            in_thread=surveyor.in_thread,
            warn=warn,
        ),
        journal=journal or Journal(FakeJournal(world), holder="here"),
        despatch=Despatch(
            records=world,
            holder=world,
            submitter=world,
            telling=Telling(
                notices=Notices(log=world, admin=address.parse(b"<admin@hosp.test>"), hostname="gw.hosp.test"),
                aliases=aliases,
                submitter=world,
            ),
        ),
    )


def message(
    *recipients: str,
    subject: str = "hello",
    client: Client = INSIDE,
    sender: str = "alice@hosp.test",
    fields: tuple[Field, ...] = (),
    parameters: tuple[str, ...] = (),
    body: bytes = BODY,
) -> Transaction:
    """Make a message whose To field names all recipients."""
    return Transaction(
        client=client,
        sender=address.parse(f"<{sender}>".encode()),
        parameters=parameters,
        recipients=tuple(Recipient(address.parse(f"<{one}>".encode()), ("NOTIFY=NEVER",)) for one in recipients),
        fields=(
            Field(b"From", f" {sender}".encode()),
            Field(b"To", f" {', '.join(recipients)}".encode()),
            Field(b"Subject", f" {subject}".encode()),
            Field(b"Message-ID", b" <1@hosp.test>"),
            *fields,
        ),
        body=MemoryBody(body),
        queue_id="4QID",
    )


def processed(gateway: Gateway | Service, transaction: Transaction) -> Verdict:
    """Have a message decided and carried out."""
    found = gateway.process(transaction, gateway.survey(transaction), Budget(60, keepalive=lambda: None))
    return concluded(found) if isinstance(found, Awaited) else found


def concluded(awaited: Awaited) -> Verdict:
    """Have what a verdict waits for written, and give it; raises what the writing does."""
    told: list[Exception | None] = []
    awaited.begin(told.append)
    if told[0] is not None:
        raise told[0]
    return awaited.conclude()
