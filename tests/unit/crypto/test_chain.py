"""Chains of certificates, by table: OpenSSL and Gatepost agree, but where Gatepost is stricter."""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st
from lab.mail_authority import (
    AUTHORITY,
    DAY,
    FOR_MAIL,
    FOR_OCSP,
    Extensions,
    Holder,
    asked_at,
    openssl_verifies,
    root,
    usage,
)

from gatepost.crypto.chain import MOST_BESIDE, Chain, Chains, read_authorities
from gatepost.errors import CryptoError

NOW = dt.datetime.now(dt.UTC)
ROOT = root()
INNER = ROOT.issue("Inner", AUTHORITY)
FOR_TLS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
FOR_ANY = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0")
ANY_POLICY = x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("2.5.29.32.0"), None)])

Case = tuple[Holder, Sequence[Holder], Sequence[Holder]]
"""A certificate, those beside it, and the roots."""


def judged(case: Case, moment: dt.datetime = NOW) -> Chain:
    leaf, beside, roots = case
    return Chains([one.certificate for one in roots]).build(leaf.der, [one.der for one in beside], moment)


def below(*extensions: tuple[x509.ExtensionType, bool], address: str = "ann@clinic.test") -> Callable[[], Case]:
    """Give a chain through an authority with these extensions."""

    def make() -> Case:
        middle = ROOT.issue("Middle", extensions)
        return middle.person(address), [middle], [ROOT]

    return make


def constrained(
    permitted: str = "", excluded: str = "", *, address: str = "", in_subject: str = ""
) -> Callable[[], Case]:
    """Give a chain through an authority that may vouch for some addresses only."""

    def make() -> Case:
        trees = [[x509.RFC822Name(one)] if one else None for one in (permitted, excluded)]
        middle = ROOT.issue("Middle", [*AUTHORITY, (x509.NameConstraints(trees[0], trees[1]), True)])
        return middle.issue("Ann", [(FOR_MAIL, False)], address=address, in_subject=in_subject), [middle], [ROOT]

    return make


def leaf(
    extensions: Extensions = (), *, starts: dt.datetime | None = None, ends: dt.datetime | None = None
) -> Callable[[], Case]:
    """Give a chain whose last certificate has these extensions."""

    def make() -> Case:
        person = INNER.issue("Ann", extensions, address="ann@clinic.test", starts=starts, ends=ends)
        return person, [INNER], [ROOT]

    return make


def deep(length: int) -> Case:
    """Give a chain of two authorities, the upper of which allows so many below it."""
    upper = ROOT.issue("Upper", [(x509.BasicConstraints(ca=True, path_length=length), True)])
    lower = upper.issue("Lower", AUTHORITY)
    return lower.person("ann@clinic.test"), [lower, upper], [ROOT]


def expired_root() -> Case:
    old = root("Old", ends=NOW - DAY)
    return old.person("ann@clinic.test"), [], [old]


def forged() -> Case:
    """Give a chain whose authority is one by name only."""
    other = Holder(INNER.certificate, root().key)
    return other.person("ann@clinic.test"), [INNER], [ROOT]


TAKEN: dict[str, Callable[[], Case]] = {
    "good": lambda: (INNER.person("ann@clinic.test"), [INNER], [ROOT]),
    "right below the root": lambda: (ROOT.person("ann@clinic.test"), [], [ROOT]),
    "beside others": lambda: (INNER.person("ann@clinic.test"), [ROOT.issue("Other", AUTHORITY), INNER], [ROOT]),
    "no purpose": leaf(),
    "critical purpose": leaf([(FOR_MAIL, True)]),
    "address in the subject": lambda: (INNER.issue("Ann", in_subject="ann@clinic.test"), [INNER], [ROOT]),
    "places to ask": leaf(asked_at(ocsp="http://a.test/", lists="http://b.test/")),
    "basicConstraints that are not critical": below((x509.BasicConstraints(ca=True, path_length=None), False)),
    "an authority for mail": below(*AUTHORITY, (FOR_MAIL, False), (usage(certificates=True), True)),
    "policies that are critical": below(*AUTHORITY, (ANY_POLICY, True)),
    "path length that suffices": lambda: deep(1),
    "permitted domain": constrained("clinic.test", address="ann@clinic.test"),
    "permitted domain, other letters": constrained("clinic.test", address="ann@Clinic.Test"),
    "permitted subdomains": constrained(".clinic.test", address="ann@x.clinic.test"),
    "permitted address": constrained("ann@clinic.test", address="ann@clinic.test"),
    "not excluded": constrained("", "evil.test", address="ann@clinic.test", in_subject="ann@clinic.test"),
}

