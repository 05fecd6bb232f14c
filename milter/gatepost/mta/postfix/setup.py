"""
The changes that put Gatepost into a Postfix, worked out without making them.

What is done, unless Gatepost stands behind alias expansion (see `behind`):
  * our milter comes first in smtpd_milters and non_smtpd_milters, so that a DKIM signer after it signs what
    leaves; the admin's milters stay in their order. An admin who writes `$gatepost_milter` into a list has
    chosen the place, such as after the filters that judge SPF, DKIM and DMARC;
  * every smtpd has a listener name, and a cleanup behind it that lets encrypted mail grow;
  * an entrance whose mail goes to a filter is left without Gatepost: mail passes it behind the filter (see
    `filters`);
  * a bare newline ends no message, where this Postfix can refuse that: nothing is smuggled past the decision;
  * Postfix reads no `user%elsewhere@here` and `elsewhere!user@here` as a route: it would go to a domain that
    was not judged;
  * where the admin's lists of macros lack one that Gatepost needs, it is added (see `macros`);
  * the re-injection listeners and the TLS route are added (see `own_services`).

Applying twice gives the same bytes; taking back gives the admin's bytes (see `marks`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gatepost.errors import ConfigError
from gatepost.mta.postfix import behind, entrances, macros, own_services
from gatepost.mta.postfix.entrances import Entrance, entrances_of
from gatepost.mta.postfix.gate import Behind, Gate, fingerprint
from gatepost.mta.postfix.maincf import with_settings
from gatepost.mta.postfix.marks import without_marks
from gatepost.mta.postfix.mastercf import Service, ServiceEdit, services_of, with_edits
from gatepost.mta.postfix.postconf import Configuration
from gatepost.mta.postfix.refusals import MILTER_PARAMETER, needs_no_chroot, refusals

_SYSTEM_CA_FILES = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
_SIGNED_NAME = "ORIGINATING"  # the {daemon_name} by which signers commonly know the site's own mail
_OWN_PARAMETER = re.compile(r"\$(?:gatepost_milter\b|[{(]gatepost_milter[})])")
_SURROUNDINGS = (
    "queue_directory",
    "compatibility_level",
    "smtp_tls_CAfile",
    "canonical_classes",
    "syslog_name",
    "smtpd_forbid_bare_newline",
    "smtpd_forbid_bare_newline_reject_code",  # a Postfix without it knows yes and no alone
    "smtp_dns_support_level",
    "disable_dns_lookups",
    "smtp_host_lookup",
    *own_services.NEWER,
    *entrances.PARAMETERS,
)
_COPIED = (
    "smtpd_milters",
    "non_smtpd_milters",
    "milter_header_checks",
    "smtp_header_checks",
    *macros.NEEDED,
)


@dataclass(frozen=True, slots=True)
class Setup:
    """A configuration with Gatepost in it: both texts, the map files by name, and what the admin should know."""

    main: str
    master: str
    maps: Mapping[str, str]
    notes: tuple[str, ...]


def bare(configuration: Configuration) -> Configuration:
    """Give the admin's configuration, as if Gatepost had never been there."""
    folder = configuration.directory
    return replace(
        configuration,
        main=without_marks(configuration.main, str(folder / "main.cf")),
        master=without_marks(configuration.master, str(folder / "master.cf")),
    )


