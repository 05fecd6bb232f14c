"""
The checks of what the transport `gatepost-tls` stands on: DNS, authorities, and a way of its own.
"""

import ssl
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gatepost.mta.finding import Finding, fail, ok, warn
from gatepost.mta.postfix.mastercf import Service
from gatepost.mta.postfix.own_services import TLS_TRANSPORT

PARAMETERS = ("smtp_dns_support_level", "disable_dns_lookups", "smtp_tls_CAfile", "smtp_tls_CApath", "relayhost")


def tls_checks(directory: Path, values: Mapping[str, str], services: Sequence[Service]) -> Iterator[Finding]:
    """Check the TLS route of the Postfix configured in `directory`; `values` are in force in main.cf."""
    route = next((one for one in services if one.name == TLS_TRANSPORT), None)
    if route is None:
        return  # another check says what to do
    values = {**values, **route.options}
    if values["smtp_dns_support_level"] != "dnssec":
        yield warn(
            f"{TLS_TRANSPORT} does not look up DNSSEC, so mail that DANE assures is deferred",
            f"`postconf -c {directory} -X disable_dns_lookups -X smtp_dns_support_level`, then "
            "`gatepost setup postfix --apply`",
        )
    yield _authorities(values["smtp_tls_CAfile"], values["smtp_tls_CApath"])
    if values["relayhost"]:
        yield ok(f"relayhost = {values['relayhost']}: only partners whose row names a next hop are reached by TLS")


def _authorities(file: str, folder: str) -> Finding:
    """Check the certificates by which `verify` without tls_ca and MTA-STS know a server."""
    again = "then `gatepost setup postfix --apply`"
    if not file:
        if folder:
            return ok(f"{TLS_TRANSPORT} knows authorities by smtp_tls_CApath = {folder}")
        return warn(
            f"{TLS_TRANSPORT} knows no authorities: what `verify` without tls_ca or MTA-STS assures is deferred",
            f"install ca-certificates, {again}",
        )
    what = f"{TLS_TRANSPORT} knows authorities by smtp_tls_CAfile = {file}"
    try:
        if not Path(file).stat().st_mode & stat.S_IROTH:
            return fail(f"{what}, which Postfix's user may not read", f"`chmod a+r {file}`")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        return fail(f"{what}, which holds no certificates in PEM form", f"restore it, or set another, {again}")
    except OSError as error:
        return fail(f"{what}: {error.strerror}", f"install ca-certificates, or set another file, {again}")
    return ok(what)
