"""
The commands `gatepost db`: the database's schema, its version, and its text for those who create it themselves.
"""

from typing import Annotated, Literal

import typer

from gatepost.cli.invocation import invocation

app = typer.Typer(help="Keep the database's schema up to date.", no_args_is_help=True)


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Create the schema or bring it up to date, in one transaction."""
    from gatepost.app.store import database_of, upgrade_database

    call = invocation(ctx)
    version = upgrade_database(database_of(call.settings))
    call.emit({"version": version}, f"the schema is at version {version}")


@app.command()
def current(ctx: typer.Context) -> None:
    """Tell the schema's version, and the one that this Gatepost needs."""
    from gatepost.app.store import schema_versions

    call = invocation(ctx)
    version, needed = schema_versions(call.settings)
    advice = "" if version == needed else "; run `gatepost db upgrade`"
    call.emit({"version": version, "needed": needed}, f"version {version or 'none'}, needed {needed}{advice}")


@app.command()
def sql(dialect: Annotated[Literal["sqlite", "postgresql"], typer.Argument(help="Whose SQL.")]) -> None:
    """Print the schema as SQL."""
    from gatepost.app.store import schema_sql

    typer.echo(schema_sql(dialect), nl=False)
