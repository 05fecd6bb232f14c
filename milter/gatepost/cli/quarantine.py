"""
The commands `gatepost quarantine`: held copies are listed, shown, released and deleted.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import invocation, printable

if TYPE_CHECKING:
    from gatepost.decision.plan import Judgement
    from gatepost.vault.held import Held

app = typer.Typer(help="Held copies: list, show, release, delete.", no_args_is_help=True)

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The copy's ID, or the beginning of it.", show_default=False)
]


_COLUMN = 48


@app.callback()
def group() -> None:
    """Held copies: list, show, release, delete."""


@app.command("list")
def list_held(ctx: typer.Context) -> None:
    """List the held copies, oldest first."""
    from gatepost.app.store import open_quarantine

    call = invocation(ctx)
    held = open_quarantine(call.settings).waiting()
    rows = [
        (
            str(one.id)[:8],
            f"{one.expires:%Y-%m-%d %H:%M}",
            one.sender,
            _short(_names(one)),
            _short(one.subject),
            _short(one.cause),
        )
        for one in held
    ]
    headings = ("ID", "EXPIRES", "SENDER", "RECIPIENTS", "SUBJECT", "CAUSE")
    call.emit_table({"held": [_as_json(one) for one in held]}, headings, rows)


@app.command()
def show(ctx: typer.Context, name: Id) -> None:
    """Show all that is known of a held copy; its content stays sealed."""
    from gatepost.app.store import open_quarantine

    call = invocation(ctx)
    held = open_quarantine(call.settings).find(name)
    value = {
        **_as_json(held),
        "queue_id": held.queue_id,
        "message_id": held.message_id,
        "client": held.client.address,
        "authenticated": held.client.authenticated,
        "listener": held.client.listener,
    }
    lines = [f"{key + ':':15}{', '.join(text) if isinstance(text, list) else text}" for key, text in value.items()]
    call.emit(value, "\n".join(line.replace("\n", " ") for line in lines))


@app.command()
def release(
    ctx: typer.Context,
    name: Id,
    to: Annotated[str | None, typer.Option("--to", help="Only this recipient; the others stay held.")] = None,
    encrypted: Annotated[
        bool, typer.Option("--encrypted/--as-is", help="Encrypted, or lift detect rules whose finds were shown.")
    ] = True,
    reason: Annotated[str, typer.Option("--reason", help="With --as-is: why, for the record.")] = "",
) -> None:
    """Let a held copy go; exit status 1 if it stays held for anyone who was to get it."""
    if encrypted == bool(reason.strip()):
        raise typer.BadParameter("--as-is needs --reason TEXT, and --reason goes with --as-is only")
    from gatepost.app.gateway import releasing
    from gatepost.message.address import parse

    call = invocation(ctx)
    with releasing(call.settings) as release:
        held = release.find(name)
        recipient = None if to is None else parse(to.encode("utf-8", "surrogateescape"))
        outcome = release.encrypted(held, recipient) if encrypted else release.as_is(held)
    value = {
        "id": str(held.id),
        "released": [
            _judged(one) | {"possible_duplicate": one.recipient in outcome.repeated} for one in outcome.gone
        ],
        "held": [_judged(one) for one in outcome.kept],
    }
    lines = [
        f"released to {one.recipient.address} ({one.treatment.value})"
        + (", by an earlier release that was cut off" if one.recipient in outcome.earlier else "")
        + (", maybe for the second time: an earlier try was cut off" if one.recipient in outcome.repeated else "")
        for one in outcome.gone
    ]
    call.emit(value, "\n".join(lines))
    for one in outcome.kept:
        later = "; try again later" if one.treatment == "tempfail" else ""
        line = f"stays held for {one.recipient.address}: {'; '.join(one.reasons)}{later}"
        typer.echo(f"gatepost: {printable(line)}", err=True)
    if outcome.fault is not None:
        raise outcome.fault
    if outcome.kept:
        raise typer.Exit(1)


@app.command()
def delete(ctx: typer.Context, name: Id) -> None:
    """Delete a held copy for good: its key first, then its bytes."""
    from gatepost.app.store import open_quarantine

    call = invocation(ctx)
    quarantine = open_quarantine(call.settings)
    held = quarantine.find(name)
    quarantine.delete(held, "deleted by an administrator")
    call.emit({"id": str(held.id), "deleted": True}, f"deleted {held.id}, which was for {_names(held)}")


def _as_json(held: "Held") -> dict[str, object]:
    return {
        "id": str(held.id),
        "sender": held.sender.text,
        "recipients": [one.address.text for one in held.recipients],
        "subject": held.subject,
        "cause": held.cause,
        "rules": list(held.rules),
        "since": held.since.isoformat(),
        "expires": held.expires.isoformat(),
    }


def _names(held: "Held") -> str:
    return ", ".join(one.address.text for one in held.recipients)


def _short(text: str) -> str:
    """Give so much of a text as a column can hold; `show` has all of it."""
    return text if len(text) <= _COLUMN else f"{text[: _COLUMN - 1]}…"


def _judged(judgement: "Judgement") -> dict[str, object]:
    return {
        "address": judgement.recipient.address.text,
        "treatment": judgement.treatment.value,
        "reasons": list(judgement.reasons),
    }
