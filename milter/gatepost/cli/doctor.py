"""
`gatepost doctor`: checks site, Postfix and host; one line per check, and the ways that mail enters.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import columns, invocation

if TYPE_CHECKING:
    from gatepost.mta.finding import Finding


def doctor(
    ctx: typer.Context, fix: Annotated[bool, typer.Option("--fix", help="Repair what a program can.")] = False
) -> None:
    """Check site, Postfix and host; exit status 1 if a check fails."""
    from gatepost.app.examining import examine
    from gatepost.app.store import gate
    from gatepost.errors import ConfigError
    from gatepost.mta.finding import Status
    from gatepost.mta.postfix.checks import ways_in

    call = invocation(ctx)
    settings = call.settings
    findings = examine(settings)
    if fix and (repairs := [found.repair for found in findings if found.repair is not None]):
        for repair in repairs:
            repair()
        findings = examine(settings)
    try:
        ways = ways_in(settings.postfix.config_directory, gate(settings))
    except ConfigError:
        ways = []  # the checks have said why
    rows = [(way.service, way.listener, way.passes, way.filter, way.milters) for way in ways]
    table = columns(("way in", "listener", "passes Gatepost", "first to", "milters"), rows) if rows else ""
    value = {"checks": [_plain(found) for found in findings], "ways_in": [asdict(way) for way in ways]}
    call.emit(value, "\n".join((*(_line(found) for found in findings), "", table)).rstrip())
    if any(found.status is Status.FAIL for found in findings):
        raise typer.Exit(1)


def _plain(found: "Finding") -> dict[str, str]:
    return {"status": str(found.status), "what": found.what, "remedy": found.remedy}


def _line(found: "Finding") -> str:
    return f"{found.status:<5} {found.what}" + (f"  -> {found.remedy}" if found.remedy else "")
