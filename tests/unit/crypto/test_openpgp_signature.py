"""Detached OpenPGP signatures: what gpg makes is verified, and the guard has the last word."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pysequoia
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto.gnupg_home import UNLOCKED, Home
from gatepost.crypto.openpgp_signature import verify
from gatepost.crypto.signature import SignatureError
from gatepost.workers.pool import Pool

CONTENT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
DETACHED = pysequoia.SignatureMode.DETACHED


def made(address: str = "ann@x.test", **options: int) -> pysequoia.Tsk:
    return pysequoia.Tsk.generate(f"Ann <{address}>", **options)


def public(key: pysequoia.Tsk) -> bytes:
    return bytes(key.extract_certificate())


def refused(signature: bytes, *certificates: bytes, content: bytes = CONTENT, now: datetime | None = None) -> str:
    with pytest.raises(SignatureError) as error:
        verify(content, signature, certificates, now)
    return str(error.value)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    found = Home()
    yield found
    found.close()


@pytest.mark.real
@pytest.mark.skipif(shutil.which("gpg") is None, reason="needs the command gpg")
@pytest.mark.parametrize("algorithm", ["future-default", "rsa2048", "nistp256"])
def test_what_gpg_signs(home: Home, algorithm: str, tmp_path: Path) -> None:
    """Signatures by gpg are verified, of binary and of text, armored or not; over changed content they are not."""
    name = f"{algorithm}@x.test"
    usage = () if algorithm == "future-default" else ("sign",)
    home.run(*UNLOCKED, "--quick-gen-key", name, algorithm, *(usage or ("default",)), "30d")
    certificate = home.run("--export", name)
    (tmp_path / "content").write_bytes(CONTENT)
    for options in (("--armor",), (), ("--textmode", "--armor"), ("--digest-algo", "SHA512")):
        signature = home.run(*UNLOCKED, "-u", name, *options, "--detach-sign", data=CONTENT)
        (signer,) = verify(CONTENT, signature, [certificate])
        assert signer.fingerprint == pysequoia.Cert.from_bytes(certificate).fingerprint.upper()
        assert verify(tmp_path / "content", signature, [certificate]) == (signer,)
        assert refused(signature, certificate, content=CONTENT + b"x")
        assert refused(signature, certificate, content=CONTENT.replace(b"hello", b"hello "))
        assert refused(signature)
    weak = home.run(*UNLOCKED, "-u", name, "--digest-algo", "SHA1", "--detach-sign", data=CONTENT)
    assert refused(weak, certificate)


@pytest.mark.real
@pytest.mark.skipif(shutil.which("gpg") is None, reason="needs the command gpg")
def test_weak_keys(home: Home) -> None:
    """RSA of 1024 bits signs nothing here, though libraries may verify it."""
    home.run(*UNLOCKED, "--quick-gen-key", "weak@x.test", "rsa1024", "sign", "30d")
    signature = home.run(*UNLOCKED, "-u", "weak@x.test", "--detach-sign", data=CONTENT)

    assert refused(signature, home.run("--export", "weak@x.test"))


def test_several_signatures() -> None:
    """Every one must be good, by certificates that were given; each signer is told."""
    one, other, third = made(), made("bob@x.test"), made("eve@x.test")
    both = b"".join(_binary(key) for key in (one, other))

    assert {signer.certificate for signer in verify(CONTENT, both, [public(one), public(other)])} == {
        public(one),
        public(other),
    }
    assert refused(both, public(one))
    assert refused(_binary(third) + _binary(one), public(one))
    assert refused(_binary(one) + _binary(one, b"other"), public(one))
    assert "more signatures" in refused(_binary(one) * 9, public(one))


def _binary(key: pysequoia.Tsk, content: bytes = CONTENT) -> bytes:
    signature = pysequoia.sign(key.signer(), content, mode=DETACHED)
    return b"".join(bytes(packet) for packet in pysequoia.packet.PacketPile.from_bytes(signature))


def test_keys_that_have_ended() -> None:
    """A key that is expired or revoked now signs nothing, whenever it signed."""
    key = made(validity_seconds=3600)
    signature, certificate = _binary(key), key.extract_certificate()
    assert verify(CONTENT, signature, [bytes(certificate)])

    later = datetime.now(UTC) + timedelta(hours=2)
    assert "expired on" in refused(signature, bytes(certificate), now=later)
    revoked = bytes(certificate) + bytes(certificate.revoke(key.certifier()))
    assert refused(signature, revoked)


def test_what_is_no_signature() -> None:
    """Keys, signatures of other kinds and a signed message are none; nor is what is too large."""
    key = made()
    inline = pysequoia.sign(key.signer(), CONTENT, mode=pysequoia.SignatureMode.INLINE)
    certification = next(
        packet
        for packet in pysequoia.packet.PacketPile.from_bytes(public(key))
        if packet.tag == pysequoia.packet.Tag.Signature
    )
    assert refused(public(key), public(key)) == "the signature is malformed"
    assert refused(inline, public(key)) == "the signature is malformed"
    assert refused(bytes(certification), public(key)) == "the signature is not one for mail"
    assert "larger" in refused(b"x" * (257 << 10), public(key))
    assert refused(_binary(key), b"no certificate")


@given(st.binary(max_size=100))
def test_arbitrary_octets(data: bytes) -> None:
    """Whatever comes raises SignatureError and nothing else."""
    assert refused(data)


@pytest.mark.real
def test_large_content_is_verified_in_a_process(tmp_path: Path) -> None:
    """What is large goes through a process of the pool, with the same answer."""
    key, content = made(), CONTENT * 10_000
    pool = Pool("sequoia", directory=tmp_path, workers=1)
    signature = _binary(key, content)
    try:
        (signer,) = pool.verify(content, signature, [public(key)], lambda: None)
        assert signer.certificate == public(key)
        with pytest.raises(SignatureError, match="the signature is wrong"):
            pool.verify(content + b"x", signature, [public(key)], lambda: None)
        assert pool.verify(CONTENT, _binary(key), [public(key)], lambda: None) == (signer,)
    finally:
        pool.close()
    assert not list(tmp_path.iterdir())
