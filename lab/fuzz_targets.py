"""
The parsers of `gatepost.transport`, that of Postfix's log, and those of CMS (lab.fuzz_cms), each with what it
promises whatever strangers and other programs send.

A target takes octets and tells what came of them, in one line, as golden files keep it: what was read, or that it
was refused in the way that callers expect. It raises BrokenPromiseError, or anything else, where it is not so.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from gatepost.mta.postfix.log_line import LogReader, line_of
from gatepost.transport import hop, netstring, policy_line
from gatepost.transport.mta_sts import MAX_AGE, StsError, matches, read_policy, read_records
from gatepost.transport.mta_sts import policy_line as sts_line
from lab import fuzz_cms
from lab.fuzz_promise import promise

_MOST_REQUEST = 10_000
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
_NOW = 1_800_000_000.0
_LONGEST_REPLY = 200
_LEVELS = {"secure", "fingerprint", "dane-only"}


def _refused(error: Exception) -> str:
    promise(str(error).isprintable())
    return f"refused: {error}"


def read_txt(octets: bytes) -> str:
    """Read TXT records, parted by NUL."""
    try:
        identity = read_records(octets.split(b"\0"))
    except StsError as error:
        return _refused(error)
    promise(identity is None or re.fullmatch(r"[A-Za-z0-9]{1,32}", identity))
    return f"id {identity}"


def read_file(octets: bytes) -> str:
    """Read a policy file; the line for Postfix has its hosts and nothing else."""
    try:
        policy = read_policy(octets)
    except StsError as error:
        return _refused(error)
    hosts = tuple(pattern.replace("*", "a") for pattern in policy.mx)
    promise(0 <= policy.max_age <= MAX_AGE and (hosts or policy.mode == "none"))
    promise(policy.allowed(hosts) == hosts and all(_HOST.fullmatch(host) for host in hosts))
    read = policy_line.read(sts_line(hosts)) if hosts else None
    promise(not hosts or (read and read.match == hosts))
    return f"{policy.mode} {policy.max_age} {' '.join(policy.mx)}"


def match(octets: bytes) -> str:
    """Compare a mail host with a pattern, parted by a line end."""
    host, _, pattern = octets.decode("latin-1").partition("\n")
    found = matches(host, pattern)
    if found:
        ours, theirs = host.lower().split("."), pattern.lower().split(".")
        promise(len(ours) == len(theirs) > 1 and ours[1:] == theirs[1:] and theirs[0] in {"*", ours[0]})
    return str(found)


def take_requests(octets: bytes) -> str:
    """Take what a client writes at once and octet by octet: the same requests, and the same refused."""
    whole = _requests([octets])
    promise(whole == _requests([octets[place : place + 1] for place in range(len(octets))]))
    found, refused = whole
    return f"{found}{' refused' if refused else ''}"


def read_hop(octets: bytes) -> str:
    """Read a next hop as Postfix may name it; its one spelling stays as it is, and means the same."""
    try:
        text = octets.decode("utf-8")
        read = hop.read(text)
    except ValueError as error:
        promise(str(error).isprintable())
        return "refused"
    promise(0 < read.port < 1 << 16 and (read.is_address or hop.is_host(read.name)))
    normal = hop.normal(text)
    promise(hop.normal(normal) == normal and hop.read(normal) == read)
    return str(read)


def read_line(octets: bytes) -> str:
    """Read a line of smtp_tls_policy_maps; what is read is written as it was."""
    text = octets.decode("latin-1")
    read = policy_line.read(text)
    promise(read is None or (read.text == text and read.level in _LEVELS))
    return str(read)


def read_log(octets: bytes) -> str:
    """Read lines of Postfix's log, one after the other."""
    reader = LogReader("postfix")
    found = []
    for one in octets.split(b"\n"):
        line = line_of(one, _NOW)
        delivery = None if line is None else reader.read(line)
        if delivery is not None:
            promise(delivery.reply.isprintable() and len(delivery.reply) <= _LONGEST_REPLY)
            promise(delivery.relay.isprintable() and delivery.queue_id.isalnum())
            promise(delivery.recipient or not delivery.relay)
            found.append(replace(delivery, at=0.0))  # which is local time
    promise(len(reader.remembered()) <= octets.count(b"\n") + 1)
    return str(found)


TARGETS: dict[str, Callable[[bytes], str]] = {
    "sts-records": read_txt,
    "sts-policy": read_file,
    "sts-match": match,
    "socketmap-requests": take_requests,
    "next-hop": read_hop,
    "policy-line": read_line,
    "postfix-log": read_log,
    **fuzz_cms.TARGETS,
}


def _requests(parts: list[bytes]) -> tuple[list[bytes], bool]:
    received, place = b"", 0
    found: list[bytes] = []
    for part in parts:
        received += part
        try:
            while taken := netstring.take(received, place, _MOST_REQUEST):
                found.append(taken[0])
                place = taken[1]
        except netstring.NetstringError:
            return found, True
    return found, False
