"""`gatepost run`: the services, in the foreground."""

from enum import StrEnum
from typing import Annotated

import typer

from gatepost.cli.invocation import invocation


class Service(StrEnum):
    """The services that a site runs."""

    MILTER = "milter"
    KEYS = "keys"
    POLICY = "policy"
    DELIVERIES = "deliveries"


def run(
    ctx: typer.Context,
    service: Annotated[Service | None, typer.Argument(help="One service; without it, all of them.")] = None,
) -> None:
    """Run a service, or all that are configured, until SIGTERM; `ready` on stderr when it takes work."""
    from gatepost.app import services

    site = invocation(ctx)
    settings = site.settings
    match service:
        case None:
            services.run_all(site.config, settings)
        case Service.MILTER:
            services.run_milter(settings)
        case Service.KEYS:
            services.run_keys(settings)
        case Service.POLICY:
            services.run_policy(settings)
        case Service.DELIVERIES:
            services.run_deliveries(settings)
