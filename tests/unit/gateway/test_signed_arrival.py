"""Signed mail that comes in: whose signature counts, over what, and what recipients are told."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pysequoia
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes import World
from tests.gateways import OUTSIDE, gateway_over, message, processed
from tests.signers import Person

from gatepost.crypto import cms, der
from gatepost.crypto.certificate import EitherReader
from gatepost.crypto.certification import Certified
from gatepost.crypto.openpgp import Opened, Verification
from gatepost.crypto.sequoia import SequoiaEncryptor
from gatepost.crypto.signing_certificate import signing_certificate
from gatepost.crypto.x509 import X509Reader
from gatepost.directory.key import Key, Trust
from gatepost.gateway.verdict import Accept
from gatepost.message.address import Address
from gatepost.message.body import Body, MemoryBody
from gatepost.message.edit import apply
from gatepost.message.field import Field, named
from gatepost.message.transaction import Transaction

ANN, EVE, CAROL, DAVE = "ann@x.test", "eve@evil.test", "carol@hosp.test", "dave@hosp.test"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n"
ENVELOPE = bytes.fromhex(
    "304306092a864886f70d010703a036303402010031053003020100302806092a864886f70d010701"
    "300906012a040400000000801000000000000000000000000000000000"
)
Part = tuple[tuple[Field, ...], bytes]


@dataclass
class Mail(World):
    """A world whose opener knows messages by their octets, and authorities who vouch for some certificates."""

    layers: dict[tuple[bytes, str], Opened] = field(default_factory=dict)
    vouched: dict[bytes, Certified] = field(default_factory=dict)

    def open(
        self,
        ciphertext: Body,
        recipient: Address,
        sender: str,
        *,
        seconds: float,
        on_wait: Callable[[], object],
        domain_keys: bool = True,
    ) -> Opened | None:
        assert (seconds, sender, domain_keys) > (0, "", False)
        on_wait()
        return self.layers.get((ciphertext.read(), recipient.text))

    def judge(
        self, certificate: bytes, beside: Sequence[bytes] = (), *, moment: datetime | None = None
    ) -> Certified:
        assert (tuple(beside), moment) == ((), None)
        return self.vouched.get(certificate, Certified("no authority vouches for the signer's certificate"))

    def encrypts(
        self,
        part: Part,
        *recipients: str,
        intact: bool = True,
        kind: str = "smime",
        found: Verification | None = None,
    ) -> Part:
        """Encrypt an entity to recipients; gives the envelope as an entity."""
        plain = written(part)
        ciphertext = ENVELOPE[:-2] + len(self.layers).to_bytes(2, "big")
        opened = Opened(
            MemoryBody(plain), sha256(plain).digest(), found or Verification("none"), kind, intact=intact
        )
        self.layers |= {(ciphertext, one): opened for one in recipients or (CAROL,)}
        return cms_part(ciphertext, "enveloped-data")


@pytest.fixture
def world() -> Mail:
    return Mail()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Person]:
    folder = tmp_path_factory.mktemp("people")
    return {name: Person(folder, name, ec.generate_private_key(ec.SECP256R1())) for name in ("ann", "eve")}


@pytest.fixture(scope="module")
def ann(people: dict[str, Person]) -> Person:
    return people["ann"]


@pytest.fixture(scope="module")
def tsk() -> pysequoia.Tsk:
    return pysequoia.Tsk.generate(f"Ann <{ANN}>")


def pin(world: World, owner: str, certificate: bytes, kind: str = "smime", trust: Trust = Trust.ADMIN) -> str:
    """Put a certificate into the key table; gives its fingerprint."""
    if kind == "smime":
        fingerprint = sha256(certificate).hexdigest().upper()
    else:
        fingerprint = pysequoia.Cert.from_bytes(certificate).fingerprint.upper()
    world.keys[owner] = Key(fingerprint, kind, owner, certificate, trust)
    return fingerprint


def entity(data: bytes) -> Part:
    head, _, body = data.partition(b"\r\n\r\n")
    return tuple(Field(*line.split(b":", 1)) for line in head.split(b"\r\n")), body


def written(part: Part) -> bytes:
    return b"".join(one.wire() for one in part[0]) + b"\r\n" + part[1]


def encoded(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def cms_part(data: bytes, kind: str) -> Part:
    fields = (
        Field(b"Content-Type", f" application/pkcs7-mime; smime-type={kind}".encode()),
        Field(b"Content-Transfer-Encoding", b" base64"),
    )
    return fields, encoded(data)


def multipart(content: bytes, signature: bytes, protocol: bytes, encoding: bytes = b"base64") -> Part:
    value = b' multipart/signed; protocol="' + protocol + b'"; micalg=sha-256; boundary=b'
    second = b"Content-Type: " + protocol + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + signature
    body = b"--b\r\n" + content + b"\r\n--b\r\n" + second + b"\r\n--b--\r\n"
    return (Field(b"Content-Type", value),), body


def signed(person: Person, content: bytes = TEXT, *, opaque: bool = False) -> Part:
    """Sign an entity with S/MIME."""
    if opaque:
        return cms_part(person.cms(content, opaque=True), "signed-data")
    return multipart(content, encoded(person.cms(content)), b"application/pkcs7-signature")


def pgp_signature(key: pysequoia.Tsk, content: bytes) -> bytes:
    return pysequoia.sign(key.signer(), content, mode=pysequoia.SignatureMode.DETACHED)


def pgp_signed(key: pysequoia.Tsk, content: bytes = TEXT) -> Part:
    """Sign an entity with PGP/MIME."""
    return multipart(content, pgp_signature(key, content), b"application/pgp-signature", b"7bit")


def incoming(
    part: Part, *recipients: str, sender: str = ANN, extra: tuple[Field, ...] = (), **options: str
) -> Transaction:
    fields, body = part
    return message(
        *(recipients or (CAROL,)), client=OUTSIDE, sender=sender, fields=(*fields, *extra), body=body, **options
    )


@dataclass(frozen=True)
class Got:
    """What a recipient got."""

    result: str
    methods: str
    subject: str
    fields: tuple[Field, ...]
    body: bytes
    changed: bool

    @property
    def signed(self) -> str:
        return self.result.split("; ")[2]

    @property
    def flags(self) -> list[str]:
        return self.result.rpartition("flag=")[2].split(",") if "flag=" in self.result else []


def got(world: Mail, transaction: Transaction, *, inline: bool = False, warn: bool = True) -> Got:
    """Have a message processed, and give the copy in place; its fields are none that could break a header."""
    reader = EitherReader(openpgp=SequoiaEncryptor(), smime=X509Reader())
    gateway = gateway_over(world, reader=reader, certification=world, inline=inline, warn=warn)
    verdict = processed(gateway, transaction)
    assert isinstance(verdict, Accept)
    return _got(transaction, apply(transaction.fields, verdict.form.edits), verdict.form.body)


def _got(transaction: Transaction, fields: tuple[Field, ...], body: Body | None) -> Got:
    result, methods, subject = (
        b"|".join(one.value for one in named(fields, name)).decode().strip()
        for name in (b"gatepost-result", b"authentication-results", b"subject")
    )
    assert "\n" not in result + methods
    return Got(result, methods, subject, fields, (body or transaction.body).read(), body is not None)


def wrong(got: Got) -> str:
    """Give the reason of a failed signature."""
    assert got.signed == "signed=fail"
    assert "=pass" not in got.result + got.methods
    assert "by=" not in got.result
    return got.methods.partition(" reason=")[2].strip('"').partition('"')[0]


class TestWhoSigned:
    def test_the_authors_pinned_certificate(self, world: Mail, ann: Person) -> None:
        """A good signature by a certificate that is pinned under the author's address passes."""
        fingerprint = pin(world, ANN, ann.der)
        transaction = incoming(signed(ann))
        copy = got(world, transaction)

        assert copy.result == (
            f"gw.hosp.test; decrypted=no; signed=pass by={ANN} key={fingerprint} trust=admin; came=plain"
        )
        assert copy.methods == (
            f"gw.hosp.test; smime=pass header.from={ANN} body.smime-part=2 body.smime-identifier={ANN}"
            ' body.smime-serial=1267 body.smime-issuer="CN=ann"'
        )
        assert not copy.changed
        assert copy.subject == "hello"

    def test_an_authority_vouches(self, world: Mail, ann: Person) -> None:
        """A certificate that names the author and is not pinned passes where an authority vouches for it."""
        world.vouched[ann.der] = Certified("", "CN=Root")

        assert " trust=ca; " in got(world, incoming(signed(ann))).result

    def test_nobody_vouches(self, world: Mail, ann: Person) -> None:
        """A good signature by a certificate that nobody knows fails, and says why."""
        copy = got(world, incoming(signed(ann)))

        assert wrong(copy) == "no authority vouches for the signer's certificate"
        assert copy.methods.startswith("gw.hosp.test; smime=fail reason=")

    def test_authorities_that_do_not_answer(self, world: Mail, ann: Person) -> None:
        """Where authorities could not be asked now, programs are told that it may be otherwise later."""
        world.vouched[ann.der] = Certified("its revocation list could not be fetched", temporary=True)
        copy = got(world, incoming(signed(ann)))

        assert copy.signed == "signed=fail"
        assert 'smime=temperror reason="its revocation list could not be fetched"' in copy.methods

    def test_somebody_elses_certificate(self, world: Mail, people: dict[str, Person]) -> None:
        """A certificate that does not name the author proves nothing, though authorities and the table know it."""
        eve = people["eve"]
        world.vouched[eve.der] = Certified("")
        pin(world, "eve@x.test", eve.der)

        assert wrong(got(world, incoming(signed(eve)))) == "the signer's certificate does not name the author"

    def test_pinned_under_an_address_that_it_does_not_name(self, world: Mail, people: dict[str, Person]) -> None:
        """A row under the author's address helps no certificate that does not name it."""
        pin(world, ANN, people["eve"].der)

        assert "does not name the author" in wrong(got(world, incoming(signed(people["eve"]))))

    def test_the_authors_domain(self, world: Mail, people: dict[str, Person]) -> None:
        """A certificate pinned under the author's domain signs for all of it, and for no other (RFC 3183)."""
        pin(world, "x.test", people["eve"].der, trust=Trust.DNSSEC)
        copy = got(world, incoming(signed(people["eve"])))

        assert "trust=dnssec" in copy.signed
        assert "smime-identifier" not in copy.methods
        assert wrong(got(world, incoming(signed(people["eve"]), sender="ann@y.test")))
        assert wrong(got(world, incoming(signed(people["eve"]), sender="ann@sub.x.test")))

    def test_case_does_not_matter(self, world: Mail, ann: Person) -> None:
        """Addresses are compared without regard to case."""
        world.vouched[ann.der] = Certified("")

        assert " by=Ann@x.test " in got(world, incoming(signed(ann), sender="Ann@X.Test")).result

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (f" {ANN}", f" {EVE}"),
            (f" {EVE}", f" {ANN}"),
            (f" {ANN}, {EVE}", ""),
            (f' "{ANN}" <{EVE}>', ""),
            (f" {ANN} <{EVE}>", ""),
            (f" <{EVE}> ({ANN})", ""),
            (" =?utf-8?q?ann=40x=2Etest?= <eve@evil.test>", ""),
            ("", ""),
        ],
    )
    def test_who_is_the_author(self, world: Mail, people: dict[str, Person], first: str, second: str) -> None:
        """Several authors, or a name that looks like another address, never let a signature pass."""
        for person in people.values():
            world.vouched[person.der] = Certified("")
        for owner, person in ((ANN, "ann"), (EVE, "eve"), ("x.test", "ann"), ("evil.test", "eve")):
            pin(world, owner, people[person].der)
        for person in people.values():
            transaction = incoming(signed(person))
            fields = tuple(Field(b"From", one.encode()) for one in (first, second) if one)
            rest = tuple(one for one in transaction.fields if one.key != b"from")
            copy = got(world, replace(transaction, fields=(*fields, *rest)))
            assert wrong(copy) == "the message has no author that can be told for certain", (first, second)

    def test_several_signers(self, world: Mail, people: dict[str, Person]) -> None:
        """All who signed must be the author: somebody else beside spoils it, in whatever order."""
        ann, eve = people["ann"], people["eve"]
        pin(world, ANN, ann.der)
        for one, other in ((ann, eve), (eve, ann)):
            made = encoded(one.cms(TEXT, other))
            assert wrong(got(world, incoming(multipart(TEXT, made, b"application/pkcs7-signature"))))

    def test_a_sender_field(self, world: Mail, people: dict[str, Person]) -> None:
        """From counts; the key of who stands in Sender proves nothing, and the author's needs no Sender."""
        for owner, person in ((ANN, "ann"), ("eve@x.test", "eve")):
            pin(world, owner, people[person].der)
        sender = (Field(b"Sender", b" eve@x.test"),)

        assert "signed=pass" in got(world, incoming(signed(people["ann"]), extra=sender)).result
        assert wrong(got(world, incoming(signed(people["eve"]), extra=sender)))

    def test_an_expired_certificate(self, world: Mail, ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        """A certificate that is not valid now signs nothing, pinned or not."""
        pin(world, ANN, ann.der)
        certificate = signing_certificate(ann.der)
        component = replace(certificate.parsed.component, expires=datetime(2026, 2, 1, tzinfo=UTC))
        expired = replace(certificate, parsed=replace(certificate.parsed, component=component))
        monkeypatch.setattr("gatepost.gateway.signatures.signing_certificate", lambda _: expired)

        assert wrong(got(world, incoming(signed(ann)))) == "the signer's certificate is expired on 2026-02-01"


SHAPES = {
    "text before the signed part": lambda body: b"PAY EVE " * 40 + b"\r\n" + body,
    "text behind": lambda body: body + b"pay Eve\r\n",
    "a third part": lambda body: body.replace(b"\r\n--b--", b"\r\n--b\r\n\r\npay Eve\r\n--b--"),
    "another part first": lambda body: b"--b\r\nContent-Type: text/html\r\n\r\nPay Eve\r\n" + body,
    "the signature first": lambda body: b"--b\r\n" + body.split(b"--b\r\n")[2] + b"--b\r\n" + TEXT + b"\r\n--b--",
    "no second part": lambda body: body.split(b"\r\n--b\r\n")[0] + b"\r\n--b--\r\n",
    "changed": lambda body: body.replace(b"hello", b"hallo"),
    "a blank at the end of a line": lambda body: body.replace(b"hello", b"hello "),
    "a line more": lambda body: body.replace(b"hello\r\n", b"hello\r\n\r\n"),
    "another header in the signed part": lambda body: body.replace(b"text/plain", b"text/html"),
    "another type of the signature": lambda body: body.replace(b"pkcs7-signature", b"octet-stream"),
    "garbage for a signature": lambda body: body.replace(b"base64\r\n\r\nM", b"base64\r\n\r\n!"),
}


class TestWhatWasSigned:
    @pytest.mark.parametrize("change", SHAPES.values(), ids=SHAPES)
    def test_what_was_signed_is_all_that_is_shown(
        self, world: Mail, ann: Person, change: Callable[[bytes], bytes]
    ) -> None:
        """Nothing stands beside the signed part and its signature, and the signed part is as it was signed."""
        pin(world, ANN, ann.der)
        fields, body = signed(ann)
        changed = change(body)
        assert changed != body
        transaction = incoming((fields, changed))
        copy = got(world, transaction)

        assert wrong(copy)
        assert not copy.changed

    def test_harmless_wrapping(self, world: Mail, ann: Person) -> None:
        """A note for old programs, blank lines behind and a missing last boundary change nothing that is shown."""
        pin(world, ANN, ann.der)
        fields, body = signed(ann)
        for changed in (
            b"This is an S/MIME signed message\r\n" + body,
            body + b"\r\n",
            body.replace(b"--b--\r\n", b""),
        ):
            assert "signed=pass" in got(world, incoming((fields, changed))).result

    def test_a_transfer_encoding_around(self, world: Mail, ann: Person) -> None:
        """Programs differ about an encoded multipart; it fails."""
        pin(world, ANN, ann.der)
        fields, body = signed(ann)
        encoding = Field(b"Content-Transfer-Encoding", b" base64")

        assert "signed=pass" not in got(world, incoming(((*fields, encoding), body))).result

    def test_content_beside_the_content(self, world: Mail, ann: Person) -> None:
        """A signature that brings content of its own, as good as it is, says nothing of the part beside it."""
        pin(world, ANN, ann.der)
        for content in (TEXT, b"Content-Type: text/plain\r\n\r\nPay Eve\r\n"):
            signature = encoded(ann.cms(TEXT, opaque=True))
            part = multipart(content, signature, b"application/pkcs7-signature")
            assert "content of its own" in wrong(got(world, incoming(part)))

    def test_no_signers(self, world: Mail, ann: Person) -> None:
        """A message without any signature fails where it says that it is signed."""
        pin(world, ANN, ann.der)
        opaque = ann.cms(TEXT, opaque=True)
        empty = _without_signers(opaque)
        copy = got(world, incoming(cms_part(empty, "signed-data")))

        assert wrong(copy) == "the message has no signature at all"

    def test_an_opaque_one_stays(self, world: Mail, ann: Person) -> None:
        """An opaque message in clear mail is verified, and stays as it came."""
        pin(world, ANN, ann.der)
        copy = got(world, incoming(signed(ann, opaque=True)))

        assert "signed=pass" in copy.result
        assert "body.smime-part=1" in copy.methods
        assert not copy.changed

    @pytest.mark.parametrize("encoding", ["base64", "binary", "quoted-printable"])
    def test_however_it_is_encoded(self, world: Mail, ann: Person, encoding: str) -> None:
        """An opaque message is known by its first octets in every transfer encoding."""
        pin(world, ANN, ann.der)
        data = ann.cms(TEXT, opaque=True)
        body = {
            "base64": b" \r\n\r\n" + encoded(data),
            "binary": data,
            "quoted-printable": b"".join(b"=%02X" % octet for octet in data),
        }[encoding]
        fields = (
            Field(b"Content-Type", b" application/x-pkcs7-mime"),
            Field(b"Content-Transfer-Encoding", f" {encoding}".encode()),
        )
        assert "signed=pass" in got(world, incoming((fields, body))).result

    def test_other_protocols_are_no_signature(self, world: Mail, ann: Person) -> None:
        """What is no signature known here, and a signed part deeper inside, is none."""
        pin(world, ANN, ann.der)
        fields, body = signed(ann)
        other = fields[0].value.replace(b"pkcs7-signature", b"x-moss")
        inside = (
            (Field(b"Content-Type", b" multipart/mixed; boundary=o"),),
            b"--o\r\n" + written((fields, body)) + b"\r\n--o--\r\n",
        )
        for part in (((Field(b"Content-Type", other),), body), inside):
            copy = got(world, incoming(part))
            assert copy.signed == "signed=none"
            assert copy.methods == "gw.hosp.test; none"


def _without_signers(opaque: bytes) -> bytes:
    _, parts = cms.content_info(opaque)
    inner = der.element(0x30, b"".join(one.whole for one in parts[:-1]) + der.set_of())
    return der.sequence(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, inner))


