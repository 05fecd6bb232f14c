"""
S/MIME: the shape of an encrypted message (RFC 8551 section 3.4), built byte for byte.

What is encrypted is the message's own content, as in PGP/MIME: its Content-* fields as received, a blank line, its
body.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from gatepost.crypto.content_cipher import ContentCipher
from gatepost.crypto.envelope import Enveloper
from gatepost.message import base64_lines
from gatepost.message.body import Body, Spool
from gatepost.message.field import Field

_KINDS = {False: b"enveloped-data", True: b"authEnveloped-data"}


class Smime:
    """Builds encrypted messages. Thread-safe."""

    def __init__(self, enveloper: Enveloper, directory: Path | None = None) -> None:
        """Take what writes envelopes, and the directory where large bodies are spooled."""
        self._enveloper = enveloper
        self._directory = directory

    def enclose(
        self,
        plaintext: Iterable[bytes],
        certificates: Sequence[bytes],
        on_piece: Callable[[], None],
        *,
        announced: Mapping[bytes, bytes] = MappingProxyType({}),
        floor: str = "",
    ) -> tuple[tuple[Field, ...], Body]:
        """
        Encrypt an entity to every certificate (DER); gives the message's Content-* fields and its body.

        `announced` and `floor` as in Enveloper.

        `on_piece` is called after each piece; what it raises ends the work. Raises CryptoError, OSError.
        """
        cipher, envelope = self._enveloper.envelop(
            plaintext, certificates, on_piece, announced=announced, floor=floor
        )
        body = Spool(self._directory)
        for lines in base64_lines.encoded(envelope):
            body.write(lines)
        return _fields(cipher), body


def _fields(cipher: ContentCipher) -> tuple[Field, ...]:
    kind = _KINDS[cipher.authenticated]
    return (
        Field(b"Content-Type", b" application/pkcs7-mime; smime-type=" + kind + b';\n name="smime.p7m"'),
        Field(b"Content-Transfer-Encoding", b" base64"),
        Field(b"Content-Disposition", b' attachment; filename="smime.p7m"'),
        Field(b"Content-Description", b" S/MIME encrypted message"),
    )
