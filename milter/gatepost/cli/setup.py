"""
`gatepost setup`: shows, makes or takes back the changes that put Gatepost into an MTA.
"""

from pathlib import Path
from typing import Annotated

import typer

from gatepost.cli.invocation import invocation

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
    after_aliases: Annotated[
        bool | None,
        typer.Option("--after-aliases/--before-aliases", help="Run behind alias expansion, or no longer."),
    ] = None,
) -> None:
    """Show the changes of main.cf and master.cf, or make them, or take them back."""
    from gatepost.app import store
    from gatepost.mta.postfix.session import SetupSession

    if apply + revert + fragments > 1:
        raise typer.BadParameter("--apply, --revert and --print exclude one another")
    call = invocation(ctx)
    settings = call.settings
    aliases = settings.gateway.aliases
    if after_aliases is not None and after_aliases != (aliases == "expanded"):
        aliases = "expanded" if after_aliases else "resolve"
        settings = settings.model_copy(
            update={"gateway": settings.gateway.model_copy(update={"aliases": aliases})}
        )
    session = SetupSession(
        site_file=call.config,
        directory=(config_dir or settings.postfix.config_directory).absolute(),
        configured=settings.postfix.config_directory,
        gate=store.gate(settings),
        aliases=aliases,
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