class TestPgpMime:
    def test_the_authors_key(self, world: Mail, tsk: pysequoia.Tsk) -> None:
        """PGP/MIME in clear mail is verified with the author's keys."""
        certificate = bytes(tsk.extract_certificate())
        fingerprint = pin(world, ANN, certificate, "openpgp", Trust.WKD)
        copy = got(world, incoming(pgp_signed(tsk)))

        assert copy.signed == f"signed=pass by={ANN} key={fingerprint} trust=wkd"
        assert copy.methods == f"gw.hosp.test; pgp=pass header.from={ANN}"
        assert not copy.changed

    def test_other_keys_and_other_content(self, world: Mail, tsk: pysequoia.Tsk) -> None:
        """Keys of others, a key that does not name the author, and changed content fail."""
        other = pysequoia.Tsk.generate("Eve <eve@evil.test>")
        fields, body = pgp_signed(tsk)
        assert wrong(got(world, incoming((fields, body))))
        pin(world, ANN, bytes(other.extract_certificate()), "openpgp")
        assert wrong(got(world, incoming((fields, body))))
        assert wrong(got(world, incoming(pgp_signed(other)))) == "the signer's key is not the author's"
        pin(world, ANN, bytes(tsk.extract_certificate()), "openpgp")
        assert wrong(got(world, incoming((fields, body.replace(b"hello", b"hello ")))))
        assert wrong(got(world, incoming((fields, body), sender=EVE)))

    def test_every_signature_must_be_good(self, world: Mail, tsk: pysequoia.Tsk) -> None:
        """A wrong signature beside a good one spoils it, in whatever order."""
        pin(world, ANN, bytes(tsk.extract_certificate()), "openpgp")
        good, bad = pgp_signature(tsk, TEXT), pgp_signature(tsk, b"other")
        binary = [
            b"".join(bytes(one) for one in pysequoia.packet.PacketPile.from_bytes(two)) for two in (good, bad)
        ]
        for order in (binary, binary[::-1]):
            part = multipart(TEXT, encoded(b"".join(order)), b"application/pgp-signature")
            assert wrong(got(world, incoming(part)))
        double = multipart(TEXT, encoded(binary[0] * 2), b"application/pgp-signature")
        assert "signed=pass" in got(world, incoming(double)).result

    def test_a_key_that_has_ended(self, world: Mail) -> None:
        """A key that is revoked or expired by now signs nothing."""
        key = pysequoia.Tsk.generate(f"Ann <{ANN}>")
        part = pgp_signed(key)
        certificate = key.extract_certificate()
        revoked = pysequoia.Cert.from_bytes(bytes(certificate) + bytes(certificate.revoke(key.certifier())))
        ended = certificate.set_expiration(datetime.now(UTC) - timedelta(seconds=0), key.certifier())
        for one in (revoked, ended):
            pin(world, ANN, bytes(one), "openpgp")
            assert wrong(got(world, incoming(part)))


