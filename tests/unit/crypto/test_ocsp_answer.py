"""OCSP answers: those of `openssl ocsp` are read; what does not speak for the authority tells nothing."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st
from lab.mail_authority import DAY, FOR_OCSP, Holder, Office, asked_at, root

from gatepost.crypto.ocsp_answer import OcspAnswer, question, read_answer, responders_of
from gatepost.errors import CryptoError

NOW = dt.datetime.now(dt.UTC)
ROOT = root()
ANN, BOB = ROOT.person("ann@clinic.test"), ROOT.person("bob@clinic.test")
HOUR = DAY / 24
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0")


def read(
    data: bytes, whose: Holder = ANN, authority: Holder = ROOT, later: dt.timedelta = dt.timedelta()
) -> OcspAnswer:
    return read_answer(data, whose.certificate, authority.certificate, dt.datetime.now(dt.UTC) + later)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Give the register of the root, in which Ann is good and Bob is revoked."""
    made = Office(tmp_path, ROOT)
    made.enter(ANN)
    made.enter(BOB, "keyCompromise")
    return made


def asked(office: Office, whose: Holder = ANN, signer: Holder | None = None, *options: str) -> bytes:
    request = question(whose.certificate, office.authority.certificate)
    return office.answer(request, signer, *(options or ("-ndays", "1")))


@pytest.mark.real
def test_of_openssl(office: Office) -> None:
    """An answer tells whether the certificate is good, and until when that holds."""
    good, bad = read(asked(office)), read(asked(office, BOB), BOB)

    assert good.revoked == ""
    assert NOW < good.ends <= dt.datetime.now(dt.UTC) + DAY
    assert bad.revoked == f"revoked on {NOW - DAY:%Y-%m-%d} (keyCompromise)"


@pytest.mark.real
def test_of_rsa(tmp_path: Path) -> None:
    """An authority with an RSA key answers as well."""
    ours = root(key=rsa.generate_private_key(65537, 2048))
    person, office = ours.person("ann@clinic.test"), Office(tmp_path, ours)
    office.enter(person)

    assert read(asked(office, person), person, ours).revoked == ""


@pytest.mark.real
def test_responders(office: Office) -> None:
    """A responder speaks for the authority if that one made it one, for now."""
    made = ROOT.issue("Responder", [(FOR_OCSP, False)])
    ended = ROOT.issue("Ended", [(FOR_OCSP, False)], ends=NOW - HOUR)
    weak = office.weak_responder()
    anybody, others = ROOT.person("eve@clinic.test"), root("Other").issue("Responder", [(FOR_OCSP, False)])

    assert read(asked(office, ANN, made)).revoked == ""
    for signer in (ended, anybody, others, root(), weak):
        with pytest.raises(CryptoError, match="nor whom that one made its responder"):
            read(asked(office, ANN, signer))


@pytest.mark.real
def test_times(office: Office) -> None:
    """An answer holds until it ends; without an end, while it is fresh."""
    ending, endless = asked(office), asked(office, ANN, None, "-rmd", "sha256")

    with pytest.raises(CryptoError, match="it held until"):
        read(ending, later=2 * DAY)
    with pytest.raises(CryptoError, match="it holds from"):
        read(ending, later=-HOUR)
    assert read(endless, later=HOUR / 2).revoked == ""
    with pytest.raises(CryptoError, match="names no end"):
        read(endless, later=2 * HOUR)


def of_the_same_key() -> Holder:
    """Make a certificate of an authority of another name, with the same key and Ann's serial number."""
    mine = ANN.certificate
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Other")])
    builder = x509.CertificateBuilder(name, mine.subject, mine.public_key(), mine.serial_number, NOW, NOW + DAY)
    return Holder(builder.sign(ROOT.key, hashes.SHA256()), ANN.key)


@pytest.mark.real
def test_other_questions(office: Office) -> None:
    """Only an answer about this very certificate of this very authority tells."""
    both = ocsp.OCSPRequestBuilder().add_certificate(ANN.certificate, ROOT.certificate, hashes.SHA256()).build()
    stranger = ROOT.person("stranger@clinic.test")

    with pytest.raises(CryptoError, match="about another certificate"):
        read(asked(office), BOB)
    with pytest.raises(CryptoError, match="about another certificate"):
        read(asked(office), authority=root())
    with pytest.raises(CryptoError, match="about another certificate"):
        read(asked(office), of_the_same_key())
    with pytest.raises(CryptoError, match="about another certificate"):
        read(office.answer(both.public_bytes(Encoding.DER), None, "-ndays", "1"))
    with pytest.raises(CryptoError, match="does not know the certificate"):
        read(asked(office, stranger), stranger)
    with pytest.raises(CryptoError, match="signed with sha1"):
        read(asked(office, ANN, None, "-rmd", "sha1", "-ndays", "1"))


def built(*extensions: x509.ExtensionType) -> bytes:
    """Build an answer with these extensions, all critical."""
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=ANN.certificate,
        issuer=ROOT.certificate,
        algorithm=hashes.SHA1(),  # noqa: S303 - names the authority
        cert_status=ocsp.OCSPCertStatus.REVOKED,
        this_update=NOW,
        next_update=NOW + DAY,
        revocation_time=NOW,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, ROOT.certificate)
    for one in extensions:
        builder = builder.add_extension(one, critical=True)
    return builder.sign(ROOT.key, hashes.SHA256()).public_bytes(Encoding.DER)


def refused() -> bytes:
    answer = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    return answer.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (refused, "answered try_later"),
        (lambda: built(UNKNOWN), "1.2.3.4 is critical"),
        (lambda: b"", "cannot be read"),
        (lambda: b"rubbish", "cannot be read"),
    ],
    ids=["later", "critical extension", "nothing", "rubbish"],
)
def test_not_taken(make: Callable[[], bytes], reason: str) -> None:
    """From an odd answer nothing follows."""
    with pytest.raises(CryptoError, match=reason):
        read(make())


def test_places() -> None:
    """The responders that a certificate names are asked."""
    person = ROOT.person("ann@clinic.test", asked_at(ocsp="http://ocsp.test/"))

    assert list(responders_of(person.certificate)) == ["http://ocsp.test/"]
    assert list(responders_of(ANN.certificate)) == []


DATA = built()


@given(st.data())
def test_broken_answers(data: st.DataObject) -> None:
    """A changed answer is refused in words: it never tells that Ann is good."""
    broken = bytearray(DATA)
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(CryptoError):
        assert read(bytes(broken)).revoked
