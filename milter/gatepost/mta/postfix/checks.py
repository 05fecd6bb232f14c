"""
The checks of a Postfix: does all mail pass Gatepost, and does nothing else in its configuration undo that.
"""

import smtplib
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gatepost.errors import ConfigError
from gatepost.message.direction import Site
from gatepost.mta.finding import Finding, fail, ok, warn
from gatepost.mta.postfix import behind, changes, files, filters, setting_checks, tls_checks
from gatepost.mta.postfix.entrances import PARAMETERS, Entrance, entrances_of
from gatepost.mta.postfix.gate import Gate
from gatepost.mta.postfix.mastercf import services_of

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
        values = current.values(
            (*PARAMETERS, *setting_checks.PARAMETERS, *tls_checks.PARAMETERS, "mail_owner"), expand=True
        )
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
    services = services_of(current.master)
    yield from setting_checks.setting_checks(directory, values, services, gate, site)
    yield from tls_checks.tls_checks(directory, values, services)
    yield from _socket_checks(gate, values["mail_owner"])
    for address in gate.listeners.values():
        yield _listener_check(address, gate)


def ways_in(directory: Path, gate: Gate) -> list[WayIn]:
    """List every way mail enters this Postfix, as it is configured now."""
    current = files.read_configuration(directory)
    values = current.values((*PARAMETERS, "queue_directory"), expand=True)
    ours = current.values(("gatepost_milter",), expand=True)["gatepost_milter"]
    names = _names(gate, Path(values["queue_directory"]))
    if any(name in ours for name in names):
        names += ["$gatepost_milter", "${gatepost_milter}", "$(gatepost_milter)"]  # in a service's own options
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