class TestLayers:
    def test_signed_in_encrypted(self, world: Mail, ann: Person, tsk: pysequoia.Tsk) -> None:
        """What was decrypted is verified; a multipart stays as it is, an opaque one is unwrapped."""
        pin(world, ANN, ann.der)
        copy = got(world, incoming(world.encrypts(signed(ann))))
        assert "decrypted=smime; signed=pass" in copy.result
        assert "body.smime-part=2" in copy.methods
        assert named(copy.fields, b"content-type")[0].value == signed(ann)[0][0].value
        assert copy.body.startswith(b"--b\r\n" + TEXT + b"\r\n--b\r\n")

        copy = got(world, incoming(world.encrypts(signed(ann, opaque=True))))
        assert "decrypted=smime; signed=pass" in copy.result
        assert "smime-part" not in copy.methods
        assert copy.body == b"hello\r\n"
        assert named(copy.fields, b"content-type")[0].value == b" text/plain; charset=utf-8"
        assert copy.flags == []
        assert copy.subject == "hello"

        pin(world, ANN, bytes(tsk.extract_certificate()), "openpgp")
        copy = got(world, incoming(world.encrypts(pgp_signed(tsk), kind="openpgp")))
        assert "decrypted=openpgp; signed=pass" in copy.result

    def test_an_opaque_one_that_fails_is_readable(self, world: Mail, ann: Person) -> None:
        """An opaque message that was decrypted can be read though its signature counts for nothing."""
        copy = got(world, incoming(world.encrypts(signed(ann, opaque=True))))

        assert wrong(copy)
        assert copy.body == b"hello\r\n"
        assert copy.flags == ["unauthenticated"]
        assert copy.subject == "[unverified] hello"

    def test_encrypted_in_encrypted(self, world: Mail, ann: Person) -> None:
        """Layers are taken off one after the other."""
        pin(world, ANN, ann.der)
        inner = world.encrypts(signed(ann))
        copy = got(world, incoming(world.encrypts(inner)))

        assert "signed=pass" in copy.result
        assert copy.body.startswith(b"--b\r\n" + TEXT)

    def test_a_signature_around_an_envelope(self, world: Mail, people: dict[str, Person]) -> None:
        """Who signs somebody's ciphertext proves nothing of what is in it; if the signature is wrong it counts."""
        pin(world, EVE, people["eve"].der)
        pin(world, "x.test", people["ann"].der)
        envelope = written(world.encrypts(entity(TEXT)))
        for opaque in (False, True):
            copy = got(world, incoming(signed(people["ann"], envelope, opaque=opaque)))
            assert "decrypted=smime; signed=none; came=plain; flag=unauthenticated" in copy.result
            assert copy.body == b"hello\r\n"
        copy = got(world, incoming(signed(people["eve"], envelope)))
        assert wrong(copy)
        assert copy.flags == ["unauthenticated"]

    def test_triple_wrapping(self, world: Mail, people: dict[str, Person]) -> None:
        """Signed, encrypted, signed again (RFC 2634): the inner signature counts, the outer must not be wrong."""
        ann, eve = people["ann"], people["eve"]
        pin(world, ANN, ann.der)
        envelope = written(world.encrypts(signed(ann)))

        assert "decrypted=smime; signed=pass" in got(world, incoming(signed(ann, envelope))).result
        assert wrong(got(world, incoming(signed(eve, envelope))))
        fields, body = signed(ann, envelope)
        broken = body.replace(b"enveloped-data", b"enveloped-date")
        assert wrong(got(world, incoming((fields, broken))))

    def test_encrypted_signed_encrypted(self, world: Mail, ann: Person) -> None:
        """Another envelope around that changes nothing."""
        pin(world, ANN, ann.der)
        inner = written(world.encrypts(signed(ann, opaque=True)))
        copy = got(world, incoming(world.encrypts(signed(ann, inner))))

        assert "decrypted=smime; signed=pass" in copy.result
        assert copy.body == b"hello\r\n"

    def test_layers_are_bounded(self, world: Mail) -> None:
        """After four envelopes the next one stays, and is told of."""
        part = innermost = world.encrypts(entity(TEXT))
        for _ in range(4):
            part = world.encrypts(part)
        copy = got(world, incoming(part))

        assert copy.flags == ["unauthenticated", "nested"]
        assert copy.body == innermost[1]
        assert named(copy.fields, b"content-type")[0].value.startswith(b" application/pkcs7-mime")

    def test_an_inner_layer_that_is_not_ours(self, world: Mail) -> None:
        """What is encrypted to somebody's own key inside stays so, with the outer layer off."""
        inner = world.encrypts(entity(TEXT), "nobody@hosp.test")
        copy = got(world, incoming(world.encrypts(inner)))

        assert "decrypted=smime; signed=none; came=plain; flag=unauthenticated,undecryptable" in copy.result
        assert copy.body == inner[1]

    def test_each_recipient_gets_their_own(self, world: Mail, ann: Person) -> None:
        """One opens both layers, one the outer, one nothing."""
        pin(world, ANN, ann.der)
        inner = world.encrypts(signed(ann, opaque=True), CAROL)
        transaction = incoming(world.encrypts(inner, CAROL, DAVE), CAROL, DAVE, "fay@hosp.test")
        stays = got(world, transaction)
        found = {
            one.recipients[0].address.text: _got(transaction, one.fields, one.body) for one in world.submitted
        }

        assert "decrypted=no" in stays.result
        assert stays.flags == ["undecryptable"]
        assert found[CAROL].body == b"hello\r\n"
        assert "signed=pass" in found[CAROL].result
        assert found[DAVE].flags == ["unauthenticated", "undecryptable"]

    def test_openpgp_inside(self, world: Mail, tsk: pysequoia.Tsk) -> None:
        """What gpg found of a signature inside counts only for a key that is the author's."""
        fingerprint = tsk.extract_certificate().fingerprint.upper()
        part = world.encrypts(entity(TEXT), kind="openpgp", found=Verification("pass", fingerprint))
        assert wrong(got(world, incoming(part))) == "the signer's key is not the author's"
        pin(world, ANN, bytes(tsk.extract_certificate()), "openpgp")
        assert f"signed=pass by={ANN} key={fingerprint} trust=admin" in got(world, incoming(part)).result
        failed = world.encrypts(pgp_signed(tsk), kind="openpgp", found=Verification("fail"))
        assert wrong(got(world, incoming(failed)))


