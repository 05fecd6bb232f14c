"""`gatepost explain`: what would be decided about a message, and why, without sending anything."""

import ipaddress
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gatepost.cli.invocation import invocation
from gatepost.decision.plan import Copy, Judgement, Plan
from gatepost.message.transaction import Came, Client


class Tls(StrEnum):
    """How a client may come."""

    NONE = "none"
    TLS = "tls"
    VERIFIED = "verified"


_CAME = {Tls.NONE: Came.PLAIN, Tls.TLS: Came.TLS, Tls.VERIFIED: Came.VERIFIED}


def explain(
    ctx: typer.Context,
    sender: Annotated[str, typer.Option("--from", help="The envelope sender; <> for the null sender.")],
    recipients: Annotated[list[str], typer.Option("--to", help="An envelope recipient; may be given again.")],
    subject: Annotated[str | None, typer.Option(help="The subject, in place of the file's.")] = None,
    client: Annotated[str | None, typer.Option(help="The client's IP address.")] = None,
    auth: Annotated[str | None, typer.Option(help="The client's SASL login name.")] = None,
    listener: Annotated[str | None, typer.Option(help="The service that took the mail (daemon_name).")] = None,
    tls: Annotated[
        Tls, typer.Option(help="The client's connection: in clear, by TLS, or with a trusted certificate.")
    ] = Tls.NONE,
    file: Annotated[Path | None, typer.Argument(help="The message; - for standard input.")] = None,
) -> None:
    """
    Show the plan for a message: demand, rules, treatment and reasons for each recipient, and the copies.

    Without --client, --auth and --listener, a sender in internal_domains counts as authenticated. --tls counts for
    mail that comes in.
    """
    from gatepost.app import gateway

    site = invocation(ctx)
    raw = b"" if file is None else sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    plan = gateway.explain(
        site.settings,
        raw,
        sender=sender,
        recipients=recipients,
        subject=subject,
        client=_client(client, auth, listener),
        came=_CAME[tls],
    )
    site.emit(_document(plan), "\n".join(_lines(plan)))


def _client(address: str | None, auth: str | None, listener: str | None) -> Client | None:
    if address is auth is listener is None:
        return None
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise typer.BadParameter(
                f"{address!r} is no IP address; write it like 192.0.2.1 or 2001:db8::1", param_hint="--client"
            ) from None
    return Client(address=address or "", authenticated=auth or "", listener=listener or "")


def _document(plan: Plan) -> dict[str, Any]:
    return {
        "verdict": plan.answer.value,
        "recipients": [_judgement(one) for one in plan.judgements],
        "copies": [_copy(one) for one in plan.copies],
    }


def _judgement(one: Judgement) -> dict[str, Any]:
    return {
        "address": one.recipient.address.text,
        "direction": one.direction.value,
        "demand": one.demand.word,
        "rules": list(one.rules),
        "treatment": one.treatment.value,
        "reasons": list(one.reasons),
    }


def _copy(one: Copy) -> dict[str, Any]:
    return {
        "treatment": one.treatment.value,
        "recipients": [recipient.address.text for recipient in one.recipients],
        "subject": one.subject,
        "in_place": one.in_place,
        "signed": bool(one.signed),
    }


def _lines(plan: Plan) -> list[str]:
    lines = [f"verdict: {plan.answer.value}"]
    for one in plan.judgements:
        lines.append(
            f"{one.recipient.address.text} ({one.direction.value}): "
            f"demand {one.demand.word}, treatment {one.treatment.value}"
        )
        lines += [f"    {reason}" for reason in one.reasons]
    for number, copy in enumerate(plan.copies, start=1):
        place = (", signed" if copy.signed else "") + (", in place" if copy.in_place else "")
        to = ", ".join(recipient.address.text for recipient in copy.recipients)
        lines.append(f"copy {number}: {copy.treatment.value}{place}, subject {copy.subject!r}, to {to}")
    return lines
