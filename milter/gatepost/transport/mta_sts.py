"""
What a domain publishes by MTA-STS (RFC 8461): its TXT record and its policy file, read without trust.

Rules:
  * Exactly one record at `_mta-sts.DOMAIN` begins with `v=STSv1;`; several are as good as none (section 3.1).
  * Of a field that stands twice the first counts, `mx` apart; unknown fields are passed over (sections 3.1, 3.2).
  * A pattern `*.x` stands for one label before `.x`, never for none or two (section 4.1).
  * What breaks the grammar makes the whole record or file invalid: half a policy is not guessed.

Two things are stricter than the RFC: a name of one label is no mail host, and `mx` must be plain ASCII. Both end
up in a line for Postfix, where `hostname` and `nexthop` are keywords. Blank lines in a policy file are allowed,
since many files end with one.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gatepost.errors import GatepostError

MAX_SIZE = 64 << 10
"""Octets of a policy file (RFC 8461 section 3.3)."""
MAX_AGE = 31_557_600
"""Seconds: a year (RFC 8461 section 3.2)."""
ASSURING = "enforce"
"""The one mode that demands anything of a sender."""

_MODES = frozenset({"enforce", "testing", "none"})
_BEGINS = re.compile(rb"v=STSv1[ \t]*;")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_TXT_VALUE = re.compile(r"[!-:<-~]+")  # "=" too, which the grammar leaves out of extensions: it harms nothing
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SECONDS = re.compile(r"[0-9]{1,10}")
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})+")
_PATTERN = re.compile(rf"(?=.{{1,253}}\Z)(?:\*|{_LABEL})(?:\.{_LABEL})+")


class StsError(GatepostError):
    """A TXT record or a policy file is not what RFC 8461 wants; the text says where."""


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy; `mode` is `enforce`, `testing` or `none`, `mx` patterns in lower case, `max_age` in seconds."""

    mode: str
    mx: tuple[str, ...]
    max_age: int

    def allowed(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """Give those of the mail hosts that the policy names, in the order given."""
        return tuple(host for host in hosts if any(matches(host, pattern) for pattern in self.mx))


def read_records(records: Iterable[bytes]) -> str | None:
    """
    Give the policy's id from the TXT records at `_mta-sts.DOMAIN`, or None if none of them is one.

    Raises StsError for several, and for one that is malformed.
    """
    found = [record for record in records if _BEGINS.match(record)]
    if not found:
        return None
    if len(found) > 1:
        raise StsError(f"{len(found)} records begin with v=STSv1, so none counts; there must be one")
    return _record_id(found[0])


def _record_id(record: bytes) -> str:
    _, *fields = _ascii(record, "the record").split(";")
    if fields and not fields[-1].strip(" \t"):
        fields.pop()  # the record may end with a semicolon
    identity = None
    for number, field in enumerate(fields, start=2):
        name, equals, value = field.strip(" \t").partition("=")
        if not (equals and _NAME.fullmatch(name) and _TXT_VALUE.fullmatch(value)):
            raise StsError(f"field {number} of the record is not NAME=VALUE")
        if name == "id" and identity is None:
            identity = value
    if identity is None:
        raise StsError("the record has no id")
    if not _ID.fullmatch(identity):
        raise StsError("the record's id is not 1 to 32 letters and digits")
    return identity


def read_policy(file: bytes) -> StsPolicy:
    """Read a policy file; raises StsError with the line at fault."""
    if len(file) > MAX_SIZE:
        raise StsError(f"the policy file is longer than {MAX_SIZE} octets")
    once: dict[str, tuple[int, str]] = {}
    patterns: dict[str, None] = {}
    for number, name, value in _fields(file):
        if name == "mx":
            patterns[_pattern(number, value)] = None
        else:
            once.setdefault(name, (number, value))
    _expect(once, "version", lambda value: value == "STSv1", "STSv1")
    mode = _expect(once, "mode", _MODES.__contains__, "enforce, testing or none")
    max_age = int(_expect(once, "max_age", _is_age, f"a number of seconds from 0 to {MAX_AGE}"))
    if not patterns and mode != "none":
        raise StsError(f"mode {mode} without any mx line")
    return StsPolicy(mode, tuple(patterns), max_age)


def matches(host: str, pattern: str) -> bool:
    """Tell whether a mail host is one that an `mx` pattern allows (RFC 8461 section 4.1)."""
    if not (_HOST.fullmatch(host) and _PATTERN.fullmatch(pattern)):
        return False
    host, pattern = host.lower(), pattern.lower()
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:]
    return host == pattern


def policy_line(hosts: Iterable[str]) -> str:
    """
    Give the line of smtp_tls_policy_maps for mail hosts that a policy allows, of which there is at least one.

    It names the very hosts. Put as `.x`, a pattern `*.x` would let Postfix take a certificate for `a.b.x` too,
    which RFC 8461 section 4.1 does not allow. Hosts that the policy leaves out show no such certificate.
    """
    return f"secure match={':'.join(hosts)} servername=hostname"


def _fields(file: bytes) -> Iterator[tuple[int, str, str]]:
    try:
        text = file.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StsError(f"line {file[: error.start].count(10) + 1} of the policy file is not UTF-8") from None
    for number, ended in enumerate(text.split("\n"), start=1):
        line = ended.removesuffix("\r").rstrip(" \t")
        if not line:
            continue
        if _CONTROL.search(line):
            raise StsError(f"line {number} of the policy file has a control character")
        name, colon, value = line.partition(":")
        if not (colon and _NAME.fullmatch(name)):
            raise StsError(f"line {number} of the policy file is not NAME: VALUE")
        yield number, name, value.lstrip(" \t")


def _expect(once: dict[str, tuple[int, str]], name: str, holds: Callable[[str], bool], wanted: str) -> str:
    if name not in once:
        raise StsError(f"the policy file has no {name} line")
    number, value = once[name]
    if not holds(value):
        raise StsError(f"line {number} of the policy file: {name} is not {wanted}")
    return value


def _is_age(value: str) -> bool:
    return bool(_SECONDS.fullmatch(value)) and int(value) <= MAX_AGE


def _pattern(number: int, value: str) -> str:
    if not _PATTERN.fullmatch(value):
        raise StsError(f'line {number} of the policy file: mx is not like "mx.example.org" or "*.example.org"')
    return value.lower()


def _ascii(octets: bytes, what: str) -> str:
    try:
        return octets.decode("ascii")
    except UnicodeDecodeError:
        raise StsError(f"{what} is not ASCII") from None
