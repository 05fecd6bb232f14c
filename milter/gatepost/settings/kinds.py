"""
The kinds of values that settings take: domains, networks, sockets, addresses, ladders.

Each is an annotated string or path whose validator raises ValueError with what is wrong and what is allowed.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from gatepost.decision.demand import ENCRYPTING, Treatment

MAX_UNIX_PATH = 107  # sun_path holds 108 bytes, the last one is NUL
TRUST_WORDS = ("admin", "dnssec", "wkd", "ca", "keyserver", "harvested")  # strongest first
_RUNGS = {treatment.value for treatment in ENCRYPTING}
_AUTHSERV_ID = re.compile(r"[A-Za-z0-9._/:-]*")
_LOCAL = re.compile(r"[A-Za-z0-9._=-]{1,64}")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)


def hostname(text: str) -> str:
    """Check a host or domain name in A-label form; gives it in lower case."""
    labels = text.split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004 - RFC 1035
        raise ValueError(f'"{text}" is no domain name; allowed: names like "hosp.test", IDN as "xn--..."')
    return text.lower()


def domain_pattern(text: str) -> str:
    """Check `domain`, or `.domain` that stands for its subdomains."""
    dot = "." if text.startswith(".") else ""
    return dot + hostname(text.removeprefix("."))


def network(text: str) -> str:
    """Check an IPv4 or IPv6 network or address."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f'"{text}" is no network ({error}); allowed: "10.0.0.0/8", "::1/128"') from None


def port(text: str) -> int:
    """Check a TCP port, 1 to 65535."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65535):  # noqa: PLR2004 - 16 bits
        raise ValueError(f'"{text}" is no port; allowed: 1 to 65535')
    return int(text)


def host_port(text: str) -> str:
    """Check `host:port`; an IPv6 address stands in brackets."""
    host, colon, number = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f'"{text}" has no host or no port; allowed: "127.0.0.1:10025", "[::1]:10025"')
    port(number)
    if host.startswith("[") and host.endswith("]"):
        network(host[1:-1])
    else:
        hostname(host)
    return text


def unix_path(path: Path) -> Path:
    """Check that a UNIX socket's path fits into the system's limit."""
    size = len(str(path).encode())
    if size > MAX_UNIX_PATH:
        raise ValueError(f"{path} has {size} bytes; a UNIX socket's path has at most {MAX_UNIX_PATH}")
    return path


def socket(text: str) -> str:
    """Check a milter's socket: `unix:/path` or `inet:port@host`."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        unix_path(Path(rest))
        return text
    number, at, host = rest.partition("@")
    if kind != "inet" or not at:
        raise ValueError(f'"{text}" is no socket; allowed: "unix:/path" or "inet:port@host"')
    port(number)
    if not host.startswith("["):
        hostname(host)
    return text


def unix_socket(text: str) -> str:
    """Check a socket of a service that is only reached on this host: `unix:/path`."""
    if not text.startswith("unix:"):
        raise ValueError(f'"{text}" is no UNIX socket; allowed: "unix:/path"')
    return socket(text)


def authserv_id(text: str) -> str:
    """Check an identity in Authentication-Results (RFC 8601 section 2.5): one plain word, or empty."""
    if not _AUTHSERV_ID.fullmatch(text):
        raise ValueError(f'"{text}" is no identity; allowed: one word like "gatepost.gw.hosp.test"')
    return text


def listen(text: str) -> str:
    """Check where a service listens: `host:port` or `unix:/path`; empty: nowhere."""
    if text.startswith("unix:"):
        return unix_socket(text)
    return host_port(text) if text else text


def log(text: str) -> str:
    """Check where Postfix's log is: `/path` or `journal`; empty: nowhere."""
    if text not in {"", "journal"} and not text.startswith("/"):
        raise ValueError(f'"{text}" is no log; allowed: "/path" or "journal"')
    return text


