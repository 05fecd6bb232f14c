"""
Chains of certificates, from one for mail up to a root that the site trusts: RFC 5280 section 6 by the rules of
S/MIME (RFC 8550).

Rules:
  * What stands between the certificate and a root is an authority's: basicConstraints says so, critical or not,
    and keyUsage, if it is there, allows to sign certificates. Path lengths and name constraints hold.
  * The certificate is for mail: its extendedKeyUsage names e-mail or any purpose, or is absent. So are the
    authorities', where they name purposes.
  * A name constraint on addresses also holds for addresses in the subject, because mail goes by these too.
  * RSA has 2048 bits at least, digests are of SHA-2. A critical extension that is not known refuses the chain.

Whether anything was revoked is told by `revocation`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import (
    ClientVerifier,
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from gatepost.crypto import guard
from gatepost.errors import CryptoError

Extension = TypeVar("Extension", bound=x509.ExtensionType)

MOST_BESIDE = 32
"""Certificates that came beside one; more are not looked at."""
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for what it cannot read."""
_LONGEST = 8  # certificates between the first and the root
_FOR_MAIL = {ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


@dataclass(frozen=True, slots=True)
class Chain:
    """
    A chain from a certificate to a trusted root, both included.

    `refusal` tells why there is none, in words; it is empty where `links` are there.
    """

    links: tuple[x509.Certificate, ...] = ()
    refusal: str = ""


class Chains:
    """Builds chains to the given roots. Thread-safe."""

    def __init__(self, roots: Sequence[x509.Certificate], intermediates: Sequence[x509.Certificate] = ()) -> None:
        """Take at least one root."""
        self._roots = tuple(roots)
        self._store = Store(list(roots))
        self._intermediates = tuple(intermediates)

    def build(self, certificate: bytes, beside: Sequence[bytes], moment: datetime) -> Chain:
        """Build the chain of a certificate, in DER, with those that came beside it, as it holds at a moment."""
        try:
            return self._build(_loaded(certificate), tuple(_readable(beside)), moment)
        except CryptoError as error:
            return Chain(refusal=str(error))
        except UNREADABLE as error:
            return Chain(refusal=f"it cannot be read: {first_line(error)}")

    def _build(self, leaf: x509.Certificate, beside: Sequence[x509.Certificate], moment: datetime) -> Chain:
        others = (*self._intermediates, *beside)
        try:
            links = tuple(_verifier(self._store, moment).verify(leaf, list(others)).chain)
        except VerificationError as error:
            return Chain(refusal=_why(leaf, (*others, *self._roots), self._roots, moment) or _plain(error))
        fault = next(_name_faults(links), "")
        return Chain(refusal=fault) if fault else Chain(links)


def read_authorities(data: bytes) -> tuple[x509.Certificate, ...]:
    """Read the certificates of authorities from a PEM file; raises CryptoError."""
    guard.check_size(data, guard.MAX_KEYRING, "the file")
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except UNREADABLE as error:
        raise CryptoError(f"no certificates in PEM can be read: {first_line(error)}") from None


def expired(authorities: Sequence[x509.Certificate], now: datetime) -> tuple[str, ...]:
    """Tell which of these certificates have expired, and when."""
    gone = [one for one in authorities if one.not_valid_after_utc <= now]
    return tuple(f"{name_of(one)} expired on {one.not_valid_after_utc:%Y-%m-%d}" for one in gone)


def name_of(certificate: x509.Certificate) -> str:
    """Give the subject as people read it (RFC 4514)."""
    return certificate.subject.rfc4514_string()


def extension(found: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """Give an extension of a certificate; None if it lacks it. Raises ValueError if it cannot be read."""
    try:
        return found.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def first_line(error: Exception) -> str:
    """Give what an error says, without more lines."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _loaded(data: bytes) -> x509.Certificate:
    guard.check_size(data, guard.MAX_CERTIFICATE, "a certificate")
    try:
        return x509.load_der_x509_certificate(data)
    except UNREADABLE as error:
        raise CryptoError(f"an X.509 certificate cannot be read: {first_line(error)}") from None


def _readable(beside: Sequence[bytes]) -> Iterator[x509.Certificate]:
    """Give those of the certificates that can be read: what came with a message may be anything."""
    for data in beside[:MOST_BESIDE]:
        try:
            yield _loaded(data)
        except CryptoError:
            continue


def _verifier(store: Store, moment: datetime) -> ClientVerifier:
    builder = PolicyBuilder().store(store).time(moment).max_chain_depth(_LONGEST)
    return builder.extension_policies(ca_policy=_OF_AUTHORITIES, ee_policy=_OF_MAIL).build_client_verifier()


def _check_purposes(_: Policy, __: x509.Certificate, purposes: x509.ExtendedKeyUsage | None) -> None:
    if fault := _purpose_fault(purposes):
        raise ValueError(fault)


def _check_usage(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if fault := _usage_fault(usage):
        raise ValueError(fault)


def _check_leaf(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError(_IS_AUTHORITY)


_IS_AUTHORITY = "it is an authority's, and no correspondent's"
_ANY = Criticality.AGNOSTIC
_OF_AUTHORITIES = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, _ANY, None)
    .may_be_present(x509.CertificatePolicies, _ANY, None)  # no policy is asked for here
    .may_be_present(x509.KeyUsage, _ANY, _check_usage)
    .may_be_present(x509.ExtendedKeyUsage, _ANY, _check_purposes)
)
_OF_MAIL = (
    ExtensionPolicy.permit_all()
    .may_be_present(x509.BasicConstraints, _ANY, _check_leaf)
    .may_be_present(x509.CertificatePolicies, _ANY, None)
    .may_be_present(x509.ExtendedKeyUsage, _ANY, _check_purposes)
)


def _purpose_fault(purposes: x509.ExtendedKeyUsage | None) -> str:
    if purposes is None or not _FOR_MAIL.isdisjoint(purposes):
        return ""
    return "its extended key usage does not name e-mail"


def _usage_fault(usage: x509.KeyUsage | None) -> str:
    return "" if usage is None or usage.key_cert_sign else "its key usage does not allow to sign certificates"


def _name_faults(links: Sequence[x509.Certificate]) -> Iterator[str]:
    """Hold addresses against name constraints as they are read here, those of the subject too."""
    for authority in links[1:]:
        constraints = extension(authority, x509.NameConstraints)
        if constraints is None:
            continue
        permitted = _of_addresses(constraints.permitted_subtrees)
        excluded = _of_addresses(constraints.excluded_subtrees)
        for address in _addresses(links[0]):
            if _within(address, excluded) or (permitted and not _within(address, permitted)):
                yield f"the authority {name_of(authority)} may not vouch for {address} (name constraints)"


def _addresses(found: x509.Certificate) -> Iterator[str]:
    names = extension(found, x509.SubjectAlternativeName)
    said = [] if names is None else list(names.get_values_for_type(x509.RFC822Name))
    said += [str(one.value) for one in found.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    return filter(None, map(guard.normal_address, said))


def _of_addresses(subtrees: Sequence[x509.GeneralName] | None) -> list[str]:
    return [one.value.lower() for one in subtrees or () if isinstance(one, x509.RFC822Name)]


def _within(address: str, constraints: Sequence[str]) -> bool:
    """Tell whether one of them names an address: itself, its host, or `.domain` (RFC 5280 section 4.2.1.10)."""
    host = address.rpartition("@")[2]
    return any(
        host.endswith(one) if one.startswith(".") else one == (address if "@" in one else host)
        for one in constraints
    )


def _why(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], moment: datetime
) -> str:
    """Tell what is wrong on the way up from a certificate that the library refused; empty if not known."""
    link, whose = leaf, "the certificate"
    for below in range(_LONGEST + 1):
        if fault := next(filter(None, _faults(link, below, moment)), ""):
            return f"{whose}: {fault}"
        if link in roots:
            return ""
        above = next((one for one in others if _issued(one, link)), None)
        if above is None:
            return (
                f"{whose}: no authority that is known here issued it; its issuer is {link.issuer.rfc4514_string()}"
            )
        link, whose = above, f"the authority {name_of(above)}"
    return f"more than {_LONGEST} authorities stand between it and a root"


def _faults(link: x509.Certificate, below: int, moment: datetime) -> Iterator[str]:
    """Tell what is wrong with a link that has so many links below it; unreadable extensions are left to others."""
    starts, ends = link.not_valid_before_utc, link.not_valid_after_utc
    yield guard.Component("", "", 0, starts, ends, revoked=False, encrypts=True).untimely(moment)
    try:
        constraints = extension(link, x509.BasicConstraints)
        usage, purposes = extension(link, x509.KeyUsage), extension(link, x509.ExtendedKeyUsage)
    except UNREADABLE:
        return
    yield _purpose_fault(purposes)
    is_authority = constraints is not None and constraints.ca
    if not below:
        yield _IS_AUTHORITY if is_authority else ""
        return
    yield "" if is_authority else "it is no authority's, and yet it issued another"
    yield _usage_fault(usage)
    length = constraints.path_length if constraints is not None else None
    if length is not None and below - 1 > length:
        yield f"{below - 1} authorities stand below it, and it allows {length}"


def _issued(authority: x509.Certificate, link: x509.Certificate) -> bool:
    try:
        link.verify_directly_issued_by(authority)
    except (InvalidSignature, *UNREADABLE):
        return False
    return authority != link


def _plain(error: Exception) -> str:
    """Give the library's words without what it puts around them."""
    text = first_line(error).removeprefix("validation failed: ").removeprefix("candidates exhausted: ")
    return text.partition(" (encountered")[0]
