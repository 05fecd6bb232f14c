"""
The readers of BER and CMS, each with what it promises whatever strangers send; see lab.fuzz_targets.

Every seed of `cms-decrypt` is encrypted to the keys of lab.attacks.people and holds CONTENT, and every one of
`cms-signed` that is good is kim's signature of it, so that it is known what may come out as proved.
"""

import io
import time
from collections.abc import Callable
from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gatepost.crypto import ber, cms, signed_data
from gatepost.crypto.opened_envelope import SmimeDecryptor
from gatepost.crypto.openpgp import UNDECRYPTABLE
from gatepost.crypto.signature import SignatureError
from gatepost.errors import CryptoError
from lab.attacks.people import DOC, KIM, OWN, certificate, private_key
from lab.fuzz_promise import promise

CONTENT = b"Content-Type: text/plain\r\n\r\nthe patient's data\r\n"
_SECONDS = 5.0  # for inputs of a thousand octets, on a busy machine
_MOST = 1 << 16


def read_ber(octets: bytes) -> str:
    """Read one element: all its octets are in it, and each part within its whole."""
    try:
        element = ber.read(octets)
    except ber.MalformedError:
        return "refused"
    promise(element.whole == octets)
    _within(element)
    return f"{element.tag:#x} {len(element.parts)} {len(element.octets)}"


def _within(element: ber.Element) -> None:
    place = element.start
    for part in element.parts:
        promise(place == part.first and part.first < part.start <= part.end)
        _within(part)
        place = part.end
    promise(not element.parts or element.octets[place - element.start :] in {b"", b"\0\0"})


def read_envelope(octets: bytes) -> str:
    """Take an envelope apart: it has recipients and content, and the same octets are no signed message."""
    envelope, content = cms.envelope(octets), cms.signed_content(octets)
    promise(cms.is_enveloped(octets) == (envelope is not None))
    promise(envelope is None or content is None)
    if envelope is None:
        return "nothing" if content is None else f"signed {len(content)}"
    promise(envelope.recipients and sum(map(len, envelope.content)) <= len(octets))
    promise(not envelope.attributes or (envelope.code is not None and envelope.attributes[0] == ord("1")))
    return f"{len(envelope.recipients)} {sum(map(len, envelope.content))} {envelope.code is not None}"


def read_signed(octets: bytes) -> str:
    """Read signed data and verify it, as it stands and over other content: good is only what was signed."""
    try:
        signed = signed_data.read(octets)
    except SignatureError as error:
        promise(str(error).isprintable())
        return "refused"
    inside = _signers(signed, None)
    promise(not inside or b"".join(signed.content or ()) == CONTENT)
    promise(_signers(signed, (CONTENT + b"more",)) == 0)
    return f"{len(signed.signers)} {inside} {_signers(signed, (CONTENT,))}"


def _signers(signed: signed_data.SignedData, content: tuple[bytes, ...] | None) -> int:
    began = time.process_time()
    try:
        found = len(signed_data.verify(signed, content, [certificate(KIM).public_bytes(Encoding.DER)]))
    except SignatureError as error:
        promise(str(error).isprintable())
        found = 0
    promise(time.process_time() - began < _SECONDS)
    return found


def decrypt(octets: bytes) -> str:
    """Decrypt with a key of each kind: what is proved is what was encrypted, what fails leaves nothing behind."""
    return " ".join(_decrypted(octets, name) for name in (DOC, OWN))


def _decrypted(octets: bytes, name: str) -> str:
    target, began = io.BytesIO(b"of another message"), time.process_time()
    try:
        done = SmimeDecryptor(triple_des=True).decrypt(io.BytesIO(octets), target, _private(name), [], most=_MOST)
    except CryptoError as error:
        promise(str(error) == UNDECRYPTABLE and error.__cause__ is None and not target.getvalue())
        done = None
    promise(time.process_time() - began < _SECONDS)
    if done is None or not done.intact:
        return "nothing"  # whether CBC opens with a random key, in the place of one that is not found, is chance
    promise(target.getvalue() == CONTENT)
    return "proved"


@cache
def _private(name: str) -> bytes:
    key = private_key(name).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return certificate(name).public_bytes(Encoding.DER) + key


TARGETS: dict[str, Callable[[bytes], str]] = {
    "ber": read_ber,
    "cms-envelope": read_envelope,
    "cms-decrypt": decrypt,
    "cms-signed": read_signed,
}
