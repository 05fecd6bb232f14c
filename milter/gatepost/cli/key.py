"""
The commands `gatepost key`: OpenPGP keys and S/MIME certificates, partners' and the site's own.

With --json a key is an object with fingerprint, kind, owner, own, current (of several keys of ours it is the one
that partners are given), trust, expires, source and refusal (why mail is not encrypted to it; empty if it is).
`import`, `generate`, `list`, `show` and `trust` print `{"keys": [KEY, ...]}`, `generate --csr` `{"request": PEM}`,
`remove` `{"removed": FINGERPRINT}`, `export` `{"armored": TEXT}`, which is PEM for a certificate.
"""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import Invocation, invocation
from gatepost.errors import DirectoryError

if TYPE_CHECKING:
    from gatepost.directory.key import Key
    from gatepost.gateway.issuing import Issuing
    from gatepost.gateway.keyring import Keyring

app = typer.Typer(help="Keep OpenPGP keys and S/MIME certificates, theirs and ours.", no_args_is_help=True)

Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Key or certificate files, armored (PEM) or binary, - for stdin."),
]
Owner = Annotated[str, typer.Option("--for", metavar="ADDRESS-OR-DOMAIN", help="Whose key it is.")]
Fingerprint = Annotated[str, typer.Argument(help="The key's fingerprint, its beginning or its end.")]


class Kind(StrEnum):
    """What can be made."""

    OPENPGP = "openpgp"
    SMIME = "smime"


class Algorithm(StrEnum):
    """The keys of certificates that can be made."""

    RSA = "rsa3072"
    P256 = "p256"
    P384 = "p384"


class Level(StrEnum):
    """How well a key is known to be its owner's."""

    ADMIN = "admin"
    DNSSEC = "dnssec"
    WKD = "wkd"
    CA = "ca"
    KEYSERVER = "keyserver"
    HARVESTED = "harvested"


@app.command(name="import")
def import_(
    ctx: typer.Context,
    files: Files,
    owner: Owner = "",
    private: Annotated[
        bool,
        typer.Option(
            "--private",
            help="The files hold private keys of ours, of S/MIME with their certificate;"
            " or the certificate that answers a request made by `generate smime --csr`.",
        ),
    ] = False,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the private keys' passphrase; asked for on a terminal.")
    ] = None,
    pkcs11: Annotated[
        str,
        typer.Option(
            "--pkcs11",
            metavar="URI",
            help="With --private: the file is a certificate, and its key stays on a token, named as in RFC 7512.",
        ),
    ] = "",
) -> None:
    """Store keys and certificates from files; without --for under the addresses that they name."""
    call = invocation(ctx)
    ring = _ring(call)
    contents = [(name, _content(name)) for name in files]
    if pkcs11:
        if not private or len(contents) > 1:
            raise typer.BadParameter("goes with --private and one certificate", param_hint="--pkcs11")
        keys = list(ring.add_on_token(*contents[0], owner, pkcs11))
    elif private:
        passphrase = _passphrase(passphrase_file)
        keys = [
            key for name, data in contents for key in _add_private(call, ring, (name, data), owner, passphrase)
        ]
    else:
        keys = list(ring.read(contents, owner))
        ring.add(keys)
    _emit(call, ring, keys)


@app.command()
def generate(
    ctx: typer.Context,
    kind: Annotated[Kind, typer.Argument(help="What to make.")],
    owner: Annotated[str, typer.Option("--for", metavar="ADDRESS-OR-DOMAIN", help="Whose key it is.")],
    days: Annotated[int, typer.Option(min=1, max=36500, help="Days until it expires.")] = 1095,
    algorithm: Annotated[
        Algorithm, typer.Option(help="Of S/MIME: the key; all mail programs read RSA, not all elliptic curves.")
    ] = Algorithm.RSA,
    csr: Annotated[
        str,
        typer.Option(
            metavar="FILE|-", help="Of S/MIME: write a request for an outside authority (PKCS #10) there."
        ),
    ] = "",
    new_ca: Annotated[
        bool, typer.Option("--new-ca", help="Of S/MIME: make a new authority of the site first, which issues it.")
    ] = False,
) -> None:
    """Make a key of ours for an address or a whole domain; `key export` gives the half for partners."""
    call = invocation(ctx)
    ring = _ring(call)
    if kind is Kind.OPENPGP:
        if csr or new_ca or algorithm is not Algorithm.RSA:
            raise typer.BadParameter("--algorithm, --csr and --new-ca are for smime")
        _emit(call, ring, ring.generate(owner, days))
        return
    issuing = _issuing(call)
    if csr:
        if new_ca:
            raise typer.BadParameter("--csr asks an outside authority: leave --new-ca out")
        if csr != "-" and Path(csr).exists():
            raise DirectoryError(f"{csr}: exists already; nothing is overwritten")
        _write_request(call, csr, issuing.request(owner, algorithm))
        return
    if new_ca:
        issuing.renew_authority()
    _emit(call, ring, issuing.generate(owner, algorithm, days))


