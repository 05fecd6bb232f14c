"""
A small Internet of its own: one Gatepost site and those to whom it writes, each on a machine of a private network.

    gateway  11.25.0.1   mail.hosp.test: a real Postfix, Gatepost with all its services, a resolver that validates
    alpha    11.25.1.*   a real Postfix that does well
    beta     11.25.2.*   a real Postfix whose doors show certificates that nobody should trust, or none
    gamma    11.25.3.*   a real Postfix whose door changes its face
    evil     11.25.66.1  an attacker's receiver; its certificate for mx.evil.test is from the authority
    web      11.25.4.1   the HTTPS host of all policies; 10.25.4.1 is the same at a private address

Domains are made by tests, below test. (signed), bogus.test. and insecure.test.; nothing is seen of them before
`publish`. The addresses look public; there is no way out.
"""

import contextlib
import csv
import re
import sqlite3
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.certificate import Authority, ServerCertificate, self_signed
from lab.client import Envelope, Outcome, send
from lab.dnszone import Zone
from lab.gpg import Gpg
from lab.mail_host import Arrival, Door, MailHost
from lab.network import Network
from lab.policy_host import PolicyHost, put_site
from lab.postfix import Postfix
from lab.sink import Sink
from lab.site import GatepostSite, Setting
from lab.unbound import Unbound
from lab.wire import Wire

OWN = "hosp.test"
GATEWAY, EVIL, WEB, PRIVATE_WEB = "11.25.0.1", "11.25.66.1", "11.25.4.1", "10.25.4.1"
CONFIDENTIAL = "confidential"
STOPPED = "deferred transport"  # what Postfix says of mail in the queue while delivery is stopped
_RULE = f"""\
[[rule]]
name = "confidential"
when = {{ direction = "out", subject = "{CONFIDENTIAL}" }}
demand = "tls"
"""
_POSTFIX = {"smtp_tls_security_level": "may", "smtp_tls_loglevel": "1"}


