"""Revocation lists: those of `openssl ca` are read as `openssl verify` reads them; odd ones tell nothing."""

import datetime as dt
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st
from lab.mail_authority import AUTHORITY, DAY, Holder, Office, asked_at, openssl_verifies, root, usage

from gatepost.crypto import der
from gatepost.crypto.revocation_list import RevocationList, lists_of, read_list
from gatepost.errors import CryptoError

NOW = dt.datetime.now(dt.UTC)
URL = "http://lists.test/root.crl"
ROOT = root()
ANN = ROOT.person("ann@clinic.test", asked_at(lists=URL))
INNER = ROOT.issue("Inner", AUTHORITY)
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0")


def place(**what: object) -> x509.IssuingDistributionPoint:
    """Give a scope, all certificates where nothing else is said."""
    said = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(said | what))  # type: ignore[arg-type]


def written(*extensions: x509.ExtensionType, of_entry: x509.ExtensionType | None = None) -> bytes:
    """Write a list with these extensions, all critical, that names Ann where `of_entry` says something of her."""
    builder = x509.CertificateRevocationListBuilder(ROOT.certificate.subject, NOW - DAY, NOW + DAY)
    for one in extensions:
        builder = builder.add_extension(one, critical=True)
    if of_entry is not None:
        entry = x509.RevokedCertificateBuilder(ANN.certificate.serial_number, NOW - DAY)
        critical = not isinstance(of_entry, x509.CRLReason)
        builder = builder.add_revoked_certificate(entry.add_extension(of_entry, critical=critical).build())
    return builder.sign(ROOT.key, hashes.SHA256()).public_bytes(Encoding.DER)


def endless() -> bytes:
    """Write a list that does not say until when it holds."""
    parts = [whole for _, whole, _ in der.parts(der.content(x509.load_der_x509_crl(written()).tbs_certlist_bytes))]
    del parts[4]
    to_be_signed = der.sequence(*parts)
    assert isinstance(ROOT.key, ec.EllipticCurvePrivateKey)
    signature = ROOT.key.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))
    return der.sequence(to_be_signed, parts[1], der.bits(signature))


def read(data: bytes, authority: Holder = ROOT, now: dt.datetime | None = None) -> RevocationList:
    return read_list(data, authority.certificate, now or dt.datetime.now(dt.UTC))


def openssl_agrees(
    folder: Path, data: bytes, *, taken: bool, authority: Holder = ROOT, whose: Holder = ANN
) -> bool:
    (folder / "list.pem").write_bytes(x509.load_der_x509_crl(data).public_bytes(Encoding.PEM))
    options = ("-crl_check", "-CRLfile", "list.pem")
    return openssl_verifies(folder, whose, [], [authority], *options) is taken


@pytest.mark.real
@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_of_openssl(tmp_path: Path, kind: str) -> None:
    """A list of OpenSSL tells who was revoked, when and why; and until when it holds."""
    ours = ROOT if kind == "EC" else root(key=rsa.generate_private_key(65537, 2048))
    office = Office(tmp_path / "office", ours)
    good, bad = ours.person("ann@clinic.test"), ours.person("bob@clinic.test")
    office.enter(good)
    office.enter(bad, "keyCompromise")
    data = office.revocations()

    found = read(data, ours)

    assert found.revoked(good.certificate) == ""
    assert found.revoked(bad.certificate) == f"revoked on {NOW - DAY:%Y-%m-%d} (keyCompromise)"
    assert NOW < found.ends < NOW + 2 * DAY
    assert openssl_agrees(tmp_path, data, taken=True, authority=ours, whose=good)
    assert openssl_agrees(tmp_path, data, taken=False, authority=ours, whose=bad)


def test_pem() -> None:
    """A list in PEM is read, too."""
    data = x509.load_der_x509_crl(written()).public_bytes(Encoding.PEM)

    assert read(data).revoked(ANN.certificate) == ""


def lasting(starts: dt.datetime, ends: dt.datetime) -> tuple[str, ...]:
    return ("-crl_lastupdate", f"{starts:%Y%m%d%H%M%SZ}", "-crl_nextupdate", f"{ends:%Y%m%d%H%M%SZ}")


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (lasting(NOW - DAY, NOW - DAY / 2), "it held until"),
        (lasting(NOW + DAY / 2, NOW + DAY), "it holds from"),
    ],
    ids=["stale", "of the future"],
)
def test_out_of_time(tmp_path: Path, options: tuple[str, ...], reason: str) -> None:
    """A list that has ended, or has not begun, is not taken, as by OpenSSL."""
    data = Office(tmp_path / "office", ROOT).revocations(*options)

    with pytest.raises(CryptoError, match=f"the revocation list is not taken: {reason}"):
        read(data)
    assert openssl_agrees(tmp_path, data, taken=False)


