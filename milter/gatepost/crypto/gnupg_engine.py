"""
The OpenPGP engine that runs gpg (2.2 or later): both directions, and the making of keys.

Rules:
  * Output counts only with status `decryption ok` (or `encryption ok`) and exit status 0; anything else is
    dropped. gpg 2.2.8 and later fail hard without integrity protection.
  * A home for decryption holds one private key, so that gpg cannot use another one. All operations with private
    keys go through gpg: Sequoia's RSA leaks timing (RUSTSEC-2023-0071), and it cannot verify what is compressed.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from gatepost.crypto import guard
from gatepost.crypto.certificate import Certificate
from gatepost.crypto.gnupg_home import UNLOCKED, Home, records, remove_stale
from gatepost.crypto.guard import Component
from gatepost.crypto.openpgp import UNDECRYPTABLE, Decrypted, Verification
from gatepost.crypto.own_signature import Signature
from gatepost.errors import CryptoError

_REMEMBERED = 1024  # certificates in one keyring, results kept
_HOMES = 32  # private keys that have a home at one time
_NOT_OURS = "no secret key"  # python-gnupg's word for NO_SECKEY
_DIGEST = "SHA512"
_ALGORITHMS = {"1": "RSA", "2": "RSA", "3": "RSA", "16": "ElGamal", "17": "DSA", "20": "ElGamal"}


class GnupgEncryptor:
    """Implements Encryptor. Thread-safe; `close` removes gpg's home."""

    def __init__(self, program: str = "gpg", clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._program = program
        self._clock = clock
        self._home = Home(program)
        self._lock = threading.Lock()
        self._parsed = lru_cache(maxsize=_REMEMBERED)(self._parse)

    def read(self, data: bytes) -> tuple[Certificate, ...]:
        """Read armored or binary certificates; raises CryptoError naming what is wrong and in which one."""
        now = self._clock()
        found = self._parsed(data)
        return tuple(replace(one, refusal=guard.refusal(keys[0], keys[1:], now)) for one, keys in found)

    def encrypt(self, plaintext: bytes, certificates: Sequence[bytes]) -> bytes:
        """Encrypt to every certificate; gives ASCII armor with LF line ends. Raises CryptoError."""
        home, recipients = self._recipients(certificates)
        return _encrypt(home.gpg, BytesIO(plaintext), recipients)

    def encrypt_file(
        self,
        source: Path,
        target: Path,
        certificates: Sequence[bytes],
        directory: Path | None = None,  # noqa: ARG002 - the port's; gpg needs no temporary file
    ) -> None:
        """Encrypt one file into another, which exists, in bounded memory; as `encrypt` otherwise."""
        home, recipients = self._recipients(certificates)
        with source.open("rb") as plain, target.open("wb") as armored:
            _encrypt(home.writing_to(armored.write), plain, recipients)

    def close(self) -> None:
        """Remove gpg's home and whatever runs in it."""
        self._home.close()

    def _recipients(self, certificates: Sequence[bytes]) -> tuple[Home, list[str]]:
        if not certificates:
            raise CryptoError("no certificate to encrypt to")
        recipients = []
        for data in certificates:
            found = self.read(data)
            if len(found) != 1:
                raise CryptoError(f"one certificate is needed for each recipient, not {len(found)}")
            if found[0].refusal:
                raise CryptoError(f"key {found[0].fingerprint} must not be encrypted to: {found[0].refusal}")
            recipients.append(found[0].fingerprint)
        home = self._home_for(certificates)
        return home, recipients

    def _home_for(self, certificates: Sequence[bytes]) -> Home:
        """Give a home that holds these certificates; a crowded one is left for a new one."""
        with self._lock:
            if self._home.held > _REMEMBERED:
                self._home = Home(self._program)  # the old one is removed once nobody uses it
            home = self._home
        for data in certificates:
            home.import_keys(data)
        return home

    def _parse(self, data: bytes) -> tuple[tuple[Certificate, tuple[Component, ...]], ...]:
        guard.check_size(data, guard.MAX_KEYRING, "the key file")
        if not data.strip():
            raise CryptoError("no OpenPGP certificate found: the file is empty or holds something else")
        home = Home(self._program)
        try:
            fingerprints = home.import_keys(data)
            if not fingerprints:
                raise CryptoError("no OpenPGP certificate can be read: gpg finds none in it")
            secret = records(home.run("--with-colons", "--list-secret-keys"))
            if secret:
                name = next((record[9] for record in secret if record[0] == "fpr"), "")
                raise CryptoError(
                    f"key {name} comes with its private half, where only the public half is expected"
                )
            return tuple(_describe(home, fingerprint) for fingerprint in fingerprints)
        finally:
            home.close()


def _encrypt(gpg: Any, plain: Any, recipients: Sequence[str]) -> bytes:  # noqa: ANN401 - python-gnupg has no types
    options = ["--compress-algo", "none", "--no-encrypt-to"]
    try:
        result = gpg.encrypt_file(plain, recipients, always_trust=True, extra_args=options)
    except OSError as error:
        raise CryptoError(f"gpg stopped before it had read the message: {error.strerror}") from None
    if not result.ok or result.returncode != 0 or result.status != "encryption ok":
        raise CryptoError(f"gpg did not encrypt: {result.status or 'no reason given'}")
    if getattr(result, "on_data_failure", None) is not None:
        raise CryptoError("what gpg encrypted could not be written: is the disk full?")
    return bytes(result.data)


def _describe(home: Home, fingerprint: str) -> tuple[Certificate, tuple[Component, ...]]:
    listed = records(home.run("--with-colons", "--fixed-list-mode", "--list-keys", fingerprint))
    keys = tuple(_components(listed))
    data = home.run("--export", fingerprint)
    if not keys or not data:
        raise CryptoError(f"certificate {fingerprint} cannot be read")
    guard.check_size(data, guard.MAX_CERTIFICATE, f"certificate {fingerprint}")
    gone = keys[0].revoked  # gpg then marks all its user IDs as revoked
    user_ids = tuple(_unescaped(one[9]) for one in listed if one[0] == "uid" and (gone or one[1] != "r"))
    addresses = (guard.address_in(user_id) for user_id in user_ids)
    certificate = Certificate(
        fingerprint=fingerprint.upper(),
        user_ids=user_ids,
        addresses=tuple(dict.fromkeys(address for address in addresses if address)),
        data=data,
        created=keys[0].created,
        expires=guard.usable_until(keys[0], keys[1:]),
        refusal="",
    )
    return certificate, keys


def _components(listed: Sequence[Sequence[str]]) -> Iterator[Component]:
    for record, following in zip(listed, (*listed[1:], [""] * 12), strict=False):
        if record[0] in {"pub", "sub"}:
            yield Component(
                fingerprint=following[9] if following[0] == "fpr" else record[4],
                algorithm=_ALGORITHMS.get(record[3], "ECC"),
                bits=int(record[2] or 0),
                created=_moment(record[5]) or datetime.fromtimestamp(0, UTC),
                expires=_moment(record[6]),
                revoked=record[1] == "r",
                encrypts="e" in record[11],
            )


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text), UTC) if text.isdigit() and int(text) else None


