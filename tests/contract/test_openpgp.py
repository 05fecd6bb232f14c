"""Both OpenPGP engines keep the same contract; gpg on the command line is the judge of what they write."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pysequoia
import pytest

from gatepost.crypto import guard, packets
from gatepost.crypto.gnupg_engine import GnupgDecryptor, GnupgEncryptor
from gatepost.crypto.openpgp import UNDECRYPTABLE, Encryptor, Verification
from gatepost.crypto.sequoia import SequoiaEncryptor
from gatepost.errors import CryptoError

pytestmark = pytest.mark.real

MEGABYTE = os.urandom(1 << 20)
PLAINTEXTS = {
    "nothing": b"",
    "a line": b"Content-Type: text/plain\r\n\r\nhello\r\n",
    "every octet": bytes(range(256)) * 3,
    "bare line ends": b"a\nb\rc\r\n\n\r.\r\n",
    "a megabyte": MEGABYTE,
}


class Site:
    """A gpg of its own: what a partner runs."""

    def __init__(self) -> None:
        self.home = tempfile.mkdtemp(prefix="gt-", dir="/tmp")

    def gpg(self, *arguments: str, data: bytes = b"", check: bool = True) -> bytes:
        command = ["gpg", "--homedir", self.home, "--batch", "--no-tty", "--trust-model", "always"]
        command += ["--pinentry-mode", "loopback", "--passphrase", "", "--quiet"]
        done = subprocess.run([*command, *arguments], input=data, capture_output=True, check=False, timeout=60)
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout

    def make(self, address: str, algorithm: str = "future-default", usage: str = "default", *more: str) -> None:
        self.gpg(*more, "--quick-gen-key", f"Test <{address}>", algorithm, usage, "1y")

    def fingerprint(self, address: str) -> str:
        listing = self.gpg("--with-colons", "--list-keys", address).decode().splitlines()
        return next(line.split(":")[9] for line in listing if line.startswith("fpr"))

    def public(self, address: str) -> bytes:
        return self.gpg("--export", address)

    def private(self, address: str) -> bytes:
        return self.gpg("--export-secret-keys", address)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)
        subprocess.run(["rm", "-rf", self.home], check=False)


class _Counted(BytesIO):
    """Notes how much stood in it at most."""

    most = 0

    def write(self, data: Any) -> int:
        count = super().write(data)
        self.most = max(self.most, self.tell())
        return count


def _opened(
    decryptor: GnupgDecryptor, data: bytes, private: bytes, signers: Sequence[bytes] = ()
) -> tuple[bytes, Verification]:
    target = BytesIO()
    done = decryptor.decrypt(BytesIO(data), target, private, signers, most=2 << 20)
    assert done.digest == sha256(target.getvalue()).digest()
    return target.getvalue(), done.verification


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    site.make("curve@hosp.test")
    site.make("second@hosp.test")
    site.make("rsa@hosp.test", "rsa3072", "sign,encrypt")
    site.make("weak@hosp.test", "rsa1024", "sign,encrypt")
    site.make("signonly@hosp.test", "ed25519", "sign")
    site.make("old@hosp.test", "future-default", "default", "--faked-system-time", "20150101T000000")
    site.make("future@hosp.test", "future-default", "default", "--faked-system-time", "20450101T000000")
    site.make("revoked@hosp.test")
    revocation = Path(site.home, "openpgp-revocs.d", site.fingerprint("revoked@hosp.test") + ".rev")
    site.gpg("--import", data=revocation.read_bytes().replace(b"\n:-----", b"\n-----"))
    yield site
    site.close()


@pytest.fixture(scope="module", params=["sequoia", "gnupg"])
def engine(request: pytest.FixtureRequest) -> Iterator[Encryptor]:
    if request.param == "sequoia":
        yield SequoiaEncryptor()
        return
    gnupg = GnupgEncryptor()
    yield gnupg
    gnupg.close()


@pytest.fixture(scope="module")
def decryptor() -> Iterator[GnupgDecryptor]:
    decryptor = GnupgDecryptor()
    yield decryptor
    decryptor.close()


class TestReading:
    def test_a_certificate_tells_who_it_is_for(self, engine: Encryptor, site: Site) -> None:
        """Fingerprint, user IDs, addresses and times are read, from armor and from binary alike."""
        (found,) = engine.read(site.public("curve@hosp.test"))

        assert found.fingerprint == site.fingerprint("curve@hosp.test")
        assert found.user_ids == ("Test <curve@hosp.test>",)
        assert found.addresses == ("curve@hosp.test",)
        assert found.refusal == ""
        assert found.expires is not None
        assert timedelta(days=364) < found.expires - datetime.now(UTC) < timedelta(days=366)
        assert engine.read(site.gpg("--armor", "--export", "curve@hosp.test"))[0].fingerprint == found.fingerprint
        assert guard.bound_to(found, "Curve@HOSP.test")
        assert guard.bound_to(found, "hosp.test")
        assert not guard.bound_to(found, "other@hosp.test")

    def test_a_keyring_gives_each_certificate(self, engine: Encryptor, site: Site) -> None:
        """Several certificates in one file come out one by one."""
        both = site.public("curve@hosp.test") + site.public("rsa@hosp.test")

        assert {one.addresses[0] for one in engine.read(both)} == {"curve@hosp.test", "rsa@hosp.test"}
        assert all(len(engine.read(one.data)) == 1 for one in engine.read(both))

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("old", "expired on 2016-01-01"),
            ("revoked", "revoked"),
            ("weak", "too weak"),
            ("signonly", "no subkey that can be encrypted to"),
        ],
    )
    def test_unusable_certificates_are_read_but_refused(
        self, engine: Encryptor, site: Site, name: str, words: str
    ) -> None:
        """An expired, future, revoked, weak or sign-only certificate is shown with its fault, never used."""
        certificate = site.public(f"{name}@hosp.test")

        read = engine.read(certificate)[0]
        assert words in read.refusal
        assert read.addresses == (f"{name}@hosp.test",)  # so that it can be imported, and its owner be told why
        with pytest.raises(CryptoError, match="must not be encrypted to"):
            engine.encrypt(b"secret", [certificate])
        with pytest.raises(CryptoError, match="must not be encrypted to"):
            engine.encrypt(b"secret", [site.public("curve@hosp.test"), certificate])

    def test_a_certificate_of_the_future_is_refused(self, engine: Encryptor, site: Site) -> None:
        """A certificate that is not valid yet is not encrypted to."""
        with pytest.raises(CryptoError):
            engine.encrypt(b"secret", [site.public("future@hosp.test")])

    @pytest.mark.parametrize(
        "data", [b"", b"rubbish", b"\xc6\x05abc", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"]
    )
    def test_rubbish_is_an_error_of_one_line(self, engine: Encryptor, data: bytes) -> None:
        """What is no certificate gives one line of text, without a backtrace."""
        with pytest.raises(CryptoError) as caught:
            engine.read(data)

        assert len(caught.value.diagnostics()) == 1

    def test_private_keys_are_refused(self, engine: Encryptor, site: Site) -> None:
        """A private key where a public one belongs is an error: it must not be stored by accident."""
        with pytest.raises(CryptoError, match="private half"):
            engine.read(site.private("curve@hosp.test"))

    def test_a_huge_certificate_is_refused(self, engine: Encryptor, site: Site) -> None:
        """A key file that no honest owner needs is not parsed at all."""
        with pytest.raises(CryptoError, match="octets"):
            engine.read(site.public("curve@hosp.test") + bytes(guard.MAX_KEYRING))


class TestEncrypting:
    @pytest.mark.parametrize("name", PLAINTEXTS)
    @pytest.mark.parametrize("owner", ["curve", "rsa"])
    def test_gpg_reads_it_byte_for_byte(self, engine: Encryptor, site: Site, owner: str, name: str) -> None:
        """What the engine wrote, gpg 2.2 decrypts to exactly what went in; lines end in LF, none is long."""
        armor = engine.encrypt(PLAINTEXTS[name], [site.public(f"{owner}@hosp.test")])

        assert site.gpg("--decrypt", data=armor) == PLAINTEXTS[name]
        assert armor.startswith(b"-----BEGIN PGP MESSAGE-----\n")
        assert b"\r" not in armor
        assert max(map(len, armor.split(b"\n"))) <= 76
        binary = packets.dearmor(armor)
        assert binary is not None
        assert packets.is_encrypted_message(binary)

    def test_each_recipient_reads_it(self, engine: Encryptor, site: Site, decryptor: GnupgDecryptor) -> None:
        """Three recipients of one message can each decrypt it with their own key alone."""
        owners = ["curve@hosp.test", "second@hosp.test", "rsa@hosp.test"]
        armor = engine.encrypt(b"to all", [site.public(owner) for owner in owners])

        for owner in owners:
            assert _opened(decryptor, armor, site.private(owner))[0] == b"to all"

    @pytest.mark.parametrize("left_out", [0, 1, 2], ids="less {}".format)
    def test_files_are_encrypted_alike(self, engine: Encryptor, site: Site, tmp_path: Path, left_out: int) -> None:
        """A file of any length becomes an armored file that gpg reads."""
        source, target = tmp_path / "plain", tmp_path / "armored"
        source.write_bytes(MEGABYTE[left_out:])
        target.touch()

        engine.encrypt_file(source, target, [site.public("curve@hosp.test")], tmp_path)

        assert site.gpg("--decrypt", data=target.read_bytes()) == MEGABYTE[left_out:]

    def test_nobody_is_no_recipient(self, engine: Encryptor) -> None:
        """Encrypting to no one is refused."""
        with pytest.raises(CryptoError, match="no certificate"):
            engine.encrypt(b"secret", [])

    def test_a_key_that_expires_while_remembered_is_refused(self, site: Site) -> None:
        """A certificate that was good when it was first read is judged anew each time."""
        now = datetime.now(UTC)
        engine = SequoiaEncryptor(clock=lambda: now)
        certificate = site.public("curve@hosp.test")
        engine.encrypt(b"x", [certificate])

        now += timedelta(days=366)

        with pytest.raises(CryptoError, match="expired"):
            engine.encrypt(b"x", [certificate])

    def test_a_key_of_gpg_beside_a_modern_one_stays_readable(self, site: Site) -> None:
        """Where one recipient reads the old format only, the message is written in it."""
        modern = pysequoia.Tsk.generate("M <m@hosp.test>").extract_certificate()

        armor = SequoiaEncryptor().encrypt(b"mixed", [bytes(modern), site.public("curve@hosp.test")])

        assert site.gpg("--decrypt", data=armor) == b"mixed"


class TestDecrypting:
    @pytest.mark.parametrize(
        ("arguments", "status"),
        [
            ((), "none"),
            (("--compress-algo", "none"), "none"),
            (("--sign", "--local-user", "second@hosp.test"), "pass"),
            (("--sign", "--local-user", "second@hosp.test", "--compress-algo", "none"), "pass"),
            (("--sign", "--local-user", "rsa@hosp.test"), "fail"),
            (("--sign", "--local-user", "second@hosp.test", "--local-user", "rsa@hosp.test"), "fail"),
        ],
    )
    @pytest.mark.parametrize("owner", ["curve", "rsa"])
    def test_what_gpg_wrote_is_read_and_verified(
        self, site: Site, decryptor: GnupgDecryptor, owner: str, arguments: tuple[str, ...], status: str
    ) -> None:
        """Compressed or not, signed by the known signer, by another one, or not at all."""
        armor = site.gpg("--armor", "--encrypt", "-r", f"{owner}@hosp.test", *arguments, data=b"hello\r\n")
        signers = [site.public("second@hosp.test")]

        plaintext, verification = _opened(decryptor, armor, site.private(f"{owner}@hosp.test"), signers)

        assert plaintext == b"hello\r\n"
        assert verification.status == status
        if status == "pass":
            assert verification.fingerprint == site.fingerprint("second@hosp.test")

    @pytest.mark.parametrize(
        ("arguments", "status"), [((), "none"), (("--sign", "--local-user", "rsa@hosp.test"), "pass")]
    )
    @pytest.mark.parametrize("others", [("second",), ("second", "rsa")])
    def test_other_recipients_are_no_fault(
        self,
        site: Site,
        decryptor: GnupgDecryptor,
        others: tuple[str, ...],
        arguments: tuple[str, ...],
        status: str,
    ) -> None:
        """That the message is for others too, whose keys are not here, says nothing of its signatures."""
        recipients = [word for one in (*others, "curve") for word in ("-r", f"{one}@hosp.test")]
        armor = site.gpg("--armor", "--encrypt", *recipients, *arguments, data=b"hello\r\n")
        signers = [site.public("rsa@hosp.test")]

        plaintext, verification = _opened(decryptor, armor, site.private("curve@hosp.test"), signers)

        assert plaintext == b"hello\r\n"
        assert verification.status == status

    @pytest.mark.parametrize(
        "name", ["flipped", "truncated", "no integrity", "rubbish", "empty", "other key", "large"]
    )
    def test_nothing_comes_of_what_is_not_whole(self, site: Site, decryptor: GnupgDecryptor, name: str) -> None:
        """Changed, cut off, unprotected, foreign: always the same error, and never a byte of plaintext."""
        to = ["--encrypt", "-r", "curve@hosp.test", "--compress-algo", "none"]
        good = site.gpg(*to, data=b"secret" * 1000)
        unprotected = ["--disable-mdc", "--rfc2440", "--cipher-algo", "CAST5"]
        data = {
            "flipped": good[:-500] + bytes((good[-500] ^ 1,)) + good[-499:],
            "truncated": good[:-30],
            "no integrity": site.gpg(*to, *unprotected, data=b"secret" * 1000),
            "rubbish": os.urandom(300),
            "empty": b"",
            "other key": site.gpg("--encrypt", "-r", "second@hosp.test", data=b"secret"),
            "large": site.gpg("--encrypt", "-r", "second@hosp.test", data=os.urandom(400_000)),
        }[name]

        target = BytesIO()
        with pytest.raises(CryptoError) as caught:
            decryptor.decrypt(BytesIO(data), target, site.private("curve@hosp.test"), [], most=1 << 20)

        assert str(caught.value) == UNDECRYPTABLE
        assert target.getvalue() == b""

    def test_what_unfolds_to_more_than_is_taken(self, site: Site, decryptor: GnupgDecryptor) -> None:
        """A small message that becomes a huge one is stopped on its way; one just within the limit is opened."""
        private = site.private("curve@hosp.test")
        bomb = site.gpg("--encrypt", "-r", "curve@hosp.test", data=bytes(64 << 20))
        assert len(bomb) < 1 << 20
        written = _Counted()

        with pytest.raises(CryptoError, match=UNDECRYPTABLE):
            decryptor.decrypt(BytesIO(bomb), written, private, [], most=1 << 20)

        assert written.most <= 1 << 20
        fits = site.gpg("--encrypt", "-r", "curve@hosp.test", data=bytes(1 << 20))
        assert len(_opened(decryptor, fits, private)[0]) == 1 << 20

    def test_an_expired_key_still_opens(self, site: Site, decryptor: GnupgDecryptor) -> None:
        """Mail that was written to our key before it expired is read."""
        then = ["--faked-system-time", "20150601T000000"]
        armor = site.gpg(*then, "--encrypt", "-r", "old@hosp.test", data=b"late")

        assert _opened(decryptor, armor, site.private("old@hosp.test"))[0] == b"late"

    def test_mail_to_an_older_subkey_opens(self, decryptor: GnupgDecryptor) -> None:
        """After a rotation, mail to the former encryption subkey is read."""
        site = Site()
        try:
            site.make("r@hosp.test", "ed25519", "sign")
            fingerprint = site.fingerprint("r@hosp.test")
            site.gpg("--quick-add-key", fingerprint, "cv25519", "encr", "1y")
            armor = site.gpg("--encrypt", "-r", fingerprint, data=b"older")
            site.gpg("--quick-add-key", fingerprint, "cv25519", "encr", "1y")

            assert _opened(decryptor, armor, site.private("r@hosp.test"))[0] == b"older"
        finally:
            site.close()
