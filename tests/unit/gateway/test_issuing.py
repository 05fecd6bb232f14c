"""Certificates of ours: by the site's own authority, made when it is needed, or by an outside one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.unit.gateway.test_keyring import Maker, Table, Token

from gatepost.crypto import authority, der, seal
from gatepost.crypto.certificate import EitherReader
from gatepost.crypto.openpgp import private_context
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.crypto.private_key import parts
from gatepost.crypto.sequoia import SequoiaEncryptor
from gatepost.crypto.x509 import X509Reader, certificates
from gatepost.directory.key import Key
from gatepost.errors import ConfigError, CryptoError, DirectoryError
from gatepost.gateway.issuing import Authority, Issuing, Request
from gatepost.gateway.keyring import Keyring
from gatepost.message.direction import Site

PRIVATE, PUBLIC = seal.new_pair()


class Store:
    """What issuing keeps, in memory."""

    def __init__(self) -> None:
        self.kept: list[Authority] = []
        self.requests: dict[str, Request] = {}

    def authorities(self) -> tuple[Authority, ...]:
        return tuple(reversed(self.kept))

    def add_authority(self, one: Authority, at: datetime) -> None:
        del at
        self.kept.append(one)

    def add_request(self, one: Request, at: datetime) -> None:
        del at
        self.requests[one.digest] = one

    def request(self, digest: str) -> Request:
        try:
            return self.requests[digest]
        except KeyError:
            raise DirectoryError("none") from None

    def remove_request(self, digest: str) -> None:
        del self.requests[digest]


class Office:
    """Issuing for a site, and an outside authority."""

    def __init__(self) -> None:
        self.table = Table()
        self.store = Store()
        self.domains = {"hosp.test", ".hosp.test"}
        self.now = datetime.now(UTC)
        self.private: Sequence[bytes] = (PRIVATE,)

    @property
    def issuing(self) -> Issuing:
        site = Site(frozenset(self.domains))
        ring = Keyring(
            table=self.table,
            reader=EitherReader(openpgp=SequoiaEncryptor(), smime=X509Reader()),
            maker=Maker(),
            smime=SmimeKeys(),
            tokens=Token,
            public=lambda: PUBLIC,
            site=site,
        )
        return Issuing(
            store=self.store,
            ring=ring,
            public=lambda: PUBLIC,
            private=self.read,
            site=site,
            clock=lambda: self.now,
        )

    def above(self, key: Key) -> tuple[bytes, ...]:
        """Give the certificates that are kept behind the private half, as whoever signs finds them."""
        kept = seal.unwrap(PRIVATE, self.table.sealed[key.fingerprint], private_context(key.fingerprint))
        own, _, place = parts(kept)
        assert (own, place) == (key.certificate, "")
        return tuple(whole for _, whole, _ in der.parts(kept))[2:]

    def read(self) -> Sequence[bytes]:
        if not self.private:
            raise ConfigError("keys: this secret cannot be read")
        return self.private


@pytest.fixture
def office() -> Office:
    return Office()


def test_the_authority_is_made_when_it_is_needed(office: Office) -> None:
    """The first certificate makes it, the second is issued by the same; what it issued carries it."""
    with pytest.raises(DirectoryError, match=r"no authority yet.*key generate smime"):
        office.issuing.authority()
    (anna,) = office.issuing.generate("Anna@HOSP.test", "p256", 30)
    (domain,) = office.issuing.generate("hosp.test", "p256", 30)
    root = office.issuing.authority()

    assert len(office.store.kept) == 1
    assert [office.above(one) for one in (anna, domain)] == [(root.certificate,)] * 2
    assert (anna.owner, anna.own, anna.source, domain.owner) == ("anna@hosp.test", True, "made here", "hosp.test")


def test_no_private_key_lies_in_clear(office: Office) -> None:
    """The authority's and a certificate's are sealed to the secret `keys`, each for its own place."""
    (anna,) = office.issuing.generate("anna@hosp.test", "p256", 30)
    root = office.issuing.authority()

    private = seal.unwrap(PRIVATE, root.sealed, authority.authority_context(root.fingerprint))
    assert private not in root.sealed
    assert seal.unwrap(PRIVATE, office.table.sealed[anna.fingerprint], private_context(anna.fingerprint))
    with pytest.raises(CryptoError):
        seal.unwrap(PRIVATE, root.sealed, private_context(root.fingerprint))


def test_who_cannot_read_the_secret_issues_nothing(office: Office) -> None:
    """Nothing is made, and the fault is the secret's, which says what to do."""
    office.private = ()

    with pytest.raises(ConfigError, match="cannot be read"):
        office.issuing.generate("anna@hosp.test", "p256", 30)
    assert (office.store.kept, office.table.rows()) == ([], ())