@pytest.mark.real
def test_of_another(tmp_path: Path) -> None:
    """A list that bears the authority's name and another's signature is not taken; nor one of another name."""
    data = Office(tmp_path / "office", root()).revocations()

    with pytest.raises(CryptoError, match="its authority did not sign it"):
        read(data)
    with pytest.raises(CryptoError, match="it is CN=Root's"):
        read(data, INNER)
    assert openssl_agrees(tmp_path, data, taken=False)


@pytest.mark.real
@pytest.mark.parametrize("taken", [True, False])
def test_who_may_not_sign_lists(tmp_path: Path, *, taken: bool) -> None:
    """The key usage of an authority, if it is there, must allow to sign lists, as for OpenSSL."""
    ours = root("Own", [*AUTHORITY, (usage(certificates=True, lists=taken), True)])
    person = ours.person("ann@clinic.test")
    data = Office(tmp_path / "office", ours).revocations()

    with nullcontext() if taken else pytest.raises(CryptoError, match="key usage of its authority"):
        assert read(data, ours).revoked(person.certificate) == ""
    assert openssl_agrees(tmp_path, data, taken=taken, authority=ours, whose=person)


@pytest.mark.real
def test_weak_digest(tmp_path: Path) -> None:
    """A list that is signed with SHA-1 is not taken."""
    data = Office(tmp_path, ROOT).revocations("-md", "sha1")

    with pytest.raises(CryptoError, match="signed with sha1"):
        read(data)


NOT_TAKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "endless": (endless, "does not say until when"),
    "critical extension": (lambda: written(UNKNOWN), "1.2.3.4 is critical"),
    "changes alone": (lambda: written(x509.DeltaCRLIndicator(1)), "2.5.29.27 is critical"),
    "indirect": (lambda: written(place(indirect_crl=True)), "certificates of others"),
    "attributes": (lambda: written(place(only_contains_attribute_certs=True)), "certificates of others"),
    "some reasons": (
        lambda: written(place(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))),
        "some reasons alone",
    ),
    "rubbish": (lambda: b"rubbish", "cannot be read"),
    "nothing": (lambda: b"", "cannot be read"),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_not_taken(name: str) -> None:
    """From an odd list nothing follows."""
    make, reason = NOT_TAKEN[name]

    with pytest.raises(CryptoError, match=reason):
        read(make())


def names(*urls: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(url) for url in urls]


@pytest.mark.parametrize(
    ("scope", "whose", "tells"),
    [
        (place(full_name=names(URL)), ANN, True),
        (place(full_name=names("http://lists.test/other.crl")), ANN, False),
        (place(only_contains_user_certs=True), ANN, True),
        (place(only_contains_user_certs=True), INNER, False),
        (place(only_contains_ca_certs=True), ANN, False),
        (place(only_contains_ca_certs=True), INNER, True),
    ],
)
def test_scope(scope: x509.IssuingDistributionPoint, whose: Holder, *, tells: bool) -> None:
    """A list for one kind of certificate, or for one place, tells nothing of others."""
    found = read(written(scope))

    if tells:
        assert found.revoked(whose.certificate) == ""
    else:
        with pytest.raises(CryptoError, match=r"the revocation list is (not )?for"):
            found.revoked(whose.certificate)


def test_entries() -> None:
    """Who is on hold is revoked, who was taken off is not, and a critical word that is not known tells nothing."""
    hold = read(written(of_entry=x509.CRLReason(x509.ReasonFlags.certificate_hold)))
    off = read(written(of_entry=x509.CRLReason(x509.ReasonFlags.remove_from_crl)))
    odd = read(written(of_entry=UNKNOWN))

    assert "certificateHold" in hold.revoked(ANN.certificate)
    assert off.revoked(ANN.certificate) == ""
    with pytest.raises(CryptoError, match="critical extension"):
        odd.revoked(ANN.certificate)


def test_places() -> None:
    """Only places of whole lists of the authority itself are asked."""
    others = x509.DistributionPoint(names("http://x.test/"), None, None, names("http://other.test/"))
    some = x509.DistributionPoint(names("http://y.test/"), None, frozenset({x509.ReasonFlags.superseded}), None)
    odd = ROOT.person("ann@clinic.test", [(x509.CRLDistributionPoints([others, some]), False)])

    assert list(lists_of(ANN.certificate)) == [URL]
    assert list(lists_of(odd.certificate)) == []
    assert list(lists_of(INNER.certificate)) == []


DATA = written(of_entry=x509.CRLReason(x509.ReasonFlags.key_compromise))


@given(st.data())
def test_broken_lists(data: st.DataObject) -> None:
    """A changed list is refused in words: it never tells that Ann is good."""
    broken = bytearray(DATA)
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(CryptoError):
        assert read(bytes(broken)).revoked(ANN.certificate)