def with_gatepost(admins: Configuration, gate: Gate) -> Setup:
    """
    Work out the configuration with Gatepost in it. `admins` is bare.

    Raises ConfigError with every arrangement that is not supported.
    """
    expanded = admins.values(_SURROUNDINGS, expand=True)
    copied = admins.values(_COPIED, expand=False)
    queue_directory = Path(expanded["queue_directory"])
    services = _with_default_chroot(services_of(admins.master), expanded["compatibility_level"])
    ways_in = [way for way in entrances_of(services, expanded, gate) if way.listener not in gate.exempt]
    faults = list(refusals(ways_in, gate, queue_directory))
    if gate.behind is not None:
        faults += behind.faults(ways_in, copied)
    if faults:
        raise ConfigError(*faults)
    edits = [_edit(way, gate, queue_directory, copied) for way in ways_in]
    around = _surroundings(gate, ways_in, edits, expanded, copied)
    added = [
        *own_services.listeners(gate, around, fingerprint(gate.client_pem)),
        *own_services.tls_transport(gate, around),
    ]
    if gate.behind is None:
        added[:0] = _cleanups_behind(ways_in, services, copied["milter_header_checks"], gate, queue_directory)
    else:
        added += _behind(gate, gate.behind, around, copied["smtpd_milters"], queue_directory)
    return Setup(
        main=with_settings(admins.main, _settings(gate, expanded, copied, queue_directory)),
        master=with_edits(admins.master, edits, added),
        maps=_maps(gate),
        notes=tuple(_notes(edits, ways_in)),
    )


def _settings(
    gate: Gate, expanded: Mapping[str, str], copied: Mapping[str, str], queue_directory: Path
) -> dict[str, str]:
    settings = {"gatepost_milter": _milter(gate, queue_directory)}
    for name in ("smtpd_milters", "non_smtpd_milters"):
        settings[name] = _with_ours(copied[name]) if gate.behind is None else behind.parted(copied[name])[0]
    if gate.behind is not None:
        settings[f"{behind.TRANSPORT}_destination_recipient_limit"] = "0"  # one message stays one
    if expanded["smtpd_forbid_bare_newline"] == "no":
        can_mend = bool(expanded["smtpd_forbid_bare_newline_reject_code"])
        settings["smtpd_forbid_bare_newline"] = "normalize" if can_mend else "yes"
    return settings | macros.lacking(copied) | {"allow_percent_hack": "no", "swap_bangpath": "no"}


def _behind(
    gate: Gate, where: Behind, around: own_services.Surroundings, milters: str, queue_directory: Path
) -> list[str]:
    path = gate.milter_path()
    visible = path is None or path.is_relative_to(queue_directory)
    around = around if visible else replace(around, chroot="n")
    return behind.services(gate, where, around, behind.parted(milters)[1])


def _maps(gate: Gate) -> dict[str, str]:
    maps = {
        "gatepost-route.regexp": own_services.ROUTE_FILE,
        "gatepost-unroute.regexp": own_services.UNROUTE_FILE,
    }
    return maps if gate.behind is None else maps | {behind.INSIDE_FILE: behind.inside_file(gate, gate.behind)}


def _with_default_chroot(services: Sequence[Service], compatibility_level: str) -> list[Service]:
    """Write out what `-` in the chroot column means: yes before compatibility level 1 (master(5))."""
    default = "y" if compatibility_level.split(".", maxsplit=1)[0] in {"", "0"} else "n"
    return [replace(service, chroot=default) if service.chroot == "-" else service for service in services]


def _milter(gate: Gate, queue_directory: Path) -> str:
    """Write our milter for Postfix: fail closed; below the queue directory the path holds in a chroot too."""
    path = gate.milter_path()
    if path is None:
        port, _, host = gate.milter_socket.partition(":")[2].partition("@")
        address = f"inet:{host}:{port}"
    elif path.is_relative_to(queue_directory):
        address = f"unix:{path.relative_to(queue_directory)}"
    else:
        address = f"unix:{path}"
    timeouts = "connect_timeout=30s, command_timeout=60s, content_timeout=300s"
    return f"{{ {address}, protocol=6, default_action=tempfail, {timeouts} }}"


def _with_ours(milters: str) -> str:
    if _OWN_PARAMETER.search(milters):
        return milters
    return f"{MILTER_PARAMETER} {milters}".rstrip()


def _without_ours(milters: str) -> str:
    return _OWN_PARAMETER.sub("", milters).strip(" ,")


