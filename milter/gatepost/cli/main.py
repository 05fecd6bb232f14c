"""
The root of the command line: global options, and the command groups that hang on it.

To hang a group on it, write `cli/NAME.py` with `app = typer.Typer(help="...")` and its commands, or one plain
function for a command without sub-commands; import it below and add one line where the groups are registered.
A group's module imports only typer and light values; what is heavy (SQLAlchemy, crypto, settings) is imported
inside the function that needs it, so that `gatepost --help` stays quick.

The global options are understood before and after the command's name.
"""

import os
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from gatepost import __version__
from gatepost.cli import (
    audit,
    db,
    doctor,
    explain,
    init,
    key,
    partner,
    quarantine,
    rules,
    run,
    secret,
    setup,
    tls,
    why,
)
from gatepost.cli.invocation import Invocation

DEFAULT_CONFIG = Path("/etc/gatepost/gatepost.toml")


class _Root(TyperGroup):
    """Reads the global options wherever they stand."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        return super().parse_args(ctx, hoist(args))


def hoist(args: list[str]) -> list[str]:
    """Move -c/--config and --json to the front, from anywhere before a lone `--`."""
    end = args.index("--") if "--" in args else len(args)
    front: list[str] = []
    rest: list[str] = []
    words = iter(args[:end])
    for word in words:
        if word in {"-c", "--config"}:
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word == "--json" or word.startswith("--config="):
            front.append(word)
        else:
            rest.append(word)
    return front + rest + args[end:]


app = typer.Typer(
    cls=_Root,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatepost {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path, typer.Option("-c", "--config", envvar="GATEPOST_CONFIG", help="The site's settings.")
    ] = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Gatepost, an e-mail encryption gateway: keeps mail confidential at the border."""
    del version  # its callback has acted
    ctx.obj = Invocation(config=config, json=as_json)
    _warn_root()


def _warn_root() -> None:
    """Warn once that this runs as root; processes started from here stay silent."""
    if os.geteuid() == 0 and "GATEPOST_ROOT_WARNED" not in os.environ:
        os.environ["GATEPOST_ROOT_WARNED"] = "1"
        typer.echo("gatepost: warning: running as root; files made now belong to root", err=True)


# The groups, in the order in which `gatepost --help` lists them:
#   app.add_typer(partner.app, name="partner")       several commands under one name
#   app.command(name="why")(why.why)                 one command
app.command(name="init")(init.init)
app.command(name="run")(run.run)
app.add_typer(setup.app, name="setup")
app.add_typer(partner.app, name="partner")
app.add_typer(key.app, name="key")
app.command(name="explain")(explain.explain)
app.command(name="why")(why.why)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(tls.app, name="tls")
app.add_typer(rules.app, name="rules")
app.add_typer(audit.app, name="audit")
app.add_typer(secret.app, name="secret")
app.add_typer(db.app, name="db")
app.command(name="doctor")(doctor.doctor)
