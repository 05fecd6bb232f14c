"""
A whole town of mail: one Gatepost site, its private Postfix, and everyone it writes to.

    hosp.test      the site's own domain; its mailboxes are the sink `inside`
    plain.test     outsiders without a partner row; only kim has an OpenPGP key
    pgp.test       a partner whose row demands encryption; ann, bob and eve have OpenPGP keys
    tls.test       a partner by verified TLS, whose server shows the right certificate (sink `tls`)
    wrong.test     a partner by verified TLS, whose server shows a wrong one (sink `wrong`)
    pin.test       a partner by the fingerprint of its server's certificate (sink `pin`)

The keys' secret halves lie in `gpg`, the outside world's GnuPG home.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.certificate import Authority
from lab.client import Envelope, Outcome, send
from lab.gpg import Gpg
from lab.postfix import Postfix
from lab.sink import Sink
from lab.site import GatepostSite, Setting

OWN = "hosp.test"
KEY_HOLDERS = ("ann@pgp.test", "bob@pgp.test", "eve@pgp.test", "kim@plain.test")


@dataclass(frozen=True, slots=True)
class Town:
    """What stands in the town; see the module."""

    folder: Path
    postfix: Postfix
    site: GatepostSite
    inside: Sink
    outside: Sink
    tls: Sink
    wrong: Sink
    pin: Sink
    gpg: Gpg
    authority: Authority

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Every receiver."""
        return (self.inside, self.outside, self.tls, self.wrong, self.pin)

    def clear(self) -> None:
        """Forget all that was received and every fault asked for."""
        for sink in self.sinks:
            sink.clear()

    def send(self, sender: str, *recipients: str, message: bytes) -> Outcome:
        """Send from an inside client."""
        return send(self.postfix.inside_port, Envelope(sender, recipients), message)

    def send_from_outside(self, sender: str, *recipients: str, message: bytes) -> Outcome:
        """Send from an outside client."""
        return send(self.postfix.outside_port, Envelope(sender, recipients), message)


@contextmanager
def town(
    folder: Path,
    *,
    settings: Mapping[str, Setting] | None = None,
    postfix_settings: Mapping[str, str] | None = None,
    setup: Sequence[str] = (),
) -> Iterator[Town]:
    """Build the town in `folder`, which other users may enter, start everything, and stop it at the end."""
    with ExitStack() as stack:
        built = build(folder, stack, settings=settings, postfix_settings=postfix_settings, setup=setup)
        stack.enter_context(built.postfix)
        stack.callback(built.site.stop)
        built.site.start()
        yield built


def build(
    folder: Path,
    stack: ExitStack,
    *,
    settings: Mapping[str, Setting] | None = None,
    postfix_settings: Mapping[str, str] | None = None,
    setup: Sequence[str] = (),
) -> Town:
    """Make everything and start the receivers, but neither Postfix nor Gatepost."""
    authority = Authority(folder / "ca")
    inside, outside = stack.enter_context(Sink(name="inside")), stack.enter_context(Sink(name="outside"))
    right = authority.issue("mx.tls.test")
    tls = stack.enter_context(Sink(name="mx.tls.test", context=right.context()))
    impostor = Authority(folder / "impostor", "Impostor CA").issue("mx.wrong.test")
    wrong = stack.enter_context(Sink(name="mx.wrong.test", context=impostor.context()))
    pinned = Authority(folder / "unknown", "Unknown CA").issue("mx.pin.test")
    pin = stack.enter_context(Sink(name="mx.pin.test", context=pinned.context()))
    gpg = Gpg(folder / "gpg")
    stack.callback(gpg.close)
    routes: dict[str, int | str] = {
        OWN: inside.port,
        "plain.test": outside.port,
        "pgp.test": outside.port,
        "tls.test": tls.port,
        "pin.test": pin.port,
        "wrong.test": wrong.port,
    }
    main = {"smtp_tls_security_level": "may", **(postfix_settings or {})}
    postfix = Postfix(folder / "p", hostname="mail.hosp.test", routes=routes, relay_domains=[OWN], settings=main)
    site = GatepostSite(folder / "gatepost", postfix, domains=[OWN], settings=settings, setup=setup).create()
    built = Town(folder, postfix, site, inside, outside, tls, wrong, pin, gpg, authority)
    _introduce(built, pinned.fingerprint)
    return built


def _introduce(built: Town, fingerprint: str) -> None:
    """Enter the partners and keys, as an admin does."""
    site, folder, ca = built.site, built.folder, built.authority.file
    rows = [
        "pattern,demand,ladder,tls,tls_name,tls_ca,nexthop",
        "pgp.test,encrypt,openpgp,,,,",
        f"tls.test,tls,,verify,mx.tls.test,{ca},[127.0.0.1]:{built.tls.port}",
        f"wrong.test,tls,,verify,mx.wrong.test,{ca},[127.0.0.1]:{built.wrong.port}",
        f"pin.test,tls,,fingerprint:{fingerprint},,,[127.0.0.1]:{built.pin.port}",
    ]
    table = folder / "partners.csv"
    table.write_text("\n".join(rows) + "\n")
    site.gatepost("partner", "import", table)
    users = [f"{address.partition('@')[0].title()} <{address}>" for address in KEY_HOLDERS]
    site.gatepost("key", "import", built.gpg.export_to(folder / "theirs.asc", *users))
    made = site.json("key", "generate", "openpgp", "--for", OWN)["keys"][0]["fingerprint"]
    built.gpg.import_key(site.gatepost("key", "export", made).stdout.encode())
