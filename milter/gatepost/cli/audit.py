"""`gatepost audit`: the record of events, listed and verified."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import invocation
from gatepost.directory.event import KINDS
from gatepost.errors import GatepostError

if TYPE_CHECKING:
    from gatepost.directory.audit import Break, Findings
    from gatepost.directory.event import Recorded

app = typer.Typer(help="The record of events: what was decided for each recipient, and how it went.")

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

KindOption = StrEnum("KindOption", {kind: kind for kind in KINDS})  # type: ignore[misc] # made from the one list


@app.command(name="list")
def list_events(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="From this time on: 2026-05-01, 2026-05-01T13:00, or 90m, 12h, 7d, 2w ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before this time, written likewise.")] = None,
    kind: Annotated[KindOption | None, typer.Option(help="Only events of this kind.")] = None,
    sender: Annotated[str | None, typer.Option("--from", help="Only this envelope sender.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Only this recipient.")] = None,
    treatment: Annotated[str | None, typer.Option(help="Only copies that went so, as `openpgp`.")] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the latest.")] = 1000,
) -> None:
    """List events, oldest first; times without a zone are UTC."""
    from gatepost.app.store import open_events
    from gatepost.db.events import Wanted

    call = invocation(ctx)
    wanted = Wanted(
        since=None if since is None else _moment(since),
        until=None if until is None else _moment(until),
        kind=kind,
        sender=sender,
        recipient=to,
        treatment=treatment,
    )
    found = open_events(call.settings).wanted(wanted, most)
    call.emit_table(
        {"events": [_as_json(one) for one in found]},
        ("at", "queue id", "kind", "sender", "recipient", "direction", "demand", "treatment"),
        [_cells(one) for one in found],
    )


@app.command()
def verify(ctx: typer.Context) -> None:
    """Verify that no event was changed, removed, inserted or moved since it was stamped; else exit status 1."""
    from gatepost.app.audit import verify as verify_record

    call = invocation(ctx)
    findings, unchained = verify_record(call.settings)
    ok = not any(one.breaks for one in findings)
    call.emit(
        {"ok": ok, "chains": [_chain(one) for one in findings], "unchained": unchained},
        _report(findings, unchained),
    )
    if not ok:
        raise typer.Exit(1)


def _moment(text: str) -> datetime:
    """Read a time, or how long ago; raises GatepostError."""
    now = datetime.now(UTC)
    if text[:-1].isdigit() and text[-1] in _UNITS:
        return now - timedelta(**{_UNITS[text[-1]]: min(int(text[:-1]), 100_000)})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise GatepostError(
            f"{text!r} is no time; write 2026-05-01, 2026-05-01T13:00, or 90m, 12h, 7d, 2w for so long ago"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _at(recorded: "Recorded") -> str:
    return datetime.fromtimestamp(recorded.event.at, UTC).isoformat(timespec="seconds")


def _cells(recorded: "Recorded") -> tuple[str, ...]:
    event = recorded.event
    sender = event.sender or "<>"
    head = (_at(recorded), event.queue_id, event.kind, sender, event.recipient)
    return (*head, event.direction, event.demand, event.treatment)


def _as_json(recorded: "Recorded") -> dict[str, object]:
    event = recorded.event
    return {
        "at": _at(recorded),
        "host": recorded.host,
        "sequence": recorded.sequence,
        "kind": event.kind,
        "queue_id": event.queue_id,
        "message_id": event.message_id,
        "direction": event.direction,
        "sender": event.sender,
        "recipient": event.recipient,
        "demand": event.demand,
        "treatment": event.treatment,
        "rules": list(event.rules),
        "reasons": list(event.reasons),
        "detail": dict(event.detail),
    }


def _chain(found: "Findings") -> dict[str, object]:
    return {
        "host": found.host,
        "events": found.events,
        "stamps": found.stamps,
        "unstamped": found.unstamped,
        "broken": found.broken,
        "breaks": [{"fault": one.fault, "sequence": one.sequence, "text": one.text} for one in found.breaks],
    }


def _report(findings: "tuple[Findings, ...]", unchained: int) -> str:
    lines = [line for one in findings for line in (_summary(one), *map(_difference, one.breaks), *_more(one))]
    if unchained:
        lines.append(f"{unchained} events are older than stamps, and cannot be verified")
    events = sum(one.events for one in findings)
    broken = sum(one.broken for one in findings)
    verdict = f"NOT OK: {broken} differences" if broken else f"OK: {events} events are as they were written"
    return "\n".join([*lines, verdict])


def _summary(found: "Findings") -> str:
    waiting = f", {found.unstamped} not stamped yet" if found.unstamped else ""
    return f"{found.host}: {found.events} events, {found.stamps} stamps{waiting}"


def _difference(one: "Break") -> str:
    return f"  {one.fault}: event {one.sequence}: {one.text}"


def _more(found: "Findings") -> list[str]:
    left = found.broken - len(found.breaks)
    return [f"  and {left} more"] if left else []