HTML = b'Content-Type: text/html\r\n\r\n<p>x</p><img src="http://evil.test/">'


class TestUnproved:
    @pytest.mark.parametrize("opaque", [False, True])
    def test_verified_first(self, world: Mail, ann: Person, *, opaque: bool) -> None:
        """What nothing else proves is verified as decrypted, and made harmless all the same."""
        pin(world, ANN, ann.der)
        copy = got(world, incoming(world.encrypts(signed(ann, HTML, opaque=opaque), intact=False)))

        assert "decrypted=smime; signed=pass" in copy.result
        assert copy.flags == ["neutralised"]
        assert "smime-part" not in copy.methods
        assert base64.b64decode(copy.body) == b"<p>x</p>"

    def test_a_wrong_signature(self, world: Mail, ann: Person) -> None:
        """Content that was changed on its way is harmless, and its signature fails."""
        pin(world, ANN, ann.der)
        fields, body = signed(ann, HTML)
        copy = got(world, incoming(world.encrypts((fields, body.replace(b"<p>x", b"<p>y")), intact=False)))

        assert wrong(copy)
        assert copy.flags == ["unauthenticated", "neutralised"]

    def test_an_envelope_inside_that_stays(self, world: Mail) -> None:
        """Where an inner envelope cannot be opened, unproved content around it stays encrypted as it came."""
        part = world.encrypts(world.encrypts(entity(TEXT), "nobody@hosp.test"), intact=False)
        copy = got(world, incoming(part))

        assert "decrypted=no" in copy.result
        assert copy.flags == ["undecryptable"]
        assert not copy.changed

    def test_an_inner_layer_that_cannot_be_made_harmless(self, world: Mail) -> None:
        """The layer above stays the content: what was inside of it stays encrypted."""
        unclear = entity(b"Content-Type: multipart/digest; boundary=q\r\n\r\n--q\r\n\r\nx\r\n--q--\r\n")
        inner = world.encrypts(unclear, intact=False)
        copy = got(world, incoming(world.encrypts(inner)))

        assert "decrypted=smime" in copy.result
        assert copy.flags == ["unauthenticated", "undecryptable"]
        assert copy.body == inner[1]


