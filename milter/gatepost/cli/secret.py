"""
The commands `gatepost secret`: the site's secrets get new halves, and into a safe place.

With --json `rotate` prints `{"secrets": [SECRET, ...], "next": TEXT}`, a SECRET being `{"secret": NAME,
"resealed": NUMBER, "unopened": [NAME, ...]}`, and `backup` `{"backup": FILE, "files": [NAME, ...]}`.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import Invocation, invocation
from gatepost.errors import ConfigError, GatepostError

if TYPE_CHECKING:
    from gatepost.gateway.rotation import Resealed

app = typer.Typer(help="Rotate the site's secrets, and back them up.", no_args_is_help=True)


class Pair(StrEnum):
    """The secrets that can be rotated."""

    KEYS = "keys"
    VAULT = "vault"


@app.command()
def rotate(
    ctx: typer.Context,
    pairs: Annotated[
        list[Pair] | None, typer.Argument(metavar="[keys] [vault]", help="Which secrets; without any, both.")
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only make the new halves, for copying them to other hosts first.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Delete the halves from before, once every service knows the new ones."),
    ] = False,
) -> None:
    """Make new secrets and seal everything to them; the ones before still open what is sealed to them."""
    from gatepost.app.rotation import rotation_of
    from gatepost.app.turn import alone_in

    if prepare and forget:
        raise typer.BadParameter("--prepare comes first, --forget last: say one of them")
    call = invocation(ctx)
    names = list(dict.fromkeys(pairs or Pair))
    done: dict[Pair, Resealed] = {}
    with alone_in(call.settings.secrets.directory):
        for pair in names:
            rotation = rotation_of(call.settings, pair)
            if prepare:
                rotation.prepare()
            else:
                done[pair] = rotation.forget() if forget else rotation.rotate()
    _report(call, names, done, _next(names, prepare=prepare, forget=forget))


@app.command()
def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write; it must not be there.")],
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the backup's passphrase; asked for on a terminal.")
    ] = None,
) -> None:
    """Write secrets, settings and rules into one file under a passphrase; `gpg -d FILE | tar x` restores it."""
    from gatepost.app.backup import write_backup

    call = invocation(ctx)
    settings = call.settings
    if file.exists():
        raise ConfigError(f"{file}: exists already; nothing is overwritten")
    names = write_backup(settings, call.config, file, _passphrase(passphrase_file))
    call.emit(
        {"backup": str(file), "files": list(names)},
        f"wrote {file}: {len(names)} files\nrestore it by: gpg -d {file} | tar x -C DIRECTORY",
    )


def _passphrase(file: Path | None) -> str:
    """Read the passphrase: the file's first line, or what is typed twice; raises GatepostError."""
    if file is not None:
        found = file.read_text(encoding="utf-8").partition("\n")[0].removesuffix("\r")
    elif sys.stdin.isatty():
        found = str(typer.prompt("Passphrase of the backup", hide_input=True, confirmation_prompt=True, err=True))
    else:
        raise GatepostError("a passphrase is needed: give --passphrase-file, or run this on a terminal")
    if not found:
        raise GatepostError("the passphrase is empty: anybody could open the backup")
    return found


def _next(pairs: list[Pair], *, prepare: bool, forget: bool) -> str:
    words = " ".join(pairs)
    if forget:
        return "restart gatepost-keys on every host, once it has the new files; and make a backup of the secrets"
    if prepare:
        return (
            f"copy {words} to the other hosts, restart gatepost-keys everywhere, then run `secret rotate {words}`"
        )
    return (
        f"restart gatepost-keys, make a backup of the secrets, then delete the former halves by"
        f" `gatepost secret rotate {words} --forget`"
    )


def _report(call: Invocation, pairs: list[Pair], done: "dict[Pair, Resealed]", next_step: str) -> None:
    values = [
        {
            "secret": str(pair),
            "resealed": done[pair].number if pair in done else 0,
            "unopened": list(done[pair].unopened) if pair in done else [],
        }
        for pair in pairs
    ]
    lines = [f"{pair}: {done[pair].number} sealed anew" if pair in done else f"{pair}: prepared" for pair in pairs]
    lines += [f"  {one} does not open, as before" for found in done.values() for one in found.unopened]
    call.emit({"secrets": values, "next": next_step}, "\n".join([*lines, f"next: {next_step}"]))