def _unescaped(text: str) -> str:
    return text.replace("\\x3a", ":")


class GnupgDecryptor:
    """Implements Decryptor and SignatureMaker. Thread-safe; `close` removes every home."""

    def __init__(self, program: str = "gpg") -> None:
        self._program = program
        remove_stale()
        self._homes: OrderedDict[bytes, Home] = OrderedDict()
        self._lock = threading.Lock()

    def decrypt(
        self, source: IO[bytes], target: IO[bytes], private: bytes, signers: Sequence[bytes], *, most: int
    ) -> Decrypted:
        """
        Decrypt one file into another with one transferable private key; verify against the signers' certificates.

        Raises CryptoError, always the same text, for anything that does not decrypt whole and with integrity, or
        to more than `most` octets; OSError where the disk is full.
        """
        home = self._home(private)
        known = {fingerprint for data in signers for fingerprint in home.import_keys(data)}
        run = _Decryption(home, source, target, most)
        result = run.result()
        if _is_whole(result):
            return Decrypted(run.digest.digest(), _verification(result, known))
        # gpg fails for a bad or unknown signature too; whether the message itself is whole, a second run tells
        if result is not None and _is_signed(result) and _is_whole(run.result("--skip-verify")):
            return Decrypted(run.digest.digest(), Verification("fail"))
        run.empty()
        raise CryptoError(UNDECRYPTABLE)

    def sign(self, source: IO[bytes], private: bytes) -> Signature:
        """
        Sign what stands in a file with one transferable private key, detached, in ASCII armor.

        Raises CryptoError where gpg does not sign with it: it has expired, or is not for signatures.
        """
        source.seek(0)
        options = ["--digest-algo", _DIGEST]  # one that is large enough for every curve
        gpg = self._home(private).gpg
        try:
            result = gpg.sign_file(source, detach=True, extra_args=options)
        except OSError as error:
            raise CryptoError(f"gpg stopped before it had read the message: {error.strerror}") from None
        if result.returncode != 0 or result.status != "signature created" or not result.data:
            raise CryptoError(f"gpg did not sign: {result.status or 'no reason given'}")
        return Signature(bytes(result.data), f"pgp-{_DIGEST.lower()}")

    def close(self) -> None:
        """Remove every home and the agents that hold the keys."""
        with self._lock:
            for home in self._homes.values():
                home.close()
            self._homes.clear()

    def _home(self, private: bytes) -> Home:
        digest = sha256(private).digest()
        with self._lock:
            home = self._homes.pop(digest, None)
            if home is None or home.held > _REMEMBERED:
                home = Home(self._program)
                if not home.import_keys(private):
                    home.close()
                    raise CryptoError(UNDECRYPTABLE)
            self._homes[digest] = home
            if len(self._homes) > _HOMES:
                self._homes.popitem(last=False)
        return home