def test_a_rotated_secret_still_opens_the_authority(office: Office) -> None:
    """Whether it was sealed to the current half or to one before it."""
    office.issuing.generate("anna@hosp.test", "p256", 30)
    office.private = (seal.new_pair()[0], PRIVATE)

    assert office.issuing.generate("bob@hosp.test", "p256", 30)


@pytest.mark.parametrize("owner", ["eve@other.test", "other.test"])
def test_nothing_is_issued_for_others(office: Office, owner: str) -> None:
    """What is not inside gets neither certificate nor request."""
    for make in (
        lambda: office.issuing.generate(owner, "p256", 30),
        lambda: office.issuing.request(owner, "p256"),
    ):
        with pytest.raises(DirectoryError, match=r"no address or domain of ours.*internal_domains"):
            make()


def test_a_domain_that_came_later_needs_a_new_authority(office: Office) -> None:
    """The authority is bound to the domains of its day; a new one is made on purpose, and issues from then on."""
    office.issuing.generate("anna@hosp.test", "p256", 30)
    office.domains.add("clinic.test")

    with pytest.raises(DirectoryError, match=r"clinic\.test.*--new-ca"):
        office.issuing.generate("carl@clinic.test", "p256", 30)
    new = office.issuing.renew_authority()
    (carl,) = office.issuing.generate("carl@clinic.test", "p256", 30)

    assert office.above(carl) == (new.certificate,)
    assert new.expires - office.now > timedelta(days=3650)


def answered(office: Office, pem: str) -> tuple[bytes, bytes]:
    """Have an outside authority answer a request; gives the certificate and its intermediate authority's, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    root, middle = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in ("Root", "Middle"))
    request = x509.load_pem_x509_csr(pem.encode())
    days = (office.now - timedelta(days=1), office.now + timedelta(days=99))
    above = x509.CertificateBuilder(root, middle, key.public_key(), 1, *days).sign(key, SHA256())
    builder = x509.CertificateBuilder(middle, request.subject, request.public_key(), 2, *days)
    for one in request.extensions:
        builder = builder.add_extension(one.value, one.critical)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER), above.public_bytes(Encoding.DER)


@pytest.mark.parametrize("owner", ["anna@hosp.test", "hosp.test"])
def test_the_answer_completes_a_request(office: Office, owner: str) -> None:
    """With those above it, in any order; the request is over then, and the key is as any of ours."""
    pem = office.issuing.request(owner, "rsa3072")
    certificate, middle = answered(office, pem)
    stranger, _ = authority.new_authority(["other.test"], office.now, 30)
    assert office.table.rows() == ()

    (key,) = office.issuing.complete("answer.pem", (middle, stranger, certificate))

    assert (key.owner, key.own, key.certificate, key.source) == (owner, True, certificate, "file answer.pem")
    assert office.above(key) == (middle,)
    assert office.store.requests == {}
    sealed = office.table.sealed[key.fingerprint]
    assert seal.unwrap(PRIVATE, sealed, private_context(key.fingerprint)).startswith(certificate)
    with pytest.raises(DirectoryError, match="no certificate in it answers"):
        office.issuing.complete("answer.pem", (certificate,))


def test_another_certificate_completes_nothing(office: Office) -> None:
    """One for another key, or for another address than the request's, is refused; the request goes on waiting."""
    pem = office.issuing.request("anna@hosp.test", "p256")
    other, _ = answered(office, authority.request("anna@hosp.test", "p256")[0])

    with pytest.raises(DirectoryError, match=r"answer\.pem holds no private key, and no certificate"):
        office.issuing.complete("answer.pem", (other,))
    certificate, _ = answered(office, pem)
    request = next(iter(office.store.requests.values()))
    office.store.requests[request.digest] = Request(request.digest, "eve@hosp.test", request.sealed)
    with pytest.raises(DirectoryError, match="no user ID with eve"):
        office.issuing.complete("answer.pem", (certificate,))

    assert office.table.rows() == ()
    assert len(office.store.requests) == 1


def test_certificates_of_a_bundle_are_all_read(office: Office) -> None:
    """Those of authorities too, which a partner's file would lose."""
    import ssl  # noqa: PLC0415 - for this test alone

    office.issuing.generate("anna@hosp.test", "p256", 30)
    both = [office.issuing.authority().certificate, office.table.rows()[0].certificate]
    text = "".join(map(ssl.DER_cert_to_PEM_cert, both))

    assert list(certificates(text.encode())) == both