class TestWarning:
    def test_it_can_be_left_out(self, world: Mail) -> None:
        """The word stands in the Subject only where the site wants it; the flag always."""
        part = world.encrypts(entity(TEXT))

        assert got(world, incoming(part)).subject == "[unverified] hello"
        copy = got(world, incoming(part), warn=False)
        assert copy.subject == "hello"
        assert copy.flags == ["unauthenticated"]

    def test_with_a_forged_mark(self, world: Mail) -> None:
        """A mark that is no proof goes, a word that is there already does not come twice."""
        copy = got(world, incoming(world.encrypts(entity(TEXT)), subject="[unverified] x [-Encrypted-]"))

        assert copy.subject == "[unverified] x"

    @pytest.mark.parametrize(
        ("to", "subject", "expected"),
        [
            ("bob@plain.test", "Re: [unverified] hello", " Re: hello"),
            ("bob@partner.test", "Re: [unverified] hello *secure*", " Re: hello [-Encrypted-]"),
            ("bob@partner.test", "*secure* Re: [unverified] hello", " [-Encrypted-] Re: hello"),
            (CAROL, "Re: [unverified] hello", " Re: [unverified] hello"),
            ("bob@plain.test", "Re: hello", " Re: hello"),
        ],
    )
    def test_it_goes_with_what_insiders_send(self, world: Mail, to: str, subject: str, expected: str) -> None:
        """No outsider reads the word in an answer, whatever becomes of its tag; insiders keep it."""
        world.key("partner.test")
        transaction = message(to, subject=subject)
        verdict = processed(gateway_over(world), transaction)
        assert isinstance(verdict, Accept)

        edited = named(apply(transaction.fields, verdict.form.edits), b"subject")
        assert [one.value.decode() for one in edited] == [expected]

    def test_it_stays_in_transit(self, world: Mail) -> None:
        """What only passes through keeps its Subject."""
        transaction = incoming(entity(TEXT), "bob@plain.test", subject="Re: [unverified] hello")
        verdict = processed(gateway_over(world), transaction)
        assert isinstance(verdict, Accept)
        assert not [one for one in verdict.form.edits if one.name == b"Subject"]

    def test_clear_mail_has_none(self, world: Mail, ann: Person) -> None:
        """Clear mail is not warned of, whoever signed it; a word that somebody else put there stays."""
        assert got(world, incoming(signed(ann), subject="hello")).subject == "hello"
        assert got(world, incoming(entity(TEXT), subject="[unverified] hello")).subject == "[unverified] hello"


