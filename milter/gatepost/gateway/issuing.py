"""
Issuing: certificates of ours for S/MIME, by the site's own authority or by an outside one.

Rules:
  * The site's authority is made when it is first needed, and stays until it is replaced on purpose.
  * It vouches for what is inside, and for nothing else.
  * Every private key, the authority's too, is kept sealed to the secret `keys`. Who has one used must be able to
    read that secret: root, or the key worker's user.
  * A certificate completes the request that its public key was made for, and no other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from gatepost.crypto import authority, seal
from gatepost.directory.key import Key
from gatepost.errors import CryptoError, DirectoryError
from gatepost.gateway.keyring import Keyring, read_owner
from gatepost.message.direction import Site

_AUTHORITY_DAYS = 3653


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority of the site: its certificate in DER, its key sealed; `expires` in UTC."""

    fingerprint: str
    certificate: bytes
    sealed: bytes
    expires: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """A request that waits: the SHA-256 of its public key, for whom it is, its key sealed."""

    digest: str
    owner: str
    sealed: bytes


class IssuingStore(Protocol):
    """Keeps authorities and requests. Raises StorageError, DirectoryError."""

    def authorities(self) -> tuple[Authority, ...]:
        """Give the site's authorities, the latest first."""

    def add_authority(self, one: Authority, at: datetime) -> None:
        """Write a new authority."""

    def add_request(self, one: Request, at: datetime) -> None:
        """Write a request that waits for its answer."""

    def request(self, digest: str) -> Request:
        """Give the request for the public key of that digest; raises DirectoryError if there is none."""

    def remove_request(self, digest: str) -> None:
        """Delete a request."""


class Issuing:
    """Makes certificates of ours for an administrator."""

    def __init__(
        self,
        *,
        store: IssuingStore,
        ring: Keyring,
        public: Callable[[], bytes],
        private: Callable[[], Sequence[bytes]],
        site: Site,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """
        Take where keys go, the ways to the halves of the secret `keys` (the private ones raise ConfigError where
        they cannot be read), and what is inside.
        """
        self._store = store
        self._ring = ring
        self._public = public
        self._private = private
        self._site = site
        self._clock = clock

    def generate(self, owner: str, algorithm: str, days: int) -> tuple[Key, ...]:
        """Make a key and its certificate for one of our addresses or domains, valid for so many days."""
        name = self._inside(owner)
        issuer = self._issuer(name)
        private = seal.unwrap_any(self._private(), issuer.sealed, authority.authority_context(issuer.fingerprint))
        pem = authority.issue(issuer.certificate, private, name, algorithm=algorithm, now=self._clock(), days=days)
        return self._ring.add_made(pem, name, "made here", (issuer.certificate,))

    def renew_authority(self) -> Authority:
        """Make a new authority, which issues from now on; certificates of the one before stay as they are."""
        domains = tuple(sorted(self._site.domains, key=lambda one: one.startswith(".")))
        now = self._clock()
        self._private()  # who cannot use it makes none
        certificate, private = authority.new_authority(domains, now, _AUTHORITY_DAYS)
        fingerprint = authority.fingerprint(certificate)
        sealed = seal.wrap(self._public(), private, authority.authority_context(fingerprint))
        made = Authority(fingerprint, certificate, sealed, authority.ends(certificate))
        self._store.add_authority(made, now)
        return made

    def authority(self) -> Authority:
        """Give the authority that issues; raises DirectoryError if there is none yet."""
        found = self._store.authorities()
        if not found:
            raise DirectoryError(
                "the site has no authority yet; the first `gatepost key generate smime --for ...` makes it"
            )
        return found[0]

    def request(self, owner: str, algorithm: str) -> str:
        """Make a key of ours and give the request for its certificate, PKCS #10 as PEM; the key waits for that."""
        name = self._inside(owner)
        pem, private = authority.request(name, algorithm)
        digest = authority.private_digest(private)
        sealed = seal.wrap(self._public(), private, authority.request_context(digest))
        self._store.add_request(Request(digest, name, sealed), self._clock())
        return pem

    def complete(self, name: str, certificates: Sequence[bytes]) -> tuple[Key, ...]:
        """
        Take the certificate that answers a request, in DER, with those above it, from a file of that name.

        Raises DirectoryError if none of them answers one.
        """
        found = [(one, self._answered(one)) for one in certificates]
        answers = [(one, request) for one, request in found if request is not None]
        if len(answers) != 1:
            raise DirectoryError(
                f"file {name} holds no private key, and {len(answers) or 'no'} certificate in it answers a request"
                " made here by `key generate smime --csr`; give one that does, or the key beside its certificate"
            )
        ((certificate, request),) = answers
        private = seal.unwrap_any(self._private(), request.sealed, authority.request_context(request.digest))
        pem = authority.with_private(certificate, private)
        above = authority.chain_of(certificate, certificates)
        keys = self._ring.add_made(pem, request.owner, f"file {name}", above)
        self._store.remove_request(request.digest)
        return keys

    def _answered(self, certificate: bytes) -> Request | None:
        try:
            return self._store.request(authority.key_digest(certificate))
        except (CryptoError, DirectoryError):
            return None

    def _inside(self, owner: str) -> str:
        name = read_owner(owner)
        if not self._site.is_internal_domain(name.rpartition("@")[2]):
            raise DirectoryError(
                f"{name} is no address or domain of ours; [gateway] internal_domains names those that are"
            )
        return name

    def _issuer(self, owner: str) -> Authority:
        """Give the authority that issues, made if need be; raises DirectoryError if it may not for the owner."""
        found = self._store.authorities()
        if not found:
            return self.renew_authority()
        domain = owner.rpartition("@")[2]
        allowed = Site(frozenset(authority.constrained_to(found[0].certificate)))
        if not allowed.is_internal_domain(domain):
            raise DirectoryError(
                f"the site's authority was made before {domain} was one of its domains, and may not vouch for it;"
                " make a new authority with --new-ca, and give its certificate to partners"
            )
        return found[0]