REFUSED: dict[str, tuple[Callable[[], Case], str]] = {
    "expired": (leaf(ends=NOW - DAY), "the certificate: expired on"),
    "not yet valid": (leaf(starts=NOW + DAY), "the certificate: not valid before"),
    "for TLS": (leaf([(FOR_TLS, False)]), "does not name e-mail"),
    "for OCSP": (leaf([(FOR_OCSP, False)]), "does not name e-mail"),
    "critical extension": (leaf([(UNKNOWN, True)]), "1.2.3.4"),
    "no authority beside": (
        lambda: (INNER.person("ann@clinic.test"), [], [ROOT]),
        "no authority that is known here issued it; its issuer is CN=Inner",
    ),
    "unknown root": (
        lambda: (INNER.person("ann@clinic.test"), [INNER, ROOT], [root("Other")]),
        "the authority CN=Root",
    ),
    "root of the same name": (
        lambda: (INNER.person("ann@clinic.test"), [INNER], [root()]),
        "the authority CN=Inner: no authority that is known here issued it; its issuer is CN=Root",
    ),
    "forged": (forged, "the certificate: no authority that is known here issued it"),
    "expired root": (expired_root, "the authority CN=Old: expired on"),
    "a person as authority": (below(), "the authority CN=Middle: it is no authority's"),
    "CA:FALSE as authority": (
        below((x509.BasicConstraints(ca=False, path_length=None), True)),
        "the authority CN=Middle: it is no authority's",
    ),
    "an authority that may not issue": (below(*AUTHORITY, (usage(lists=True), True)), "to sign certificates"),
    "an authority for TLS": (below(*AUTHORITY, (FOR_TLS, False)), "CN=Middle: its extended key usage"),
    "an authority with a critical extension": (below(*AUTHORITY, (UNKNOWN, True)), "1.2.3.4"),
    "path length exceeded": (lambda: deep(0), "CN=Upper: 1 authorities stand below it, and it allows 0"),
    "not permitted": (constrained("clinic.test", address="ann@evil.test"), "name constraints"),
    "a subdomain": (constrained("clinic.test", address="ann@x.clinic.test"), "name constraints"),
    "subdomains only": (constrained(".clinic.test", address="ann@clinic.test"), "name constraints"),
    "another address": (constrained("ann@clinic.test", address="eve@clinic.test"), "name constraints"),
    "excluded": (constrained("", "clinic.test", address="ann@clinic.test"), "name constraint"),
    "not permitted in the subject": (
        constrained("clinic.test", address="ann@clinic.test", in_subject="eve@evil.test"),
        "CN=Middle may not vouch for eve@evil.test",
    ),
    "the subject alone": (constrained("clinic.test", in_subject="eve@evil.test"), "eve@evil.test"),
    "excluded in the subject": (constrained("", "evil.test", in_subject="eve@evil.test"), "eve@evil.test"),
}


def of_organisation() -> Case:
    names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ann")])
    constraints = x509.NameConstraints([x509.DirectoryName(names)], None)
    middle = ROOT.issue("Middle", [*AUTHORITY, (constraints, True)])
    return middle.person("ann@clinic.test"), [middle], [ROOT]


STRICTER: dict[str, tuple[Callable[[], Case], str]] = {
    "an authority itself": (leaf(AUTHORITY), "it is an authority's, and no correspondent's"),
    "excluded, with a blank": (constrained("", "evil.test", in_subject="eve@evil.test "), "eve@evil.test"),
}


