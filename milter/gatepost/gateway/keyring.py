"""
The keyring: keys come in, under whom they are kept, and how the site's own are made.

Rules:
  * A key is kept under an address only if its own user IDs name that address; under a domain, whoever puts it
    there vouches for it.
  * Whose a key is may be left to its user IDs only where these name one domain: whoever made the file chose them.
    A partner's key is never kept so under one of our addresses.
  * A private key is never stored by accident, and never but sealed to the key worker.
  * A file is taken whole or not at all.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from gatepost.crypto import guard, seal
from gatepost.crypto.certificate import Certificate, Reader, is_x509
from gatepost.crypto.certification import NO_AUTHORITIES, Certification
from gatepost.crypto.openpgp import private_context
from gatepost.directory.key import Key, Trust, current
from gatepost.errors import AddressError, DirectoryError
from gatepost.gateway.fitness import Fitness
from gatepost.message import address
from gatepost.message.direction import Site


class Table(Protocol):
    """The key table. Raises StorageError, DirectoryError."""

    def rows(self) -> tuple[Key, ...]:
        """Give every key, by owner."""

    def put(self, keys: Sequence[Key], sealed: bytes | None = None) -> None:
        """Write keys, over those of the same fingerprint and owner, all or none, with their private half."""

    def trust(self, fingerprint: str, level: Trust) -> None:
        """Set how well a key is known."""

    def remove(self, fingerprint: str, owner: str = "") -> None:
        """Delete a key, under one owner or under all."""


class PrivateReader(Protocol):
    """Reads private keys. Raises CryptoError, WorkerError."""

    def read_private(self, data: bytes, passphrase: str) -> tuple[bytes, bytes]:
        """Read one private key, taking its passphrase off; gives its public and its private half."""


class TokenReader(Protocol):
    """Reads private keys that stay on a token (PKCS #11). Raises CryptoError, WorkerError."""

    def read_private(self, certificate: bytes, uri: str) -> bytes:
        """Find the key of a certificate (DER) by its URI (RFC 7512); gives what is kept of it."""


class Maker(PrivateReader, Protocol):
    """Makes private keys too. Raises CryptoError, WorkerError."""

    def generate(self, user_id: str, days: int) -> tuple[bytes, bytes]:
        """Make a key; gives its public and its private half."""


class Keyring:
    """Edits the key table for an administrator."""

    def __init__(
        self,
        *,
        table: Table,
        reader: Reader,
        maker: Maker,
        smime: PrivateReader,
        tokens: Callable[[], TokenReader],
        public: Callable[[], bytes],
        site: Site,
        certification: Certification = NO_AUTHORITIES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """
        Take what makes OpenPGP keys, what reads private keys of S/MIME, the way to those on tokens, the way to the
        public half of the secret `keys`, for sealing private keys, what is ours, and what tells whether
        authorities vouch for a certificate.
        """
        self._table = table
        self._reader = reader
        self._fitness = Fitness(reader, certification)
        self._maker = maker
        self._smime = smime
        self._tokens = tokens
        self._public = public
        self._site = site
        self._clock = clock

    def read(self, files: Sequence[tuple[str, bytes]], owner: str) -> tuple[Key, ...]:
        """Read certificates from files, given with their names; nothing is stored yet."""
        found: list[Key] = []
        for name, data in files:
            for certificate in self._reader.read(data):
                keys = _keys(certificate, owner, f"file {name}")
                if not owner:
                    self._refuse_ours(keys)
                found += keys
        return tuple(found)

    def _refuse_ours(self, keys: Sequence[Key]) -> None:
        for key in keys:
            if self._site.is_internal_domain(key.owner.rpartition("@")[2]):
                raise DirectoryError(
                    f"key {key.fingerprint} names {key.owner}, an address of ours, in its user IDs; say whose"
                    " it is with --for"
                )

    def add(self, keys: Sequence[Key]) -> None:
        """Store keys of partners, all of them or none."""
        self._table.put(keys)

    def add_private(self, name: str, data: bytes, owner: str, passphrase: str) -> tuple[Key, ...]:
        """Store one private key of ours from a file, sealed; one of S/MIME with its certificate."""
        reader = self._smime if is_x509(data) else self._maker
        return self._seal(*reader.read_private(data, passphrase), owner, f"file {name}")

    def add_made(self, pem: bytes, owner: str, source: str, above: Sequence[bytes]) -> tuple[Key, ...]:
        """
        Store a private key of ours for S/MIME that was made here, with its certificate, sealed.

        The certificates above it, in DER, are kept behind it for those who get its signatures.
        """
        public, private = self._smime.read_private(pem, "")
        return self._seal(public, private + b"".join(above), owner, source)

    def add_on_token(self, name: str, data: bytes, owner: str, uri: str) -> tuple[Key, ...]:
        """Store a certificate of ours from a file, whose private key stays on a token; where it is, is sealed."""
        found = self._reader.read(data)
        if len(found) != 1 or found[0].kind != "smime":
            raise DirectoryError(f"file {name} must hold one certificate (X.509): that of the key on the token")
        private = self._tokens().read_private(found[0].data, uri)
        return self._seal(found[0].data, private, owner, uri)

    def generate(self, owner: str, days: int) -> tuple[Key, ...]:
        """Make a key for one of our addresses or domains, valid for so many days."""
        name = read_owner(owner)
        user_id = f"<{name}>" if "@" in name else f"{name} mail gateway <gatepost@{name}>"
        return self._seal(*self._maker.generate(user_id, days), name, "made here")

    def _seal(self, public: bytes, private: bytes, owner: str, source: str) -> tuple[Key, ...]:
        (certificate,) = self._reader.read(public)
        keys = _keys(certificate, owner, source)
        sealed = seal.wrap(self._public(), private, private_context(certificate.fingerprint))
        self._table.put(keys, sealed)
        return tuple(key for key in self.find(certificate.fingerprint) if key.own)

    def rows(self) -> tuple[Key, ...]:
        """Give every key, by owner."""
        return self._table.rows()

    def find(self, name: str) -> tuple[Key, ...]:
        """Give the rows of the one key whose fingerprint begins or ends so, or whose owner it is."""
        return _one(self._meant(name), name)

    def _meant(self, name: str) -> tuple[Key, ...]:
        wanted = name.replace(" ", "").upper()
        return tuple(
            key
            for key in self._table.rows()
            if wanted
            and (
                wanted == key.owner.upper()
                or key.fingerprint.startswith(wanted)
                or key.fingerprint.endswith(wanted)
            )
        )

    def current(self) -> frozenset[tuple[str, str]]:
        """Name those of our own keys that stand for their owner, by fingerprint and owner."""
        return current(self._table.rows(), self._clock())

    def for_partners(self, name: str, kind: str) -> Key:
        """
        Give the key that is meant, of a kind or, empty, of either: by fingerprint, or by its owner.

        An owner with several keys of ours means the current one.
        """
        found = [key for key in self._meant(name) if kind in {"", key.kind}]
        ours = self.current()
        if len({key.fingerprint for key in found}) > 1:
            found = [key for key in found if (key.fingerprint, key.owner) in ours] or found
        return _one(found, name)[0]

    def trust(self, fingerprint: str, level: Trust) -> tuple[Key, ...]:
        """Set how well a key is known, under every owner."""
        self._table.trust(self.find(fingerprint)[0].fingerprint, level)
        return self.find(fingerprint)

    def remove(self, fingerprint: str, owner: str) -> str:
        """Delete a key, under one owner or all; gives its fingerprint."""
        name = self.find(fingerprint)[0].fingerprint
        self._table.remove(name, read_owner(owner) if owner else "")
        return name

    def refusal(self, key: Key) -> str:
        """Tell why mail must not be encrypted to a key; empty if it may."""
        return self._fitness.refusal(key)


def _one(found: Sequence[Key], name: str) -> tuple[Key, ...]:
    """Give the rows of one key; raises DirectoryError where they are of none, or of several."""
    if not found:
        raise DirectoryError(f"there is no key {name!r}; see `gatepost key list`")
    if len({key.fingerprint for key in found}) > 1:
        raise DirectoryError(f"several keys are meant by {name!r}; give more of one's fingerprint")
    return tuple(found)


def read_owner(text: str) -> str:
    """Read an address or a domain as owners are kept: lower case; raises DirectoryError."""
    local, at, domain = text.strip().rpartition("@")
    if not domain or domain.startswith(".") or (at and not local) or any(sign.isspace() for sign in text.strip()):
        raise DirectoryError(f"{text!r} is neither an address nor a domain; write anna@example.org or example.org")
    try:
        return f"{local.lower()}{at}{address.normal_domain(domain)}"
    except AddressError as error:
        raise DirectoryError(str(error)) from error


def _keys(certificate: Certificate, owner: str, source: str) -> tuple[Key, ...]:
    return tuple(
        Key(
            fingerprint=certificate.fingerprint,
            kind=certificate.kind,
            owner=name,
            certificate=certificate.data,
            trust=Trust.ADMIN,
            expires=certificate.expires,
            source=source,
        )
        for name in _owners(certificate, owner)
    )


def _owners(certificate: Certificate, owner: str) -> Iterator[str]:
    named = ", ".join(certificate.addresses) or "no address"
    if not owner:
        if not certificate.addresses:
            raise DirectoryError(
                f"key {certificate.fingerprint} names no address in its user IDs; say whose it is with --for"
            )
        domains = sorted({one.rpartition("@")[2] for one in certificate.addresses})
        if len(domains) > 1:
            raise DirectoryError(
                f"key {certificate.fingerprint} names several domains in its user IDs ({', '.join(domains)}); say"
                " whose it is with --for"
            )
        yield from certificate.addresses
        return
    name = read_owner(owner)
    if not guard.bound_to(certificate, name):
        raise DirectoryError(
            f"key {certificate.fingerprint} has no user ID with {name} (it names {named}); import it for a domain"
            f" (--for {name.rpartition('@')[2]}), or leave --for out to use the addresses that it names"
        )
    yield name
