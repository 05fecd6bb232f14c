"""
The checks of a Postfix: does all mail pass Gatepost, and does nothing else in its configuration undo that.
"""

import smtplib
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gatepost.errors import ConfigError
from gatepost.message.direction import Site
from gatepost.mta.finding import Finding, fail, ok, warn
from gatepost.mta.postfix import behind, changes, files, filters
from gatepost.mta.postfix.entrances import PARAMETERS, Entrance, entrances_of
from gatepost.mta.postfix.gate import Gate
from gatepost.mta.postfix.mastercf import Service, services_of
from gatepost.mta.postfix.own_services import grown

_BCC = ("always_bcc", "sender_bcc_maps", "recipient_bcc_maps")
_FORWARDING = ("forward_path", "luser_relay")
_ROUTING = {"allow_percent_hack": "user%elsewhere@here", "swap_bangpath": "elsewhere!user@here"}
_PARAMETERS = (
    *PARAMETERS,
    *_BCC,
    *_FORWARDING,
    *_ROUTING,
    "queue_directory",
    "mail_owner",
    "mydestination",
    "milter_default_action",
    "enable_original_recipient",
    "smtputf8_enable",
    "mailbox_size_limit",
    "message_strip_characters",
    "smtpd_forbid_bare_newline",
)
_TIMEOUT = 10.0
_REFUSED_FOR_GOOD = range(500, 600)


@dataclass(frozen=True, slots=True)
class WayIn:
    """A row of the table of ways in; `passes` is yes, no, or exempt by setting; `filter` comes before Gatepost."""

    service: str
    listener: str
    milters: str
    passes: str
    filter: str = ""


def postfix_checks(directory: Path, gate: Gate, site: Site) -> Iterator[Finding]:
    """Run all checks of the Postfix configured in `directory`, for a site whose domains are `site`'s."""
    try:
        current = files.read_configuration(directory)
        values = current.values(_PARAMETERS, expand=True)
    except ConfigError as error:
        yield from (fail("Postfix's configuration", fault) for fault in error.diagnostics())
        return
    yield from _setup_checks(directory, gate)
    for way in ways_in(directory, gate):
        if way.passes == "no":
            yield fail(
                f"mail by {way.service} (listener {way.listener}) passes Gatepost by",
                "`gatepost setup postfix --apply`, or name the listener in [gateway] exempt_listeners",
            )
    yield from _bcc_checks(values, gate)
    yield from _setting_checks(values)
    yield from _routing_checks(values, services_of(current.master))
    yield from _local_checks(values, site)
    yield from _socket_checks(gate, values["mail_owner"])
    for address in gate.listeners.values():
        yield _listener_check(address, gate)


def ways_in(directory: Path, gate: Gate) -> list[WayIn]:
    """List every way mail enters this Postfix, as it is configured now."""
    current = files.read_configuration(directory)
    values = current.values((*PARAMETERS, "queue_directory"), expand=True)
    raw = current.values(("gatepost_milter",), expand=True)["gatepost_milter"]
    names = [name for name in (raw, *_names(gate, Path(values["queue_directory"]))) if name]
    found = entrances_of(services_of(current.master), values, gate)
    guarded = [way for way in found if way.listener not in gate.exempt]
    behind_filters = not list(filters.faults(guarded, gate)) and all(
        _passes(way, names) for way in guarded if not way.filter
    )
    return [_way(way, names, gate, behind_filters=behind_filters) for way in found]


def _way(way: Entrance, names: Sequence[str], gate: Gate, *, behind_filters: bool) -> WayIn:
    if way.filter and gate.behind is not None:
        passing = way.filter in {behind.filter_to(one) for one in (gate.behind.inside, gate.behind.outside)}
    else:
        passing = behind_filters if way.filter else _passes(way, names)
    passes = "yes" if passing else "exempt" if way.listener in gate.exempt else "no"
    milters = " ".join(way.milters.split())
    return WayIn(f"{way.service.name} ({way.service.command})", way.listener, milters, passes, way.filter)


def _passes(way: Entrance, names: Sequence[str]) -> bool:
    milters = " ".join(way.milters.split())
    return not way.skips_milters and any(name in milters for name in names)


def _names(gate: Gate, queue_directory: Path) -> list[str]:
    path = gate.milter_path()
    if path is None:
        port, _, host = gate.milter_socket.partition(":")[2].partition("@")
        return [f"inet:{host}:{port}"]
    below = [f"unix:{path.relative_to(queue_directory)}"] if path.is_relative_to(queue_directory) else []
    return [f"unix:{path}", *below]


def _setup_checks(directory: Path, gate: Gate) -> Iterator[Finding]:
    what = f"Gatepost's settings in {directory}"
    try:
        planned, _ = changes.to_apply(directory, gate)
    except ConfigError as error:
        yield from (fail(what, fault) for fault in error.diagnostics())
        return
    different = [change.path.name for change in planned if change.before != change.after]
    if different:
        yield fail(
            f"{what} are missing or out of date: {', '.join(different)}",
            f"`gatepost setup postfix --apply`, then `postfix -c {directory} reload`",
            partial(_apply, directory, gate),
        )
    else:
        yield ok(f"{what} are in force")