@app.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List all keys."""
    call = invocation(ctx)
    ring = _ring(call)
    _emit(call, ring, ring.rows())


@app.command()
def show(ctx: typer.Context, fingerprint: Fingerprint) -> None:
    """Show one key under each of its owners."""
    call = invocation(ctx)
    ring = _ring(call)
    _emit(call, ring, ring.find(fingerprint))


@app.command()
def trust(
    ctx: typer.Context, fingerprint: Fingerprint, level: Annotated[Level, typer.Argument(help="The level.")]
) -> None:
    """Set how well a key is known to be its owner's."""
    from gatepost.directory.key import Trust

    call = invocation(ctx)
    ring = _ring(call)
    _emit(call, ring, ring.trust(fingerprint, Trust[level.name]))


@app.command()
def remove(ctx: typer.Context, fingerprint: Fingerprint, owner: Owner = "") -> None:
    """Delete a key, its private half included; with --for under that owner only."""
    call = invocation(ctx)
    ring = _ring(call)
    if ring.find(fingerprint)[0].own:
        typer.echo("gatepost: note: what is encrypted to this key of ours can be opened no longer", err=True)
    removed = ring.remove(fingerprint, owner)
    call.emit({"removed": removed}, f"removed {removed}")


@app.command()
def export(
    ctx: typer.Context,
    fingerprint: Annotated[
        str, typer.Argument(help="The key's fingerprint, its beginning or its end; or an owner: the current key.")
    ] = "",
    kind: Annotated[Kind | None, typer.Option(help="Only a key of this kind.")] = None,
    ca: Annotated[
        bool, typer.Option("--ca", help="Instead, the certificate of the site's own authority for S/MIME.")
    ] = False,
) -> None:
    """Print a key's public half as ASCII armor, a certificate as PEM."""
    from gatepost.crypto import sequoia, x509

    call = invocation(ctx)
    if ca is bool(fingerprint):
        raise typer.BadParameter("name a key, or say --ca")
    if ca:
        text = x509.pem(_issuing(call).authority().certificate)
        call.emit({"armored": text}, text.rstrip("\n"))
        return
    key = _ring(call).for_partners(fingerprint, kind or "")
    text = (x509.pem if key.kind == "smime" else sequoia.armored)(key.certificate)
    call.emit({"armored": text}, text.rstrip("\n"))


def _ring(call: Invocation) -> "Keyring":
    from gatepost.app.keys import keyring_of

    return keyring_of(call.settings)


def _issuing(call: Invocation) -> "Issuing":
    from gatepost.app.keys import issuing_of

    return issuing_of(call.settings)


def _add_private(
    call: Invocation, ring: "Keyring", file: tuple[str, bytes], owner: str, passphrase: str
) -> tuple["Key", ...]:
    """Store a private key of ours, or the certificate that answers a request."""
    from gatepost.crypto import x509

    name, data = file
    if x509.is_certificates(data):
        return _issuing(call).complete(name, x509.certificates(data))
    return ring.add_private(name, data, owner, passphrase)


def _write_request(call: Invocation, name: str, pem: str) -> None:
    from gatepost import secrets

    if name == "-":
        call.emit({"request": pem}, pem.rstrip("\n"))
        return
    secrets.write_new(Path(name), pem.encode("ascii"), 0o644)
    call.emit({"request": pem}, f"wrote {name}; import the answer by `gatepost key import --private FILE`")


def _content(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _passphrase(file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if not sys.stdin.isatty():
        return ""
    return str(
        typer.prompt("Passphrase (empty if none)", default="", hide_input=True, show_default=False, err=True)
    )


def _emit(call: Invocation, ring: "Keyring", keys: Sequence["Key"]) -> None:
    current = ring.current()
    values = [
        {
            "fingerprint": key.fingerprint,
            "kind": key.kind,
            "owner": key.owner,
            "own": key.own,
            "current": (key.fingerprint, key.owner) in current,
            "trust": key.trust.name.lower(),
            "expires": key.expires.isoformat() if key.expires else None,
            "source": key.source,
            "refusal": ring.refusal(key),
        }
        for key in keys
    ]
    call.emit_table(
        {"keys": values},
        ("OWNER", "FINGERPRINT", "OWN", "TRUST", "EXPIRES", "USABLE"),
        (
            (
                value["owner"],
                value["fingerprint"],
                ("ours" if value["current"] else "ours, old") if value["own"] else "theirs",
                value["trust"],
                str(value["expires"] or "never")[:10],
                f"no: {value['refusal']}" if value["refusal"] else "yes",
            )
            for value in values
        ),
    )
