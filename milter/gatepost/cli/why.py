"""
The command `gatepost why`: what was decided about a message, and how it went.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import invocation
from gatepost.errors import GatepostError

if TYPE_CHECKING:
    from gatepost.directory.event import Event
    from gatepost.gateway.history import Decided


def why(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="QUEUEID|MESSAGE-ID", show_default=False)],
    to: Annotated[
        str | None, typer.Option("--to", help="Only this recipient, or whom this alias leads to.")
    ] = None,
) -> None:
    """Tell what was decided about a message, and how it went; exit status 1 if nothing is known of it."""
    from gatepost.app.store import open_events
    from gatepost.gateway.history import history

    call = invocation(ctx)
    found = history(open_events(call.settings).find(name))
    if not found:
        raise GatepostError(f"nothing is recorded of {name}; give the mail server's queue ID or the Message-ID")
    events = [one for one in found if to is None or to.lower() in _names(one.event)]
    if not events:
        raise GatepostError(f"nothing is recorded of {name} to {to}; without --to all its recipients are shown")
    call.emit({"events": [_as_json(one) for one in events]}, "\n".join(_text(one) for one in events))


def _names(event: "Event") -> tuple[str, str]:
    return event.recipient.lower(), str(event.detail.get("alias", "")).lower()


def _moment(event: "Event") -> str:
    return datetime.fromtimestamp(event.at, UTC).isoformat(timespec="seconds")


def _as_json(decided: "Decided") -> dict[str, object]:
    event = decided.event
    return {
        "at": _moment(event),
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
        "deliveries": [{"at": _moment(one), "queue_id": one.queue_id, **one.detail} for one in decided.deliveries],
    }


def _text(decided: "Decided") -> str:
    from gatepost.gateway.delivery import told

    event = decided.event
    lines = [
        f"{_moment(event)} {event.queue_id} {event.message_id}",
        f"  {event.sender or '<>'} -> {event.recipient} ({event.direction})",
        f"  demand {event.demand}, treatment {event.treatment}",
    ]
    if event.rules:
        lines.append(f"  rules: {', '.join(event.rules)}")
    lines += [f"  - {reason}" for reason in event.reasons]
    lines += [f"  {key}: {value}" for key, value in event.detail.items()]
    lines += [f"  {_moment(one)} {told(one.detail)}" for one in decided.deliveries]
    return "\n".join(" ".join(line.splitlines()) for line in lines)