@dataclass(frozen=True, slots=True)
class Internet:
    """
    What there is; see the module.

    The gateway trusts `authority`, for mail hosts and for policy hosts; `unknown` is the file of another one.
    """

    folder: Path
    authority: Authority
    unknown: Path
    zones: Mapping[str, Zone]
    resolver: Unbound
    wire: Wire
    postfix: Postfix
    site: GatepostSite
    inside: Sink
    hosts: Mapping[str, MailHost]
    evil: Sink
    policies: PolicyHost
    gpg: Gpg

    def zone_of(self, name: str) -> tuple[Zone, str]:
        """Give the zone that holds a name, and the name relative to it."""
        zone = max(
            (zone for zone in self.zones.values() if f".{name}".endswith(f".{zone.name}")),
            key=lambda zone: len(zone.name),
        )
        return zone, name.removesuffix(zone.name).removesuffix(".") or "@"

    def certificate(self, door: str) -> ServerCertificate:
        """Give the certificate that the door of that name shows."""
        for host in self.hosts.values():
            for one in host.doors:
                if one.name == door and one.certificate is not None:
                    return one.certificate
        raise KeyError(f"no door {door} shows a certificate")

    def put(self, name: str, kind: str, *values: str) -> None:
        """Let a name have these records of one type, and no others of it."""
        zone, relative = self.zone_of(name)
        zone.put(relative, kind, *values)

    def put_domain(self, domain: str, *hosts: str) -> None:
        """Let a domain have these mail hosts, best first."""
        self.put(domain, "MX", *(f"{10 * place} {host}." for place, host in enumerate(hosts, 1)))

    def put_host(self, name: str, address: str, named: ServerCertificate | None = None) -> None:
        """Let a name be a mail host, whose certificate, if one is given, a TLSA record names."""
        zone, relative = self.zone_of(name)
        zone.put_mail_host(relative, address, named)

    def put_policy(
        self,
        domain: str,
        *hosts: str,
        mode: str = "enforce",
        identity: str = "1",
        how: str = "answers",
        text: str | None = None,
        certificate: ServerCertificate | None = None,
        address: str = WEB,
    ) -> None:
        """Let a domain have an MTA-STS policy for these mail hosts, served as lab.policy_host calls it."""
        name = f"mta-sts.{domain}"
        self.put(f"_mta-sts.{domain}", "TXT", f'"v=STSv1; id={identity};"')
        self.put(name, "A", address)
        lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), "max_age: 86400", ""]
        policy = "\r\n".join(lines) if text is None else text
        put_site(self.policies.file, name, certificate or self.authority.issue(name), how, policy)

    def put_partners(self, *rows: Mapping[str, str]) -> None:
        """Let the site have these partners, over those of the same pattern."""
        columns = ["pattern", "tls", "tls_name", "tls_ca", "nexthop"]
        table = self.folder / "partners.csv"
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        self.site.gatepost("partner", "import", table)

    def introduce(self, *addresses: str) -> None:
        """Let these outsiders have OpenPGP keys, which the site knows."""
        self.site.gatepost("key", "import", self.gpg.export_to(self.folder / "theirs.asc", *addresses))

    def publish(self) -> None:
        """Let everybody see the names as they are now."""
        self.resolver.publish()

    def send(self, *recipients: str, message: bytes, sender: str = f"sue@{OWN}") -> Outcome:
        """Send from an inside client."""
        return send(self.postfix.inside_port, Envelope(sender, recipients), message, within=self.postfix.within)

    def arrivals(self, recipient: str) -> list[Arrival]:
        """Give what came for a recipient at any mail host, the attacker's apart."""
        came = [arrival for host in self.hosts.values() for arrival in host.arrivals()]
        return [arrival for arrival in came if recipient in arrival.message.addresses]

    def reasons(self, recipient: str) -> list[str]:
        """Give why Postfix keeps mail for a recipient in its queue, one reason for each message put off."""
        return [
            entry["delay_reason"]
            for message in self.postfix.queue()
            for entry in message["recipients"]
            if entry["address"] == recipient and entry.get("delay_reason")
        ]

    def complaints(self, host: str) -> str:
        """Give all that Postfix logged of why it does not believe a mail host's certificate."""
        return "\n".join(
            re.findall(rf"certificate verification failed for {re.escape(host)}\[.*", self.postfix.log())
        )

    @contextmanager
    def delivery_stopped(self) -> Iterator[None]:
        """Let mail that is to go by assured TLS wait in Postfix's queue; then try all of it at once."""
        self.postfix.set(defer_transports="gatepost-tls")
        self.postfix.reload()
        try:
            yield
        finally:
            self.postfix.set(defer_transports="")
            self.postfix.reload()
            self.postfix.flush()

    def forget_discoveries(self) -> None:
        """Let the site look everything up anew, as if all that it knows of DNS were over; kept policies stay."""
        self.site.stop()
        with contextlib.closing(sqlite3.connect(self.site.folder / "gatepost.db")) as database, database:
            database.execute("DELETE FROM discovery")
        self.site.start()

    def forget(self, recipient: str) -> None:
        """Delete what the queue holds for a recipient."""
        for message in self.postfix.queue():
            if any(entry["address"] == recipient for entry in message["recipients"]):
                self.postfix.delete(message["queue_id"])


@contextmanager
def internet(folder: Path, *, settings: Mapping[str, Setting] | None = None) -> Iterator[Internet]:
    """Build it in `folder`, which other users may enter, start everything, and stop it at the end."""
    with ExitStack() as stack:
        built = _built(folder, stack, settings or {})
        with ThreadPoolExecutor() as pool:  # each waits most of its time
            starts = [pool.submit(lambda host=host: stack.enter_context(host)) for host in built.hosts.values()]  # type: ignore[misc]
            built.site.create()
            (built.site.folder / "rules" / "50-confidential.toml").write_text(_RULE)
            stack.enter_context(built.postfix)
            stack.callback(built.site.stop)
            built.site.start()
            for start in starts:
                start.result()
        _name_hosts(built)
        yield built