@pytest.mark.real
@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str, tmp_path: Path) -> None:
    """A chain that holds is given from the certificate to the root, and OpenSSL takes it too."""
    case = TAKEN[name]()

    found = judged(case)

    assert found.refusal == ""
    assert found.links[0] == case[0].certificate
    assert found.links[-1] in [one.certificate for one in case[2]]
    assert openssl_verifies(tmp_path, *case)


@pytest.mark.real
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    """A chain that does not hold is refused with the reason, and OpenSSL refuses it too."""
    make, reason = REFUSED[name]
    case = make()

    found = judged(case)

    assert reason in found.refusal
    assert not found.links
    assert not openssl_verifies(tmp_path, *case)


def test_any_purpose() -> None:
    """A certificate for any purpose is for mail too (RFC 8550 section 4.4.4), which OpenSSL does not hold."""
    assert not judged(leaf([(FOR_ANY, False)])()).refusal


@pytest.mark.real
@pytest.mark.parametrize("name", STRICTER)
def test_stricter_than_openssl(name: str, tmp_path: Path) -> None:
    """What OpenSSL takes and Gatepost refuses is known."""
    make, reason = STRICTER[name]
    case = make()

    assert reason in judged(case).refusal
    assert openssl_verifies(tmp_path, *case)


def test_constraints_of_other_kinds_refuse() -> None:
    """What the library cannot tell is refused: constraints on the subject's name."""
    assert "directoryName" in judged(of_organisation()).refusal


def test_another_moment() -> None:
    """A chain is judged as it holds at the moment that is asked for."""
    case = leaf(ends=NOW - DAY)()

    assert judged(case, NOW).refusal
    assert not judged(case, NOW - 2 * DAY).refusal


def test_configured_intermediates() -> None:
    """An authority that the settings name need not come beside the certificate, and is no root by that."""
    person = INNER.person("ann@clinic.test")

    assert not Chains([ROOT.certificate], [INNER.certificate]).build(person.der, (), NOW).refusal
    assert Chains([root("Other").certificate], [INNER.certificate]).build(person.der, (), NOW).refusal


def test_what_comes_beside_is_bounded() -> None:
    """Certificates that came beside one are read up to a number; what is no certificate is passed over."""
    person, rubbish = INNER.person("ann@clinic.test"), b"rubbish"
    chains = Chains([ROOT.certificate])

    assert not chains.build(person.der, [rubbish] * (MOST_BESIDE - 1) + [INNER.der], NOW).refusal
    assert chains.build(person.der, [rubbish] * MOST_BESIDE + [INNER.der], NOW).refusal


PERSON = INNER.person("ann@clinic.test", asked_at(ocsp="http://a.test/", lists="http://b.test/")).der


@given(st.data())
def test_broken_certificates_are_refused(data: st.DataObject) -> None:
    """Whatever octets are changed, it is refused in words."""
    broken = bytearray(PERSON)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(broken) - 1))
        broken[place] ^= data.draw(st.integers(1, 255))
    if bytes(broken) != PERSON:
        assert Chains([ROOT.certificate]).build(bytes(broken), [INNER.der], NOW).refusal


@given(st.binary(max_size=200))
def test_rubbish_is_refused(data: bytes) -> None:
    """What is no certificate is refused in words."""
    assert "cannot be read" in Chains([ROOT.certificate]).build(data, (), NOW).refusal


def test_files_of_authorities() -> None:
    """A PEM file gives its certificates; anything else says what is wrong."""
    pem = b"".join(one.certificate.public_bytes(Encoding.PEM) for one in (ROOT, INNER))

    assert read_authorities(b"# ours\n" + pem) == (ROOT.certificate, INNER.certificate)
    for wrong in (b"", b"nothing", ROOT.der, pem.replace(b"MII", b"XXX")):
        with pytest.raises(CryptoError, match="no certificates in PEM can be read"):
            read_authorities(wrong)
