"""
CMS from the outside: enough to tell whether bytes are an enveloped message, without any key.

The structure is read to its last octet, with definite and indefinite lengths, to a bounded depth and number of
elements: a label, or a few octets at the beginning, could stand before plain text.

RFC 5652 section 6.1 (EnvelopedData), RFC 5083 section 2.1 (AuthEnvelopedData), X.690 section 8.1 (BER).
"""

from typing import NamedTuple

_MAX_DEPTH = 32
_MAX_ELEMENTS = 200_000  # writers that stream cut the content into pieces of about 1000 octets
_MAX_LENGTH_OCTETS = 4

_DATA = bytes.fromhex("2a864886f70d010701")

_CONSTRUCTED, _LONG_TAG = 0x20, 0x1F
_INDEFINITE = 0x80
_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_CONTENT, _CONTENT_IN_PIECES = 0x80, 0xA0  # [0], primitive and constructed
_ORIGINATOR, _EXPLICIT = 0xA0, 0xA0  # [0]
_RECIPIENTS = frozenset({_SEQUENCE, 0xA1, 0xA2, 0xA3, 0xA4})  # RFC 5652 section 6.2
_ENDS = {  # what may come after the encrypted content, by OID: attributes [1], the MAC, attributes [2]
    bytes.fromhex("2a864886f70d010703"): frozenset({(), (0xA1,)}),
    bytes.fromhex("2a864886f70d0109100117"): frozenset(
        {(_OCTETS,), (_OCTETS, 0xA2), (0xA1, _OCTETS), (0xA1, _OCTETS, 0xA2)}
    ),
}


class _Element(NamedTuple):
    """One element: its tag's octet, its content if primitive, its parts if constructed."""

    tag: int
    octets: bytes = b""
    parts: "tuple[_Element, ...]" = ()


class _MalformedError(ValueError):
    """The bytes are no BER that is read here."""


def is_enveloped(data: bytes) -> bool:
    """Tell whether the data is, to its last octet, one CMS message encrypted to at least one recipient."""
    try:
        whole = _Walk(data).whole()
    except _MalformedError:
        return False
    if whole.tag != _SEQUENCE or _tags(whole.parts) != (_OID, _EXPLICIT):
        return False
    kind, content = whole.parts
    if len(content.parts) != 1 or content.parts[0].tag != _SEQUENCE:
        return False
    return _is_envelope(content.parts[0].parts, _ENDS.get(kind.octets, frozenset()))


def _is_envelope(parts: tuple[_Element, ...], ends: frozenset[tuple[int, ...]]) -> bool:
    """Check version, originator, recipients and encrypted content; `ends` are the tags that may come after."""
    if _tags(parts)[1:2] == (_ORIGINATOR,):
        parts = (parts[0], *parts[2:])
    tags = _tags(parts)
    if tags[:3] != (_INTEGER, _SET, _SEQUENCE) or tags[3:] not in ends:
        return False
    recipients = parts[1].parts
    return bool(recipients) and _RECIPIENTS.issuperset(_tags(recipients)) and _is_content(parts[2].parts)


def _is_content(parts: tuple[_Element, ...]) -> bool:
    """Check EncryptedContentInfo: plain data inside, an algorithm, and content that is there."""
    if len(parts) != 3 or parts[0][:2] != (_OID, _DATA) or parts[1].tag != _SEQUENCE:  # noqa: PLR2004 - three fields
        return False
    if _tags(parts[1].parts)[:1] != (_OID,):
        return False
    content = parts[2]
    if content.tag == _CONTENT_IN_PIECES:
        return any(piece.octets for piece in content.parts) and {_OCTETS}.issuperset(_tags(content.parts))
    return content.tag == _CONTENT and bool(content.octets)


def _tags(parts: tuple[_Element, ...]) -> tuple[int, ...]:
    return tuple([part.tag for part in parts])


class _Walk:
    """Reads elements one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._left = _MAX_ELEMENTS

    def whole(self) -> _Element:
        """Read the one element that the data is; raises _MalformedError."""
        element = self._element(len(self._data), 0)
        if self._position != len(self._data):
            raise _MalformedError
        return element

    def _element(self, end: int, depth: int) -> _Element:
        self._left -= 1
        tag = self._octet(end)
        if self._left < 0 or depth > _MAX_DEPTH or tag == 0 or tag & _LONG_TAG == _LONG_TAG:
            raise _MalformedError
        length = self._length(end)
        if tag & _CONSTRUCTED:
            return _Element(tag, parts=self._parts(end, length, depth + 1))
        if length is None:
            raise _MalformedError
        start, self._position = self._position, self._position + length
        return _Element(tag, self._data[start : self._position])

    def _length(self, end: int) -> int | None:
        """Read a length that fits before `end`; None is indefinite."""
        length = first = self._octet(end)
        if first == _INDEFINITE:
            return None
        if first > _INDEFINITE:
            count = first - _INDEFINITE
            if count > _MAX_LENGTH_OCTETS:
                raise _MalformedError
            length = int.from_bytes(bytes(self._octet(end) for _ in range(count)), "big")
        if length > end - self._position:
            raise _MalformedError
        return length

    def _parts(self, end: int, length: int | None, depth: int) -> tuple[_Element, ...]:
        parts = []
        if length is not None:
            end = self._position + length
            while self._position < end:
                parts.append(self._element(end, depth))
            return tuple(parts)
        while self._data[self._position : self._position + 2] != b"\0\0":
            parts.append(self._element(end, depth))
        self._position += 2
        if self._position > end:
            raise _MalformedError
        return tuple(parts)

    def _octet(self, end: int) -> int:
        if self._position >= end:
            raise _MalformedError
        self._position += 1
        return self._data[self._position - 1]
