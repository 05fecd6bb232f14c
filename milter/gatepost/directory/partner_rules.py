"""
What a partner row may say: the one place where a row's values are read and judged.

The partner table's CHECK constraints say the same in SQL, as far as SQL can. Pure; whether `tls_ca` can be read is
for whoever stores the row to see.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields

from gatepost.directory.partner import Partner
from gatepost.errors import AddressError, DirectoryError
from gatepost.message.address import normal_domain

COLUMNS = tuple(field.name for field in fields(Partner))
DEMANDS = ("none", "tls", "encrypt")
TREATMENTS = ("tls", "openpgp", "smime", "pdf", "securedoc", "pickup")
TLS_WORDS = ("verify", "dane", "mta-sts")
INBOUND_ACTIONS = ("flag", "quarantine", "tempfail")
SIGN_WORDS = ("never", "protected", "always")
CIPHER_FLOORS = ("aes128-cbc", "aes256-cbc", "aes256-gcm")

_DOMAIN = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_FINGERPRINT = re.compile(r"fingerprint:[0-9a-f]{64}")
_NEXTHOP = re.compile(r"(?:[a-z0-9._-]+|\[[a-z0-9._:-]+\])(?::[0-9]{1,5})?")
_LOCAL = re.compile(r"[^\s@\x00-\x1f\x7f]+")
_MAX_DOMAIN = 253
_POSTFIX_WORDS = {"hostname", "nexthop", "dot-nexthop"}  # where a certificate's name is compared


def normal_pattern(text: str) -> str:
    """
    Give a pattern as the table holds it: lower case, its domain as A-labels.

    Raises DirectoryError for what is neither an address, nor a domain, nor `.domain`.
    """
    local, at, domain = text.strip().lower().rpartition("@")
    dot = "." if domain.startswith(".") and not at else ""
    try:
        domain = normal_domain(domain.removeprefix(dot))
    except AddressError as error:
        raise DirectoryError(f"pattern: {error}") from error
    readable = len(domain) <= _MAX_DOMAIN and _DOMAIN.fullmatch(domain) and (not at or _LOCAL.fullmatch(local))
    if not readable:
        raise DirectoryError(f"pattern: {text!r} is not an address, a domain or .domain")
    return f"{local}{at}{dot}{domain}"


def read_partner(values: Mapping[str, str]) -> Partner:
    """
    Read a row from its columns as an admin may write them; what is missing or empty takes its default.

    Case, blanks and a fingerprint's colons do not matter. Raises DirectoryError with every fault, a line each.
    """
    faults = [f"{name}: no such column; allowed: {', '.join(COLUMNS)}" for name in values if name not in COLUMNS]
    given = {name: values.get(name, "").strip() for name in COLUMNS}
    try:
        pattern = normal_pattern(given["pattern"])
    except DirectoryError as error:
        pattern = given["pattern"]
        faults.append(str(error))
    row = Partner(
        pattern=pattern,
        demand=given["demand"].lower() or "none",
        ladder=tuple(word for part in given["ladder"].split(",") if (word := part.strip().lower())),
        tls=_normal_tls(given["tls"]),
        tls_name=given["tls_name"].lower().rstrip("."),
        tls_ca=given["tls_ca"],
        nexthop=given["nexthop"].lower(),
        inbound=given["inbound"].lower() or "none",
        inbound_action=given["inbound_action"].lower() or "flag",
        note=values.get("note", ""),
        sign=given["sign"].lower(),
        cipher_floor=given["cipher_floor"].lower(),
    )
    faults += _column_faults(row)
    if faults:
        raise DirectoryError("\n".join(faults))
    return row


def columns_of(row: Partner) -> dict[str, str]:
    """Give a row's columns as the table and the CSV hold them; `read_partner` reads them back."""
    return {name: getattr(row, name) for name in COLUMNS} | {"ladder": ",".join(row.ladder)}


def check_partner(row: Partner) -> None:
    """Raise DirectoryError, with every fault, for a row that the command line would not have stored."""
    faults = list(_column_faults(row))
    try:
        if normal_pattern(row.pattern) != row.pattern:
            faults.append(f"pattern: {row.pattern!r} is not in lower case with A-labels, so it would never match")
    except DirectoryError as error:
        faults.append(str(error))
    if faults:
        raise DirectoryError("\n".join(faults))


def _normal_tls(text: str) -> str:
    word, colon, digits = text.lower().partition(":")
    return f"{word}:{digits.replace(':', '')}" if colon else word


def _column_faults(row: Partner) -> Iterator[str]:
    yield from _unknown("demand", row.demand, DEMANDS)
    for word in row.ladder:
        yield from _unknown("ladder", word, TREATMENTS)
    if row.tls and row.tls not in TLS_WORDS and not _FINGERPRINT.fullmatch(row.tls):
        yield f"tls: {row.tls!r} is not allowed; use verify, dane, mta-sts or fingerprint:SHA256 (64 hex digits)"
    yield from _verify_faults(row)
    if row.nexthop and not _NEXTHOP.fullmatch(row.nexthop):
        yield f"nexthop: {row.nexthop!r} is not a host, [host] or either with :port"
    yield from _unknown("inbound", row.inbound, DEMANDS)
    yield from _unknown("inbound_action", row.inbound_action, INBOUND_ACTIONS)
    if row.sign:
        yield from _unknown("sign", row.sign, SIGN_WORDS)
    if row.cipher_floor:
        yield from _unknown("cipher_floor", row.cipher_floor, CIPHER_FLOORS)


def _verify_faults(row: Partner) -> Iterator[str]:
    if row.tls_name and row.tls != "verify":
        yield "tls_name: needs tls verify"
    if row.tls_ca and row.tls != "verify":
        yield "tls_ca: needs tls verify"
    if row.tls_name and (not _DOMAIN.fullmatch(row.tls_name) or row.tls_name in _POSTFIX_WORDS):
        yield f"tls_name: {row.tls_name!r} is not a host name"
    if row.tls_ca and not re.fullmatch(r"/[^\s,{}]+", row.tls_ca):
        yield f"tls_ca: {row.tls_ca!r} is not an absolute path without blanks, commas and braces"


def _unknown(column: str, value: str, allowed: tuple[str, ...]) -> Iterator[str]:
    if value not in allowed:
        yield f"{column}: {value!r} is not allowed; use {', '.join(allowed)}"
