"""
Where a private key lies on a token of PKCS #11, as a URI (RFC 7512).

    pkcs11:token=gateway;object=smime
    pkcs11:token=gateway;serial=0123456789abcdef;id=%01%02

Read are token (its label, which must be there), serial, object (the key's label) and id, one of the last two at
least. A PIN is none of its business: one in a URI is refused.
"""

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from gatepost.errors import CryptoError

_SCHEME = "pkcs11:"
_ATTRIBUTES = frozenset({"token", "serial", "object", "id", "type"})
_PLAIN = "-._~:[]@!$'()*+,=&"  # RFC 7512 section 2.3: what stands for itself in a path
_EXAMPLE = "write pkcs11:token=LABEL;object=LABEL or pkcs11:token=LABEL;id=%01"


@dataclass(frozen=True, slots=True)
class TokenUri:
    """A private key's place; what is empty is not looked at."""

    token: str
    serial: str = ""
    object: str = ""
    id: bytes = b""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URI; raises CryptoError."""
        if not text.startswith(_SCHEME):
            raise CryptoError(f"{text!r} names no key on a token; {_EXAMPLE}")
        path, question, _ = text.removeprefix(_SCHEME).partition("?")
        if question:
            raise CryptoError("a URI of a key on a token has no '?' here: module and PIN come from the site")
        found: dict[str, bytes] = {}
        for one in path.split(";"):
            name, equals, value = one.partition("=")
            if not equals or name not in _ATTRIBUTES or name in found:
                raise CryptoError(
                    f"{one!r} in the URI of a key is not understood, or stands there twice; {_EXAMPLE}"
                )
            found[name] = unquote_to_bytes(value)
        if found.pop("type", b"private") != b"private":
            raise CryptoError("the URI of a key on a token names another object than a private key")
        try:
            token, serial, label = (found.get(name, b"").decode() for name in ("token", "serial", "object"))
        except UnicodeDecodeError:
            raise CryptoError("a label in the URI of a key on a token is not UTF-8") from None
        if not token or not (label or found.get("id")):
            raise CryptoError(f"the URI of a key on a token must name the token and the key; {_EXAMPLE}")
        return cls(token, serial, label, found.get("id", b""))

    def __str__(self) -> str:
        """Write it, the same for the same key."""
        labels = (("token", self.token), ("serial", self.serial), ("object", self.object))
        parts = [f"{name}={quote(value, _PLAIN)}" for name, value in labels if value]
        if self.id:
            parts.append(f"id={quote_from_bytes(self.id, '')}")
        return _SCHEME + ";".join(parts)