class _Decryption:
    """Runs of gpg over one message, each of which writes the target anew; `digest` is that of the last."""

    def __init__(self, home: Home, source: IO[bytes], target: IO[bytes], most: int) -> None:
        self._home = home
        self._source = source
        self._target = target
        self._most = most
        self.digest = sha256()

    def result(self, *options: str) -> Any:  # noqa: ANN401 - python-gnupg has no types
        """Run gpg once; gives what it reports, or None. Raises OSError where the target takes no more."""
        self.digest = sha256()
        self._source.seek(0)
        self.empty()
        limit = ["--max-output", str(self._most)]  # bombs end here
        gpg = self._home.writing_to(self._write)
        try:
            found = gpg.decrypt_file(self._source, always_trust=True, extra_args=[*limit, *options])
        except OSError:
            return None
        failure = getattr(found, "on_data_failure", None)
        if failure is not None:
            raise failure
        self._target.flush()
        return found

    def empty(self) -> None:
        """Take back what was written: it is not proved."""
        self._target.seek(0)
        self._target.truncate()

    def _write(self, chunk: bytes) -> None:
        self._target.write(chunk)
        self.digest.update(chunk)


def _is_whole(result: Any) -> bool:  # noqa: ANN401 - python-gnupg has no types
    return bool(result is not None and result.ok and result.returncode == 0 and result.status == "decryption ok")


def _is_signed(result: Any) -> bool:  # noqa: ANN401 - python-gnupg has no types
    return bool(result.ok and (result.sig_info or _problems(result) or result.key_status))


def _problems(result: Any) -> list[Any]:  # noqa: ANN401 - python-gnupg has no types
    """Give what is wrong with signatures; that another recipient's key is not here is no fault of theirs."""
    return [one for one in result.problems if one.get("status") != _NOT_OURS]


def _verification(result: Any, known: set[str]) -> Verification:  # noqa: ANN401 - python-gnupg has no types
    """Judge the signatures: "pass" only if every one is good and made by a known signer."""
    if not result.sig_info and not _problems(result):
        return Verification("none")
    signers = {str(info.get("pubkey_fingerprint") or "") for info in result.sig_info.values()}
    if _problems(result) or not result.valid or not signers or not signers <= known:
        return Verification("fail")
    return Verification("pass", min(signers).upper())


class GnupgKeys:
    """Makes private keys and takes them from files."""

    def __init__(self, program: str = "gpg") -> None:
        self._program = program

    def generate(self, user_id: str, days: int) -> tuple[bytes, bytes]:
        """Make a key for signing and encryption (Ed25519, Cv25519); gives its public and its private half."""
        home = Home(self._program)
        try:
            home.run(*UNLOCKED, "--quick-gen-key", user_id, "future-default", "default", f"{days}d")
            return _halves(home)
        finally:
            home.close()

    def read_private(self, data: bytes, passphrase: str) -> tuple[bytes, bytes]:
        """
        Read one private key, taking its passphrase off; gives its public and its private half.

        Raises CryptoError where the data is none, several, or does not open with the passphrase.
        """
        guard.check_size(data, guard.MAX_CERTIFICATE, "the private key")
        home = Home(self._program)
        try:
            return self._read_private(home, data, passphrase)
        finally:
            home.close()

    def _read_private(self, home: Home, data: bytes, passphrase: str) -> tuple[bytes, bytes]:
        home.run(*UNLOCKED, "--import", data=data)
        secret = [
            record for record in records(home.run("--with-colons", "--list-secret-keys")) if record[0] == "sec"
        ]
        if len(secret) != 1:
            raise CryptoError(f"one private OpenPGP key is needed in a file, not {len(secret)}")
        if home.is_locked():
            if not passphrase:
                raise CryptoError("the private key is protected by a passphrase; give it with --passphrase-file")
            # gpg asks for the old passphrase, and then for the new one, which is empty, as often as it likes
            answers = passphrase.encode() + b"\n" * 16
            home.run(
                "--pinentry-mode",
                "loopback",
                "--command-fd",
                "0",
                "--change-passphrase",
                secret[0][4],
                data=answers,
                batch=False,
            )
            if home.is_locked():
                raise CryptoError("the passphrase does not open the private key")
        return _halves(home)


def _halves(home: Home) -> tuple[bytes, bytes]:
    public, private = home.run("--export"), home.run(*UNLOCKED, "--export-secret-keys")
    if not public or not private:
        raise CryptoError("gpg did not give the key out")
    return public, private