def _apply(directory: Path, gate: Gate) -> None:
    with files.locked(directory):
        planned, _ = changes.to_apply(directory, gate)
        files.write(planned)


def _bcc_checks(values: Mapping[str, str], gate: Gate) -> Iterator[Finding]:
    """Check that no copies go past us; behind alias expansion their recipients are judged as any others."""
    for name in _BCC:
        if values[name] and gate.behind is None:
            yield fail(
                f"{name} = {values[name]} copies mail past Gatepost, in clear",
                "remove it; an archive that takes mail before Gatepost does the same",
            )


def _setting_checks(values: Mapping[str, str]) -> Iterator[Finding]:
    if values["enable_original_recipient"] != "yes":
        yield fail("enable_original_recipient = no: recipients cannot be taken off a message", "set it to yes")
    if values["milter_default_action"] in {"accept", "quarantine"}:
        yield warn(
            f"milter_default_action = {values['milter_default_action']} lets mail pass your other milters unseen",
            "set it to tempfail; Gatepost's own milter has tempfail in any case",
        )
    if values["smtpd_forbid_bare_newline"] in {"", "no"}:
        yield warn("smtpd_forbid_bare_newline = no: smuggled messages are possible", "set it to normalize")
    if "\\0" not in values["message_strip_characters"]:
        yield warn("NUL bytes in headers hide what follows from milters", "set message_strip_characters = \\0")
    if values["smtputf8_enable"] == "no":
        yield warn("smtputf8_enable = no: internationalised addresses are refused", "set it to yes")


def _routing_checks(values: Mapping[str, str], services: Sequence[Service]) -> Iterator[Finding]:
    """Check that no address is read as a route, by main.cf or by a service's own options."""
    for name, form in _ROUTING.items():
        places = [("main.cf", values[name])]
        places += [(f"master.cf, service {one.name}", one.options.get(name, "no")) for one in services]
        for place, value in places:
            if value.lower() != "no":
                yield fail(
                    f"{name} = {value} ({place}): {form} goes to a domain that Gatepost did not judge",
                    "`gatepost setup postfix --apply`" if place == "main.cf" else "take the option out",
                )


def _local_checks(values: Mapping[str, str], site: Site) -> Iterator[Finding]:
    local = {word.lower() for word in values["mydestination"].replace(",", " ").split()}
    served = sorted(name for name in local if site.is_internal_domain(name))
    limit, mailbox = int(values["message_size_limit"] or 0), int(values["mailbox_size_limit"] or 0)
    if mailbox and mailbox < limit:
        yield warn(f"mailbox_size_limit = {mailbox} is below message_size_limit", f"set it to {grown(limit)} or 0")
    if not served:
        yield ok("local(8) delivers for no internal domain")
        return
    for name in _FORWARDING:
        if values[name]:
            yield fail(
                f"{name} is set, and local(8) serves {', '.join(served)}: mail may be forwarded out in clear",
                f"set `{name} =`, and write forwards into alias maps, which Gatepost asks",
            )


def _socket_checks(gate: Gate, mail_owner: str) -> Iterator[Finding]:
    """Check that Postfix's user may connect to the sockets; only root can try."""
    policy = Path(gate.policy_socket.removeprefix("unix:"))
    for path in filter(None, (gate.milter_path(), policy)):
        try:
            if not path.exists():
                continue  # the service does not run, which another check says
            done = subprocess.run(
                ["test", "-w", str(path)],
                user=mail_owner,
                group=mail_owner,
                extra_groups=[],
                check=False,
                timeout=_TIMEOUT,
            )
        except (LookupError, OSError):  # not root: neither its user may be taken nor its folders entered
            yield warn(f"whether {mail_owner} may use {path} was not tried", "run doctor as root")
            continue
        if done.returncode:
            yield fail(
                f"{mail_owner} may not write to {path}", f"give its folder to the group {mail_owner}, mode 2750"
            )
        else:
            yield ok(f"{mail_owner} may use {path}")


def _listener_check(address: str, gate: Gate) -> Finding:
    what = f"listener {address}"
    try:
        stranger = _try_listener(address, None)
        known = _try_listener(address, gate.client_pem)
    except (OSError, smtplib.SMTPException) as error:
        return fail(f"{what} does not answer: {error}", "start or reload Postfix")
    if stranger not in _REFUSED_FOR_GOOD:
        return fail(f"{what} lets in clients without a certificate", "`gatepost setup postfix --apply` and reload")
    if known in _REFUSED_FOR_GOOD:
        return fail(f"{what} refuses our certificate", "`gatepost setup postfix --apply` and reload")
    return ok(f"{what} lets in our certificate alone")


def _try_listener(address: str, client_pem: Path | None) -> int:
    """Give the code of the first refusal, or of the reply to a recipient; no message is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client_pem is not None:
        context.load_cert_chain(client_pem)
    host, _, port = address.rpartition(":")
    try:
        with smtplib.SMTP_SSL(host.strip("[]"), int(port), context=context, timeout=_TIMEOUT) as client:
            client.ehlo("doctor.invalid")
            client.mail("")
            return client.rcpt("postmaster")[0]
    except smtplib.SMTPConnectError as refused:
        return refused.smtp_code
