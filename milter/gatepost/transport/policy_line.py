"""
A line of smtp_tls_policy_maps: what Postfix demands of the receiver.

Three levels authenticate, and only they are written here: `secure` (a certificate under a trusted authority that
bears one of the names), `fingerprint` (one of these certificates or public keys) and `dane-only` (RFC 7672).

A delivery obeys one line. Where several apply, `joined` gives the one that keeps all of them, if there is one:
lines of one level and with the same authorities, and what their names have in common. It never gives a weaker one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

from gatepost.directory.partner import Partner
from gatepost.transport import hop as hops

_FINGERPRINT = re.compile(r"fingerprint:([0-9A-Fa-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PATH = re.compile(r"/[^\s,{}]+")
_NEXTHOP, _DOT_NEXTHOP = "nexthop", "dot-nexthop"
_WORDS = {_NEXTHOP, _DOT_NEXTHOP, "hostname"}  # of Postfix, no names
_LEVELS = ("secure", "fingerprint")


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """
    One line, read. `match` holds names for `secure`, of which `.domain` stands for what is below that domain, and
    digests for `fingerprint`; `authorities` is a PEM file, empty for the system's.
    """

    level: str
    match: tuple[str, ...] = ()
    authorities: str = ""

    @property
    def text(self) -> str:
        """The line as Postfix reads it; with `secure`, SNI is the name of the host that Postfix connects to."""
        words = [self.level]
        if self.match:
            words.append(f"match={(':' if self.level == 'secure' else '|').join(self.match)}")
        if self.level == "secure":
            words.append("servername=hostname")
        if self.authorities:
            words.append(f"tafile={self.authorities}")
        return " ".join(words)


DANE_ONLY = PolicyLine("dane-only")


def read(text: str) -> PolicyLine | None:
    """Read a line as `PolicyLine.text` writes it; None for any other, which then joins with nothing."""
    level, *words = text.split(" ")
    values = dict(word.partition("=")[::2] for word in words)
    separator = ":" if level == "secure" else "|"
    names = values.get("match")
    match = tuple(names.split(separator)) if names else ()
    line = PolicyLine(level, match, values.get("tafile", ""))
    return line if line.text == text and (line == DANE_ONLY or (match and level in _LEVELS)) else None


def joined(lines: Iterable[PolicyLine], hop: str) -> PolicyLine | None:
    """Give the line that keeps every one of these at a next hop; None where no single line does."""
    several = tuple(dict.fromkeys(lines))
    if len(several) == 1:
        return several[0]
    several = tuple(dict.fromkeys(_spelled_out(line, hop) for line in several))
    if len({(line.level, line.authorities) for line in several}) != 1:
        return None
    names = reduce(_in_both, (line.match for line in several))
    return replace(several[0], match=names) if names else None


def _in_both(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    found = [one for one in some if any(_covers(other, one) for other in others)]
    found += [other for other in others if any(_covers(one, other) for one in some)]
    return tuple(dict.fromkeys(found))


def _covers(wider: str, name: str) -> bool:
    """
    Whether every certificate that bears `name` satisfies `wider`.

    `.domain` is taken for one label below it: the narrower reading of tls_wildcard_matches_multiple_labels.
    """
    parent = name.partition(".")[2]
    return wider == name or (parent != "" and wider == f".{parent}")


def _spelled_out(line: PolicyLine, hop: str) -> PolicyLine:
    """Put the next hop's own name in the place of the words that stand for it."""
    if line.level != "secure":
        return line
    name = hops.read(hop).name
    words = {_NEXTHOP: name, _DOT_NEXTHOP: f".{name}"}
    return replace(line, match=tuple(words.get(one, one.lower()) for one in line.match))


def of_partner(row: Partner) -> PolicyLine:
    """
    Put a row's own demand, `verify` or `fingerprint:`, as a line; raises ValueError for what no line expresses.

    `verify` without a name compares the certificate with the next hop's domain and its subdomains.
    """
    if found := _FINGERPRINT.fullmatch(row.tls):
        digits = found[1].upper()
        return PolicyLine("fingerprint", (":".join(digits[start : start + 2] for start in range(0, 64, 2)),))
    if row.tls != "verify":
        raise ValueError(f"the partner row {row.pattern} holds an unknown tls value")
    if row.tls_name and (not _NAME.fullmatch(row.tls_name) or row.tls_name.lower() in _WORDS):
        raise ValueError(f"the partner row {row.pattern} holds a tls_name that is no host name")
    if row.tls_ca and not _PATH.fullmatch(row.tls_ca):
        raise ValueError(f"the partner row {row.pattern} holds a tls_ca that is no absolute path without blanks")
    match = (row.tls_name,) if row.tls_name else (_NEXTHOP, _DOT_NEXTHOP)
    return PolicyLine("secure", match, row.tls_ca)
