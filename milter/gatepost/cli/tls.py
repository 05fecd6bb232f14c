"""
The commands `gatepost tls`: what is known of TLS to a domain.

With --json `check` prints `{"domain", "hop", "assured", "unknown", "by", "policy", "detour", "hosts": [..],
"offers": [..], "steps": [..]}`: `by` is partner, dane, mta-sts or empty; `detour` tells by what Postfix sends the
mail elsewhere; `steps` tells everything in order, `offers` last.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import invocation

if TYPE_CHECKING:
    from gatepost.transport.tls_check import Checked

app = typer.Typer(help="TLS to other domains.", no_args_is_help=True)

_BY = {"partner": "the partner table", "dane": "DANE", "mta-sts": "MTA-STS"}


@app.callback()
def group() -> None:
    """TLS to other domains."""


@app.command()
def check(
    ctx: typer.Context,
    domain: Annotated[str, typer.Argument(help="A domain, or a next hop: [HOST], either with :PORT.")],
    cached: Annotated[
        bool, typer.Option("--cached", help="Look nothing up: tell what is kept for the daemons.")
    ] = False,
) -> None:
    """
    Look up whether TLS to a domain is assured, by what, and why; and what its mail hosts offer now.

    The answer is looked up anew. Exit status 0 if it could be given, whatever it is.
    """
    from gatepost.app.transport import tls_check

    call = invocation(ctx)
    found = tls_check(call.settings, domain, cached=cached)
    call.emit(_as_json(found), _text(found))


def _as_json(found: "Checked") -> dict[str, object]:
    capability = found.capability
    return {
        "domain": found.domain,
        "hop": capability.hop,
        "assured": capability.assured,
        "unknown": capability.unknown,
        "by": capability.by if capability.assured else "",
        "policy": capability.policy,
        "detour": found.detour,
        "hosts": list(found.discovery.hosts),
        "offers": list(found.offers),
        "steps": list(found.steps),
    }


def _text(found: "Checked") -> str:
    capability = found.capability
    if capability.assured:
        lines = [
            f"TLS to {found.domain} is assured by {_BY[capability.by]}",
            f"  Postfix is told: {capability.policy}",
        ]
    elif capability.unknown:
        lines = [f"TLS to {found.domain}: not known now; mail that needs it goes another way, or waits"]
    else:
        lines = [f"TLS to {found.domain} is not assured"]
    if found.detour and capability.assured:
        lines.append("  Yet none of its mail goes that way: see below")
    told = found.steps[: len(found.steps) - len(found.offers)]
    lines += [f"  - {step}" for step in told]
    if found.offers:
        lines += ["What the mail hosts offer now (this assures nothing):", *(f"  - {one}" for one in found.offers)]
    return "\n".join(lines)