def _name_hosts(built: Internet) -> None:
    """Let the mail hosts have addresses; TLSA records are a matter of tests."""
    for host in built.hosts.values():
        for door in host.doors:
            built.put_host(door.name, door.address)
    built.put_host(built.evil.name, built.evil.address)
    built.publish()


def _built(folder: Path, stack: ExitStack, settings: Mapping[str, Setting]) -> Internet:
    """Make everything, and start all but the mail servers and Gatepost."""
    network = stack.enter_context(Network())
    authority = Authority(folder / "ca")
    resolv_conf = folder / "resolv.conf"
    resolv_conf.write_text("nameserver 127.0.0.1\n")
    gateway = network.machine("gateway", f"{GATEWAY}/16", "10.25.0.1/16", resolv_conf=resolv_conf)
    zones = _zones()
    resolver = stack.enter_context(Unbound(folder / "unbound", zones, port=53, within=gateway))
    web = network.machine("web", f"{WEB}/16", f"{PRIVATE_WEB}/16")
    policies = stack.enter_context(web.call(lambda: PolicyHost(folder / "policies.json", "0.0.0.0", 443)))  # noqa: S104
    evil = network.machine("evil", f"{EVIL}/16")
    trusted = authority.issue("mx.evil.test").context()
    attacker = Sink(name="mx.evil.test", port=25, address=EVIL, context=trusted, within=evil)
    inside = stack.enter_context(Sink(name="inside", within=gateway))
    postfix = Postfix(
        folder / "gateway",
        hostname=f"mail.{OWN}",
        routes={OWN: inside.port},
        relay_domains=[OWN],
        settings={**_POSTFIX, "smtp_tls_CAfile": str(authority.file)},
        within=gateway,
        dns=True,
    )
    own = {
        "dns.https_ca_file": str(authority.file),
        "dns.timeout": 10.0,
        "postfix.log": str(postfix.maillog),
        **settings,
    }
    gpg = Gpg(folder / "gpg")
    stack.callback(gpg.close)
    unknown = Authority(folder / "unknown", "Unknown CA")
    return Internet(
        folder,
        authority,
        unknown.file,
        {zone.name: zone for zone in zones},
        resolver,
        network.wire("gateway"),
        postfix,
        GatepostSite(folder / "gatepost", postfix, domains=[OWN], settings=own),
        inside,
        _hosts(folder, network, authority, unknown),
        stack.enter_context(attacker),
        policies,
        gpg,
    )


def _zones() -> list[Zone]:
    top, insecure, bogus = Zone("test"), Zone("insecure.test", "insecure"), Zone("bogus.test", "bogus")
    top.put_child(insecure)
    top.put_child(bogus)
    return [top, insecure, bogus]


def _hosts(folder: Path, network: Network, authority: Authority, unknown: Authority) -> dict[str, MailHost]:
    """Make the three mail hosts; the names of their doors tell what is wrong with them."""
    faces: dict[str, list[tuple[str, ServerCertificate | None]]] = {
        "alpha": [
            (name, authority.issue(name)) for name in ("mx1.alpha.test", "mx2.alpha.test", "mx3.alpha.test")
        ],
        "beta": [
            ("expired.beta.test", authority.issue("expired.beta.test", expired=True)),
            ("wrong.beta.test", authority.issue("other.beta.test")),
            ("self.beta.test", self_signed(folder, "self.beta.test")),
            ("plain.beta.test", None),
            ("private.beta.test", unknown.issue("private.beta.test")),
        ],
        "gamma": [("mx.gamma.test", authority.issue("mx.gamma.test"))],
    }
    hosts = {}
    for place, (name, doors) in enumerate(faces.items(), 1):
        addresses = [f"11.25.{place}.{number}" for number in range(1, len(doors) + 1)]
        machine = network.machine(name, *(f"{address}/16" for address in addresses))
        made = [Door(door, address, shown) for (door, shown), address in zip(doors, addresses, strict=True)]
        hosts[name] = MailHost(folder / name, machine, made)
    return hosts
