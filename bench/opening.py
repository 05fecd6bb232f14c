"""
How long the key worker's decryptor takes for 10 MB of S/MIME, beside the bare library on the same octets.

Run by `python -m bench.opening`. openssl writes the envelopes. Both read one file and write another. The decryptor
is given the envelope; the bare library the encrypted content alone: it checks no structure and makes no digest.
They take turns; what each gives is compared with what was encrypted.
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import IO

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lab.place import short_folder
from lab.smime import Smime

from gatepost.crypto import cms
from gatepost.crypto.cms import Envelope
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.private_certificate import SmimeKeys

REACH = 1.5  # times the bare library's time
_SIZE = 10 << 20
_ROUNDS = 15
_WHO = "ann@hosp.test"
_CIPHERS = ("aes-256-cbc", "aes-256-gcm")


def main() -> None:
    """Measure and print."""
    content = random.Random(1).randbytes(_SIZE)  # noqa: S311 - no secret
    with short_folder("gpb-") as folder:
        outside = Smime(folder / "smime")
        outside.certificate(_WHO, "rsa")
        for name in _CIPHERS:
            data = outside.encrypt(content, _WHO, options=(f"-{name}",))
            _compare(name, _decryptor(outside.private(_WHO), data), _bare(outside.private(_WHO), data), content)


def _compare(name: str, ours: "_Way", bare: "_Way", content: bytes) -> None:
    for way in (ours, bare):
        way.run()
        way.target.seek(0)
        if way.target.read() != content:
            raise RuntimeError(f"{name}: what was decrypted is not what was encrypted")
    pairs = [(ours.milliseconds(), bare.milliseconds()) for _ in range(_ROUNDS)]
    mine, theirs = (median(times) for times in zip(*pairs, strict=True))
    ratio = median(one / other for one, other in pairs)
    word = "reached" if ratio <= REACH else "MISSED "
    print(f"{word}  {name}, 10 MB: {mine:.1f} ms, bare {theirs:.1f} ms: {ratio:.2f} times, at most {REACH}")  # noqa: T201


class _Way:
    """A way to decrypt, from one unlinked file to another."""

    def __init__(self, data: bytes, decrypt: Callable[[IO[bytes], IO[bytes]], object]) -> None:
        self._source, self.target = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - until the end
        self._source.write(data)
        self._decrypt = decrypt

    def run(self) -> None:
        self._source.seek(0)
        self.target.seek(0)
        self.target.truncate()
        self._decrypt(self._source, self.target)
        self.target.flush()

    def milliseconds(self) -> float:
        """Give the CPU that it took."""
        started = time.process_time()
        self.run()
        return (time.process_time() - started) * 1000


def _decryptor(private: Path, data: bytes) -> _Way:
    """Decrypt as the key worker does."""
    decryptor = SmimeDecryptor()
    kept = SmimeKeys().read_private(private.read_bytes(), "")[1]
    return _Way(data, lambda source, target: decryptor.decrypt(source, target, kept, (), most=2 * _SIZE))


def _bare(private: Path, data: bytes) -> _Way:
    """Call the library's primitives and nothing else."""
    envelope = cms.envelope(data)
    key = load_pem_private_key(private.read_bytes(), None)
    if envelope is None or not isinstance(key, RSAPrivateKey):
        raise RuntimeError("openssl wrote something else than an envelope to an RSA key")
    hidden = bytes(envelope.recipients[0].parts[-1].octets)

    def decrypt(source: IO[bytes], target: IO[bytes]) -> None:
        context = Cipher(algorithms.AES(key.decrypt(hidden, PKCS1v15())), _mode(envelope)).decryptor()
        plain = context.update(source.read()) + context.finalize()
        if envelope.code is None:
            unpadder = padding.PKCS7(128).unpadder()
            plain = unpadder.update(plain) + unpadder.finalize()
        target.write(plain)

    return _Way(b"".join(envelope.content), decrypt)


def _mode(envelope: Envelope) -> modes.CBC | modes.GCM:
    parameters = envelope.algorithm.parts[1]
    if envelope.code is None:
        return modes.CBC(bytes(parameters.octets))
    return modes.GCM(bytes(parameters.parts[0].octets), envelope.code)


if __name__ == "__main__":
    main()