ARMOR = b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQEM\r\n-----END PGP MESSAGE-----\r\n"


class TestRecord:
    def test_what_was_found_is_recorded(self, world: Mail, ann: Person) -> None:
        """The event of each recipient tells what was found, where there was anything to find."""
        pin(world, ANN, ann.der)
        copy = got(world, incoming(signed(ann)))
        got(world, incoming(entity(TEXT)))

        assert [one.detail.get("result") for one in world.events] == [copy.result.partition("; ")[2], None]


class TestNested:
    def test_an_envelope_beside_others(self, world: Mail) -> None:
        """An encrypted part inside others is not opened, and is told of: in clear mail and in what was opened."""
        envelope = written(world.encrypts(entity(TEXT)))
        mixed = (
            (Field(b"Content-Type", b" multipart/mixed; boundary=o"),),
            b"--o\r\n\r\n<img>\r\n--o\r\n" + envelope + b"\r\n--o--\r\n",
        )
        copy = got(world, incoming(mixed))
        assert copy.flags == ["nested"]
        assert not copy.changed
        copy = got(world, incoming(world.encrypts(mixed)))
        assert copy.flags == ["unauthenticated", "nested"]
        assert copy.body == mixed[1]

    def test_text(self, world: Mail) -> None:
        """Armor in a text is told of with inline messages and once decrypted; HTML is not looked through."""
        text, html = (
            entity(b"Content-Type: text/" + kind + b"\r\n\r\nx\r\n" + ARMOR) for kind in (b"plain", b"html")
        )

        assert got(world, incoming(text), inline=True).flags == ["nested"]
        assert got(world, incoming(world.encrypts(text))).flags == ["unauthenticated", "nested"]
        assert got(world, incoming(world.encrypts(html))).flags == ["unauthenticated"]

    def test_ordinary_mail_is_not_read(self, world: Mail, ann: Person) -> None:
        """The body of plain text and HTML is not asked for; that of multiparts and signed mail is."""
        gateway = gateway_over(world)
        for kind, needed in (
            (b" text/plain", False),
            (b" text/html; charset=utf-8", False),
            (b" multipart/alternative; boundary=b", True),
            (b" message/rfc822", True),
            (signed(ann)[0][0].value, True),
        ):
            transaction = incoming(((Field(b"Content-Type", kind),), b"x\r\n"))
            assert gateway.survey(transaction).needs_body is needed, kind


class TestAnnounced:
    def test_by_good_signatures(self, world: Mail, ann: Person) -> None:
        """What the author's program can decrypt, as signed mail announces it, is kept with the certificate."""
        fingerprint = pin(world, ANN, ann.der)
        got(world, incoming(signed(ann)))

        assert list(world.announced) == [fingerprint]

    def test_by_nobody_else(self, world: Mail, people: dict[str, Person]) -> None:
        """What somebody else's signature announces counts for nothing."""
        pin(world, ANN, people["ann"].der)
        got(world, incoming(signed(people["eve"])))

        assert not world.announced
