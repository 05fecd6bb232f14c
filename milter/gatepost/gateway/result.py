"""
The result fields: what the gateway found when mail came in.

`Gatepost-Result` is for the site's own filters and users, Authentication-Results (RFC 8601, RFC 7281) for
programs. Both carry our authserv-id, and incoming ones under it have been removed before.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gatepost.message.edit import Prepend
from gatepost.message.transaction import Came

RESULT = b"Gatepost-Result"

_FOUND = frozenset({"nested", "undecryptable"})
_LONGEST = 200  # characters of a text that a certificate chose
_UNPRINTABLE = re.compile(r"[^ -~]")
_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+./^_`{|}~-]+")  # a token (RFC 2045 section 5.1)


@dataclass(frozen=True, slots=True)
class Signature:
    """
    What came of the signatures of one incoming copy.

    `status` is "pass", "fail" or "none", `method` "smime" or "pgp". With "pass", `by`, `key` and `trust` tell
    whose signature it is, and `identifier`, `serial` and `issuer` of which certificate. With "fail", `reason`
    tells why in plain words, `temporary` that it may be otherwise later. `part` is where the signature stands in
    the copy (RFC 3501 section 6.4.5), empty where it stands there no longer.
    """

    status: str = "none"
    method: str = "pgp"
    by: str = ""
    key: str = ""
    trust: str = ""
    identifier: str = ""
    serial: str = ""
    issuer: str = ""
    part: str = ""
    reason: str = ""
    temporary: bool = False

    @property
    def good(self) -> bool:
        """Whether the content is proved to be its author's."""
        return self.status == "pass"


@dataclass(frozen=True, slots=True)
class Result:
    """
    What came of one incoming copy.

    `decrypted` is "openpgp", "smime" or "no"; `came` tells by what connection it came; `flags` are words of the
    contract.
    """

    decrypted: str = "no"
    signature: Signature = field(default_factory=Signature)
    came: Came = Came.PLAIN
    flags: tuple[str, ...] = ()

    @property
    def opened(self) -> bool:
        """Whether the content was decrypted."""
        return self.decrypted != "no"

    @property
    def telling(self) -> bool:
        """Whether there was anything to be found: encryption, or a signature."""
        return self.opened or self.signature.status != "none" or bool(_FOUND.intersection(self.flags))

    def fields(self, authserv_id: str) -> tuple[Prepend, ...]:
        """Give the two fields, to be put above all others."""
        method = " ".join(self._method())
        return (
            Prepend(b"Authentication-Results", _value(f"{authserv_id}; {method}")),
            Prepend(RESULT, _value(f"{authserv_id}; {self.text()}")),
        )

    def text(self) -> str:
        """Give the result as Gatepost-Result spells it, without the authserv-id."""
        signed = f"signed={self.signature.status}"
        for name in ("by", "key", "trust"):
            if value := getattr(self.signature, name):
                signed += f" {name}={value}"
        parts = [f"decrypted={self.decrypted}", signed, f"came={self.came}"]
        if self.flags:
            parts.append("flag=" + ",".join(self.flags))
        return "; ".join(parts)

    def _method(self) -> Iterator[str]:
        """Give the parts of what RFC 8601 calls resinfo."""
        found = self.signature
        if found.status == "none":
            yield "none"
            return
        yield f"{found.method}={'temperror' if found.temporary else found.status}"
        if found.reason:
            yield f"reason={_quoted(found.reason)}"
        if found.by:
            yield f"header.from={found.by}"
        if found.method == "smime":
            yield from self._of_certificate()

    def _of_certificate(self) -> Iterator[str]:
        """Give the properties of RFC 7281 section 3.2; names from a certificate only where it is the author's."""
        found = self.signature
        if found.part:
            yield f"body.smime-part={found.part}"
        if found.good:
            if found.identifier:
                yield f"body.smime-identifier={found.identifier}"
            yield f"body.smime-serial={found.serial}"
            yield f"body.smime-issuer={_quoted(found.issuer)}"


def _quoted(text: str) -> str:
    """Write text as one value: a token, or a quoted string of printable ASCII (RFC 5322 section 3.2.4)."""
    if _VALUE.fullmatch(text):
        return text
    plain = _UNPRINTABLE.sub("?", text)[:_LONGEST]
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _value(text: str) -> bytes:
    return b" " + text.encode("ascii", "replace")
