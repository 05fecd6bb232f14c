"""
A whole town of mail: one Gatepost site, its private Postfix, and everyone it writes to.

    hosp.test      the site's own domain; its mailboxes are the sink `inside`
    plain.test     outsiders without a partner row; only kim has an OpenPGP key
    pgp.test       a partner whose row demands encryption; ann, bob and eve have OpenPGP keys
    tls.test       a partner by verified TLS, whose server shows the right certificate (sink `tls`)
    wrong.test     a partner by verified TLS, whose server shows a wrong one (sink `wrong`)
    pin.test       a partner by the fingerprint of its server's certificate (sink `pin`)

Mail to pgp.test and to kim is not signed, so that what is inside is what was written.

The keys' secret halves lie in `gpg`, the outside world's GnuPG home.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.certificate import Authority
from lab.client import Envelope, Outcome, send
from lab.gpg import Gpg
from lab.letter import canary, letter
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

    def send_tagged(self, recipient: str) -> str:
        """Send tagged mail from inside; give its canary."""
        word = canary()
        message = letter(word, to=recipient, subject="*secure* x")
        if not self.send("sue@hosp.test", recipient, message=message).ok:
            raise RuntimeError(f"tagged mail to {recipient} was not taken")
        return word

    def seen_outside(self, word: str) -> bool:
        """Tell whether a canary stands in clear in anything that outsiders received."""
        return any(word.encode() in one.data for sink in (self.outside, self.tls) for one in sink.messages)

    @contextmanager
    def emptied(self) -> Iterator[Self]:
        """Give the town with empty sinks; in the end nothing may be left in the queue."""
        self.clear()
        yield self
        self.postfix.wait_queue_empty()
        self.clear()


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


@contextmanager
def town_with_aliases(
    folder: Path,
    *,
    virtual: str,
    local: str,
    main: Mapping[str, str],
    internal_domains: Sequence[str] = (),
    setup: Sequence[str] = (),
) -> Iterator[Town]:
    """
    Give a running town whose Postfix has virtual aliases and those of aliases(5), as texts.

    `box.hosp.test` is delivered by local(8); `main` may name more tables in `folder`.
    """
    for name, text in (("virtual", virtual), ("local", local)):
        (folder / name).write_text(text)
    aliases = {
        "virtual_alias_maps": f"texthash:{folder}/virtual",
        "alias_maps": f"texthash:{folder}/local",
        "mydestination": "box.hosp.test",
    }
    settings = {"gateway.internal_domains": [OWN, "box.hosp.test", *internal_domains]}
    with town(folder, settings=settings, postfix_settings=aliases | dict(main), setup=setup) as built:
        built.postfix.route("box.hosp.test", "local:")
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
        "pattern,demand,ladder,tls,tls_name,tls_ca,nexthop,sign",
        "pgp.test,encrypt,openpgp,,,,,never",
        "kim@plain.test,none,,,,,,never",
        f"tls.test,tls,,verify,mx.tls.test,{ca},[127.0.0.1]:{built.tls.port},",
        f"wrong.test,tls,,verify,mx.wrong.test,{ca},[127.0.0.1]:{built.wrong.port},",
        f"pin.test,tls,,fingerprint:{fingerprint},,,[127.0.0.1]:{built.pin.port},",
    ]
    table = folder / "partners.csv"
    table.write_text("\n".join(rows) + "\n")
    site.gatepost("partner", "import", table)
    users = [f"{address.partition('@')[0].title()} <{address}>" for address in KEY_HOLDERS]
    site.gatepost("key", "import", built.gpg.export_to(folder / "theirs.asc", *users))
    made = site.json("key", "generate", "openpgp", "--for", OWN)["keys"][0]["fingerprint"]
    built.gpg.import_key(site.gatepost("key", "export", made).stdout.encode())