def ladder_encrypt(rungs: tuple[str, ...]) -> tuple[str, ...]:
    """Check the ladder of demand `encrypt`: only treatments that encrypt."""
    for rung in rungs:
        if rung in {Treatment.TLS, Treatment.PASS}:
            raise ValueError(f'"{rung}" does not encrypt the message; allowed: {", ".join(sorted(_RUNGS))}')
    return _ladder(rungs, _RUNGS)


def ladder_tls(rungs: tuple[str, ...]) -> tuple[str, ...]:
    """Check the ladder of demand `tls`: verified TLS, or treatments that encrypt."""
    return _ladder(rungs, _RUNGS | {Treatment.TLS.value})


def _ladder(rungs: tuple[str, ...], allowed: set[str]) -> tuple[str, ...]:
    for rung in rungs:
        if rung not in allowed:
            raise ValueError(f'"{rung}" is no rung of this ladder; allowed: {", ".join(sorted(allowed))}')
    if not rungs or len(set(rungs)) < len(rungs):
        raise ValueError("a ladder names at least one treatment, and none twice")
    return rungs


def trust(word: str) -> str:
    """Check a trust word."""
    if word not in TRUST_WORDS:
        raise ValueError(f'"{word}" is no trust; allowed: {", ".join(TRUST_WORDS)}')
    return word


def without_password(text: str) -> str:
    """Give a URL as errors may show it: without user, password and query."""
    return re.sub(r"://.*@", "://***@", text.partition("?")[0])


def url(*schemes: str) -> AfterValidator:
    """Make a check for a URL of one of these schemes."""

    def check(text: str) -> str:
        if not any(text.startswith(f"{scheme}://") for scheme in schemes):
            allowed = ", ".join(f'"{scheme}://..."' for scheme in schemes)
            raise ValueError(f'"{without_password(text)}" is no URL of a known kind; allowed: {allowed}')
        return text

    return AfterValidator(check)


def vault_url(text: str) -> str:
    """Check where the vault lies: `file:///path`; raises ValueError for object storage, too."""
    if text.startswith("s3://"):
        raise ValueError(f'"{text}": a vault in object storage is not built yet; use "file:///absolute/path"')
    if not text.startswith("file://"):
        raise ValueError(f'"{text}" is no URL of a known kind; allowed: "file://..."')
    return text


def resolver(text: str) -> str:
    """Check a resolver: `address` or `address#port`."""
    address, mark, number = text.partition("#")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f'"{text}" is no resolver; allowed: "127.0.0.1", "::1", "127.0.0.1#5353"') from None
    if mark:
        port(number)
    return text


def service_address(text: str) -> str:
    """Check a local part, an address, or nothing; gives it in lower case."""
    local, at, domain = text.rpartition("@") if "@" in text else (text, "", "")
    if text and not _LOCAL.fullmatch(local):
        raise ValueError(f'"{text}" is no local part and no address; allowed: "decrypt", "decrypt@hosp.test", ""')
    return f"{local.lower()}{at}{hostname(domain) if at else ''}"


VaultUrl = Annotated[str, AfterValidator(vault_url)]
Hostname = Annotated[str, AfterValidator(hostname)]
DomainPattern = Annotated[str, AfterValidator(domain_pattern)]
Network = Annotated[str, AfterValidator(network)]
AuthservId = Annotated[str, AfterValidator(authserv_id)]
HostPort = Annotated[str, AfterValidator(host_port)]
Listen = Annotated[str, AfterValidator(listen)]
Log = Annotated[str, AfterValidator(log)]
Socket = Annotated[str, AfterValidator(socket)]
UnixSocket = Annotated[str, AfterValidator(unix_socket)]
EncryptLadder = Annotated[tuple[str, ...], AfterValidator(ladder_encrypt)]
TlsLadder = Annotated[tuple[str, ...], AfterValidator(ladder_tls)]
Trust = Annotated[str, AfterValidator(trust)]
ServiceAddress = Annotated[str, AfterValidator(service_address)]
Resolver = Annotated[str, AfterValidator(resolver)]
