"""
`gatepost setup`: shows, makes or takes back the changes that put Gatepost into an MTA.
"""

from pathlib import Path
from typing import Annotated

import typer

from gatepost.cli.invocation import invocation
from gatepost.errors import ConfigError

app = typer.Typer(help="Put Gatepost into the mail server, or take it out.", no_args_is_help=True)


@app.callback()
def setup() -> None:
    """Put Gatepost into the mail server, or take it out."""


@app.command()
def postfix(
    ctx: typer.Context,
    config_dir: Annotated[
        Path | None, typer.Option(help="Postfix's configuration; default as in settings.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Make the changes.")] = False,
    revert: Annotated[bool, typer.Option("--revert", help="Take them back.")] = False,
    fragments: Annotated[bool, typer.Option("--print", help="Print what would be added, without a diff.")] = False,
    after_aliases: Annotated[bool, typer.Option("--after-aliases", help="Run behind alias expansion.")] = False,
) -> None:
    """Show the changes of main.cf and master.cf, or make them, or take them back."""
    from gatepost.app import store
    from gatepost.mta.postfix.session import SetupSession

    if apply + revert + fragments > 1:
        raise typer.BadParameter("--apply, --revert and --print exclude one another")
    if after_aliases:
        raise ConfigError(
            '--after-aliases is not available; [gateway] aliases = "resolve" asks the alias maps instead, so keep '
            "aliases that point outside in maps that `postmap -q` can read"
        )
    call = invocation(ctx)
    settings = call.settings
    session = SetupSession(
        site_file=call.config,
        directory=(config_dir or settings.postfix.config_directory).absolute(),
        configured=settings.postfix.config_directory,
        gate=store.gate(settings),
    )
    if revert:
        report = session.revert()
    elif apply:
        report = session.apply()
    else:
        report = session.preview()
    value = {"changed": [str(change.path) for change in report.changes], "notes": list(report.notes)}
    call.emit(
        value | {"applied": apply or revert},
        report.fragments() if fragments else report.text(done=apply or revert),
    )