def _edit(way: Entrance, gate: Gate, queue_directory: Path, main: Mapping[str, str]) -> ServiceEdit:
    if gate.behind is not None:
        return behind.edit(way, gate, gate.behind, main)
    own = way.service.options
    options = macros.lacking(own)
    milters = "smtpd_milters" if way.by_smtp else "non_smtpd_milters"
    if way.by_smtp and own.get("milter_macro_daemon_name") != way.listener:
        options["milter_macro_daemon_name"] = way.listener
    if way.filter:
        return ServiceEdit(way.service, options | {milters: _without_ours(behind.listed(way, main))})
    if milters in own:
        options[milters] = _with_ours(own[milters])
    options["cleanup_service_name"] = own_services.behind_name(way.values["cleanup_service_name"])
    leave = way.by_smtp and needs_no_chroot(way, gate, queue_directory)
    return ServiceEdit(way.service, options, leave_chroot=leave)


def _cleanups_behind(
    ways_in: Sequence[Entrance], services: Sequence[Service], checks: str, gate: Gate, queue_directory: Path
) -> list[str]:
    """Write a cleanup behind each one that an entrance uses, for the largest message that comes through it."""
    written: list[str] = []
    ways_in = [way for way in ways_in if not way.filter]
    for name in dict.fromkeys(way.values["cleanup_service_name"] for way in ways_in):
        cleanup = next((found for found in services if found.name == name and found.command == "cleanup"), None)
        if cleanup is None:
            raise ConfigError(
                f"master.cf: there is no service {name} (cleanup), which another service uses: add it"
            )
        using = [way for way in ways_in if way.values["cleanup_service_name"] == name]
        path = gate.milter_path()
        visible = path is None or path.is_relative_to(queue_directory)
        written += own_services.cleanup_behind(
            cleanup,
            size_limit=_largest(using),
            milter_header_checks=cleanup.options.get("milter_header_checks", checks),
            chroot=cleanup.chroot if visible else "n",
        )
    return written


def _those_behind(milters: str) -> str:
    return behind.parted(milters)[1]


def _surroundings(
    gate: Gate,
    ways_in: Sequence[Entrance],
    edits: Sequence[ServiceEdit],
    expanded: Mapping[str, str],
    copied: Mapping[str, str],
) -> own_services.Surroundings:
    first = next((edit for edit in edits if edit.service.command == "smtpd"), None)
    system_ca = next((str(file) for file in _SYSTEM_CA_FILES if file.exists()), "")
    return own_services.Surroundings(
        milters=(_without_ours if gate.behind is None else _those_behind)(copied["smtpd_milters"]),
        milter_header_checks=copied["milter_header_checks"],
        smtp_header_checks=copied["smtp_header_checks"],
        size_limit=_largest(ways_in),
        chroot="n" if first is None or first.leave_chroot else first.service.chroot,
        daemon_name=_SIGNED_NAME if any(way.listener == _SIGNED_NAME for way in ways_in) else "gatepost",
        ca_file=expanded["smtp_tls_CAfile"] or system_ca,
        canonical_classes=expanded["canonical_classes"],
        syslog_name=expanded["syslog_name"],
        by_dns=expanded["smtp_dns_support_level"] != "disabled" and expanded["disable_dns_lookups"] != "yes",
        host_lookup=expanded["smtp_host_lookup"],
        newer=frozenset(name for name in own_services.NEWER if expanded[name]),
    )


def _largest(ways_in: Sequence[Entrance]) -> int:
    """Give the largest message_size_limit, in bytes; 0, which is none at all, is the largest."""
    limits = [int(way.values["message_size_limit"]) for way in ways_in]
    return 0 if 0 in limits else max(limits, default=0)


def _notes(edits: Sequence[ServiceEdit], ways_in: Sequence[Entrance]) -> list[str]:
    left = [
        f"service {edit.service.name} leaves its chroot: Gatepost's socket cannot be seen from there "
        "(to keep it, put [gateway] socket below queue_directory)"
        for edit in edits
        if edit.leave_chroot
    ]
    names = [f"service {way.service.name} is the listener {way.listener}" for way in ways_in if way.by_smtp]
    return left + names
