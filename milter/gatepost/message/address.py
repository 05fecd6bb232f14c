"""
Envelope addresses, kept byte for byte as the client gave them.

Postfix deletes a recipient only by the exact bytes of RCPT, so `raw` is never rebuilt.
Comparing uses `local` and `domain`: the domain in lower case as A-labels (RFC 5890), the local part without
quotes, its case as given, since only its own site may say that case does not matter (RFC 5321 section 2.4).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

from gatepost.errors import AddressError

_CONTROL = frozenset(map(chr, (*range(0x20), 0x7F)))
_ATOMS = r"[^\s()<>\[\]:;,@\\\"]+"
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PLAIN = re.compile(rf"<?(?:{_ATOMS}|{_QUOTED.pattern})(?:@(?:{_ATOMS}|\[[A-Za-z0-9.:-]+\]))?>?")
_MAX_OCTETS = 512  # generous: RFC 5321 section 4.5.3.1 allows 64 + 1 + 255


@dataclass(frozen=True, slots=True)
class Address:
    """One envelope address; `raw` carries the angle brackets as received."""

    raw: bytes
    local: str
    domain: str

    @property
    def text(self) -> str:
        """The address without brackets, for look-ups and for people: `local@domain`."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def is_null(self) -> bool:
        """Whether this is the null sender `<>` (RFC 5321 section 4.5.5)."""
        return not self.local and not self.domain

    def __str__(self) -> str:
        return self.text or "<>"


NULL_SENDER = Address(raw=b"<>", local="", domain="")


def normal_domain(text: str) -> str:
    """
    Give a domain in lower case as A-labels, without a final dot.

    Raises AddressError where IDNA 2008 (UTS 46) does not allow it.
    """
    lowered = text.rstrip(".").lower()
    if lowered.isascii():
        return lowered
    try:
        return idna.encode(lowered, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise AddressError(f"{text!r} is not a domain name: {error}") from error


def unicode_domain(domain: str) -> str:
    """Give a domain with U-labels; as it is where it has none or they cannot be read."""
    try:
        return idna.decode(domain) if "xn--" in domain else domain
    except idna.IDNAError:
        return domain


@lru_cache(maxsize=4096)
def parse(raw: bytes) -> Address:
    """
    Read the address argument of MAIL or RCPT, with or without angle brackets.

    Raises AddressError for bytes that are not UTF-8, control characters, over-long arguments and empty
    recipients' parts: whatever could not be given back to the mail server byte for byte.
    """
    if len(raw) > _MAX_OCTETS:
        raise AddressError("the address is longer than 512 octets")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AddressError("the address is not UTF-8") from error
    if not _CONTROL.isdisjoint(text):
        raise AddressError("the address holds a control character")
    inner = text[1:-1] if text.startswith("<") and text.endswith(">") else text
    if not inner:
        return Address(raw=raw, local="", domain="")
    local, at, domain = inner.rpartition("@")
    if not at:
        return Address(raw=raw, local=_unquoted(domain), domain="")
    if not local or not domain:
        raise AddressError("the address lacks its local part or its domain")
    return Address(raw=raw, local=_unquoted(local), domain=normal_domain(domain))


def _unquoted(local: str) -> str:
    """Take the quotes off, which are no part of the name: `"ann"` and `ann` are one mailbox."""
    quoted = _QUOTED.fullmatch(local)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else local


def is_plain(address: Address) -> bool:
    """
    Tell whether the address as given is `local@domain` or a bare `local`, and nothing beside it.

    A source route, blanks and comments, which RFC 5321 and RFC 822 allow, are taken out by mail servers: what they
    deliver to is then not what was compared here.
    """
    return _PLAIN.fullmatch(address.raw.decode("utf-8")) is not None


@lru_cache(maxsize=4096)
def parent_domains(domain: str) -> tuple[str, ...]:
    """Name the domain's parents, nearest first: `a.b.c` gives `b.c`, `c`."""
    labels = domain.split(".")
    return tuple(".".join(labels[start:]) for start in range(1, len(labels)))
