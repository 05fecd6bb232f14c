"""
CMS SignedData (RFC 5652 section 5): read from hostile octets, and verified.

Rules:
  * Every signature must be good; a message without any is invalid.
  * What was verified is one thing: content that stands inside, or content that was given, never both.
  * Signed attributes hold contentType and messageDigest, once and with one value each, and both are right.
  * Whatever is wrong raises SignatureError, and nothing else; numbers and sizes are bounded.

The certificate that made a signature is told, not judged beyond what it says of its own use.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from gatepost.crypto import cms, der
from gatepost.crypto.ber import Element, tags
from gatepost.crypto.signature import SignatureError, Signer
from gatepost.crypto.signature_algorithm import Message, check, digest_name
from gatepost.crypto.signing_certificate import SigningCertificate, named

Pieces = Sequence[bytes | memoryview]

_MAX_SIGNERS = 8
_MAX_CERTIFICATES = 32
_MAX_CERTIFICATE = 32 << 10  # octets; those that are larger are passed over: what was read is remembered
_MAX_CANDIDATES = 3  # certificates of one name that are tried
_MAX_ATTRIBUTES = 64
_MAX_ATTRIBUTE_OCTETS = 64 << 10

_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_OCTETS_IN_PIECES = 0x24
_CERTIFICATES, _REVOCATIONS, _EXPLICIT = 0xA0, 0xA1, 0xA0
_SIGNED_ATTRIBUTES, _UNSIGNED_ATTRIBUTES, _KEY_IDENTIFIER = 0xA0, 0xA1, 0x80
_CONSTRUCTED = 0x20
_CONTENT_TYPE = der.content(der.oid("1.2.840.113549.1.9.3"))
_MESSAGE_DIGEST = der.content(der.oid("1.2.840.113549.1.9.4"))
_CAPABILITIES = der.content(der.oid("1.2.840.113549.1.9.15"))

_MALFORMED = "the signature is malformed"


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """One signature: its parts, as RFC 5652 section 5.3 names them; `attributes` is None where none are signed."""

    identifier: Element
    digest: Element
    attributes: Element | None
    algorithm: Element
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedData:
    """A signed message, taken apart; `content` is None where it stands elsewhere."""

    content: tuple[memoryview, ...] | None
    certificates: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]


def is_signed(data: bytes) -> bool:
    """Tell whether data, in DER or BER, is SignedData and holds content or signatures: more than certificates."""
    if not cms.begins_signed(data):
        return False
    try:
        found = read(data)
    except SignatureError:
        return cms.content_info(data)[0] == cms.SIGNED
    return found.content is not None or bool(found.signers)


def read(data: bytes) -> SignedData:
    """Take a signed message apart; raises SignatureError where the data is none, to its last octet."""
    kind, parts = cms.content_info(data)
    if kind != cms.SIGNED or tags(parts)[:3] != (_INTEGER, _SET, _SEQUENCE) or tags(parts)[-1] != _SET:
        raise SignatureError(_MALFORMED)
    _, _, info, *between, infos = parts
    if tags(tuple(between)) not in {(), (_CERTIFICATES,), (_REVOCATIONS,), (_CERTIFICATES, _REVOCATIONS)}:
        raise SignatureError(_MALFORMED)
    certificates = between[0].parts if tags(tuple(between))[:1] == (_CERTIFICATES,) else ()
    if len(infos.parts) > _MAX_SIGNERS or len(certificates) > _MAX_CERTIFICATES:
        raise SignatureError("the signature has more signers or certificates than are read")
    return SignedData(
        content=_content(info),
        certificates=tuple(
            one.whole for one in certificates if one.tag == _SEQUENCE and len(one.octets) <= _MAX_CERTIFICATE
        ),
        signers=tuple(map(_signer_info, infos.parts)),
    )


def verify(signed: SignedData, content: Pieces | None, known: Sequence[bytes]) -> tuple[Signer, ...]:
    """
    Verify every signature; gives who made them, in order. Raises SignatureError.

    `content` is what stands outside, None where it must stand inside; `known` are certificates that are looked
    at before those in the message.
    """
    if not signed.signers:
        raise SignatureError("the message has no signature at all")
    if content is None:
        content = signed.content
    elif signed.content is not None:
        raise SignatureError("the signature brings content of its own beside what is shown")
    if content is None:
        raise SignatureError("the signed content is missing")
    certificates = tuple(dict.fromkeys((*known, *signed.certificates)))
    messages: dict[str, Message] = {}
    return tuple([_verified(one, content, certificates, signed.certificates, messages) for one in signed.signers])


def _content(info: Element) -> tuple[memoryview, ...] | None:
    """Read EncapsulatedContentInfo: plain data, the one kind that mail has, in one piece or in several."""
    if tags(info.parts) not in {(_OID,), (_OID, _EXPLICIT)} or info.parts[0].octets != cms.DATA:
        raise SignatureError("what is signed is no mail")
    if len(info.parts) == 1:
        return None
    return cms.octets_in_pieces(info.parts[1]) or _malformed()


def _malformed() -> tuple[memoryview, ...]:
    raise SignatureError(_MALFORMED)


def _signer_info(info: Element) -> SignerInfo:
    parts = list(info.parts)
    if parts and parts[-1].tag == _UNSIGNED_ATTRIBUTES:
        parts.pop()
    attributes = parts.pop(3) if tags(tuple(parts))[3:4] == (_SIGNED_ATTRIBUTES,) else None
    kinds = tags(tuple(parts))
    if info.tag != _SEQUENCE or kinds not in {
        (_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _OCTETS),
        (_INTEGER, _KEY_IDENTIFIER, _SEQUENCE, _SEQUENCE, _OCTETS),
    }:
        raise SignatureError(_MALFORMED)
    _, identifier, digest, algorithm, signature = parts
    return SignerInfo(identifier, digest, attributes, algorithm, bytes(signature.octets))


def _verified(
    info: SignerInfo,
    content: Pieces,
    certificates: Iterable[bytes],
    beside: tuple[bytes, ...],
    messages: dict[str, Message],
) -> Signer:
    name = digest_name(info.digest)
    if name not in messages:
        messages[name] = Message.of(content, name)
    capabilities = _checked_attributes(info, messages[name].digest)
    candidates = list(named(info.identifier, certificates))[:_MAX_CANDIDATES]
    if not candidates:
        raise SignatureError("the signer's certificate is neither known nor in the message")
    # several certificates of one name are tried: which one came first is the sender's choice
    fault = SignatureError(_MALFORMED)
    for data, certificate in candidates:
        try:
            _check(info, messages[name], certificate)
        except SignatureError as error:
            fault = error
        else:
            others = tuple(one for one in beside if one != data)
            return Signer(sha256(data).hexdigest().upper(), data, others, capabilities)
    raise fault


def _check(info: SignerInfo, content: Message, certificate: SigningCertificate) -> None:
    """Check the signature itself: over the attributes, or without any over the content."""
    if certificate.key is None:
        raise SignatureError(certificate.fault)
    if info.attributes is None:
        if next((one[0] for one in content.pieces if len(one)), 0) == _SET:
            # attributes that somebody else signed would be taken for content that was signed
            raise SignatureError("what is signed is no mail")
        check(certificate.key, info.algorithm, info.signature, content)
        return
    fault = SignatureError(_MALFORMED)
    for form in _attribute_forms(info.attributes):
        try:
            check(certificate.key, info.algorithm, info.signature, Message.of((form,), content.name))
        except SignatureError as error:
            fault = error
        else:
            return
    raise fault


def _attribute_forms(attributes: Element) -> Iterable[bytes]:
    """
    Give the octets that were signed: the attributes in DER as a SET OF (RFC 5652 section 5.4).

    Some programs sign them in the order in which they stand, which DER does not allow; that form comes second.
    """
    written = [_der(one) for one in attributes.parts]
    return dict.fromkeys((der.set_of(*written), der.element(_SET, b"".join(written))))


def _der(element: Element) -> bytes:
    """Write an element as DER: definite lengths, sets in order."""
    if not element.tag & _CONSTRUCTED:
        return der.element(element.tag, bytes(element.octets))
    parts = [_der(one) for one in element.parts]
    return der.element(element.tag, b"".join(sorted(parts) if element.tag == _SET else parts))


def _checked_attributes(info: SignerInfo, digest: bytes) -> bytes:
    """Check contentType and messageDigest (RFC 5652 section 11); gives smimeCapabilities, if there are any."""
    if info.attributes is None:
        return b""
    if len(info.attributes.parts) > _MAX_ATTRIBUTES or len(info.attributes.octets) > _MAX_ATTRIBUTE_OCTETS:
        raise SignatureError("the signature has more attributes than are read")
    found: dict[bytes, list[Element]] = {}
    for kind, values in _attributes(info.attributes):
        found.setdefault(kind, []).append(values)
    content_type, message_digest = _only(found, _CONTENT_TYPE), _only(found, _MESSAGE_DIGEST)
    if content_type.tag != _OID or content_type.octets != cms.DATA:
        raise SignatureError("the signature is for another kind of content")
    if message_digest.tag != _OCTETS or message_digest.octets != digest:
        raise SignatureError("the content was changed after it was signed")
    return _only(found, _CAPABILITIES).whole if _CAPABILITIES in found else b""


def _attributes(attributes: Element) -> Iterator[tuple[bytes, Element]]:
    for one in attributes.parts:
        if one.tag != _SEQUENCE or tags(one.parts) != (_OID, _SET):
            raise SignatureError(_MALFORMED)
        yield bytes(one.parts[0].octets), one.parts[1]


def _only(found: dict[bytes, list[Element]], kind: bytes) -> Element:
    """Give an attribute's value; it must stand there once, with one value."""
    there = found.get(kind, [])
    if len(there) != 1 or len(there[0].parts) != 1:
        raise SignatureError("an attribute of the signature is missing or stands there twice")
    return there[0].parts[0]
