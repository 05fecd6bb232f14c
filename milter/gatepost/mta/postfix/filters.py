"""
Filters to which Postfix hands mail and which hand it back, before or after the queue (FILTER_README, amavis).

Such a filter may come before Gatepost: where mail enters it goes to the filter, and what the filter hands back
passes Gatepost. Gatepost then sees the filter as the client, so the port must tell what is inside: mail from
inside and mail from outside take ways of their own.
"""

from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_address

from gatepost.message.transaction import Client
from gatepost.mta.postfix.entrances import Entrance
from gatepost.mta.postfix.gate import Gate

SUPPORTED = """\
Two arrangements are supported.
(1) The filter is a milter: name it in smtpd_milters and non_smtpd_milters (amavisd-milter, clamav-milter, rspamd).
(2) The filter comes before Gatepost. Every smtpd that has a filter takes mail from one side only: name it in
    [gateway] inside_listeners or outside_listeners of gatepost.toml. Mail from inside and mail from outside go to
    filters on different ports. For each side an smtpd on loopback takes back what the filter hands on:
    -o content_filter= -o smtpd_proxy_filter= -o milter_macro_daemon_name=NAME, and not no_milters in its
    receive_override_options; name it in the same list."""

_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain"})


def faults(ways_in: Sequence[Entrance], gate: Gate) -> Iterator[str]:
    """Say what is wrong with the filters, a text per fault, the last one with what is supported."""
    found = list(_faults(ways_in, gate))
    yield from found[:-1]
    if found:
        yield f"{found[-1]}\n{SUPPORTED}"


def _faults(ways_in: Sequence[Entrance], gate: Gate) -> Iterator[str]:
    sides: dict[str, set[str]] = {}
    for way in ways_in:
        if way.filter:
            sides.setdefault(way.filter, set()).add(side(way, gate))
            if not side(way, gate):
                yield f"{where(way)}: the filter {way.filter} is not supported so: {_unplaced(way)}"
    for name, found in sides.items():
        if {"inside", "outside"} <= found:
            yield f"the filter {name} is not supported so: it takes mail from inside and mail from outside"
    if sides:
        yield from _faults_behind(ways_in, gate, set().union(*sides.values()) - {""})


def _faults_behind(ways_in: Sequence[Entrance], gate: Gate, sides: Collection[str]) -> Iterator[str]:
    back = [way for way in ways_in if way.by_smtp and not way.filter and _on_loopback(way)]
    for wanted in sorted(sides):
        if not any(side(way, gate) == wanted for way in back):
            yield f"no smtpd on loopback named in {wanted}_listeners takes back what the filter hands on"
    for way in back:
        if not side(way, gate):
            yield f"{where(way)}: may take back mail of both sides: {_unplaced(way)}"


def _unplaced(way: Entrance) -> str:
    return f"its listener {way.listener} is named on neither side"


def side(way: Entrance, gate: Gate) -> str:
    """Tell the one side from which an entrance's mail comes, or nothing: `inside` or `outside`."""
    if not way.by_smtp:
        return "inside" if gate.site.is_inside(Client("127.0.0.1")) else "outside"
    if way.listener in gate.site.inside_listeners:
        return "inside"
    return "outside" if way.listener in gate.site.outside_listeners else ""


def where(way: Entrance) -> str:
    """Name an entrance as the admin finds it."""
    return f"master.cf, service {way.service.name} ({way.service.command})"


def _on_loopback(way: Entrance) -> bool:
    host = way.service.name.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in _LOCAL_NAMES
