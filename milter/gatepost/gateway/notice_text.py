"""
The texts of Gatepost's own notices: plain words, short lines, nothing that a message could add lines to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from gatepost.gateway.delivery import Copy
from gatepost.message.address import Address
from gatepost.message.transaction import Transaction

MAX_REASON = 400
_MAX_LISTED = 100
_MAX_SUBJECT = 200
_END = "This notice was made by the mail gateway; nobody reads replies to it."


@dataclass(frozen=True, slots=True)
class Held:
    """What a notice about a held copy says to its reader."""

    subject: str
    opening: str
    to_do: str


HELD = Held(
    "Your message waits in quarantine",
    "Your message could not leave as it is. It is kept, encrypted, at the mail gateway.",
    "ask your postmaster to release it",
)
HELD_FROM_OUTSIDE = Held(
    "A message from outside waits in quarantine",
    "A message from outside is kept, encrypted, at the mail gateway. Its sender was not told, who may be forged.",
    "`gatepost quarantine show` and `release`",
)


def held_text(
    told: Held,
    transaction: Transaction,
    subject: str,
    *,
    held: Sequence[tuple[Address, str]],
    went: Sequence[Address],
    keep: timedelta,
) -> str:
    """Tell whose copy is held, and why, and who got the message."""
    lines = [
        told.opening,
        "",
        f"Subject: {one_line(subject)}",
        f"From:    {transaction.sender}",
        "",
        "Held for:",
        *listed([f"{address.text}: {one_line(reason, MAX_REASON)}" for address, reason in held]),
        "",
    ]
    if went:
        lines += ["Went to (no need to send it again):", *listed([address.text for address in went]), ""]
    else:
        lines += ["It went to nobody else.", ""]
    lines += [
        f"What to do: {told.to_do} (queue ID {transaction.queue_id or 'unknown'}), or do",
        "nothing: after " + f"{max(keep.days, 1)} days it is deleted.",
        "",
        _END,
    ]
    return "\n".join(lines) + "\n"


def protected_text(transaction: Transaction, subject: str, protected: Sequence[tuple[Address, str]]) -> str:
    """Tell whose copy was protected, and how."""
    lines = [
        "Your message was protected on its way out, as a rule of your site asks.",
        "",
        f"Subject: {one_line(subject)}",
        f"From:    {transaction.sender}",
        "",
        "Protected for:",
        *listed([f"{address.text}: {how}" for address, how in protected]),
        "",
        "You need not do anything.",
        "",
        _END,
    ]
    return "\n".join(lines) + "\n"


def expiring_text(lines: Sequence[str], remedies: Sequence[str]) -> str:
    """Tell what expires, and what can be done."""
    body = [
        "These keys and certificates expire soon, and their owners have none that last longer:",
        "",
        *listed(list(map(one_line, lines))),
        "",
        "After that day nothing is encrypted to them. What was encrypted to ours before can be opened as long as",
        "they are not removed.",
        "",
        "What to do:",
        *listed([one_line(one) for one in remedies]),
        "",
        "`gatepost key list` shows all of them.",
        "",
        _END,
    ]
    return "\n".join(body) + "\n"


_PUT_OFF = (  # RFC 3463, by what the code begins with
    ("4.7.5", "the server's certificate could not be verified"),
    ("4.7.4", "the server does not offer TLS"),
    ("4.7", "TLS to the server could not be verified"),
    ("4.4", "the server could not be reached"),
    ("", "the server puts it off"),
)


def deferred_text(copies: Sequence[Copy], tag: str) -> str:
    """Tell which copies wait for a verified TLS connection, and what can be done."""
    first = copies[0]
    again = [
        f"  * send it again with {one_line(tag)} in the subject: then it goes encrypted in another way,"
    ] * bool(tag)
    lines = [
        f"Your message has been waiting at the mail gateway for {_span(max(one.waited for one in copies))}.",
        "",
        f"From:       {one_line(first.sender) or '<>'}",
        f"Message-ID: {one_line(first.message_id)}",
        "",
        "It may go to these recipients over a verified TLS connection only, which was not possible yet:",
        *listed([f"{one_line(one.recipient)}: {_put_off(one.dsn)} ({one_line(one.dsn)})" for one in copies]),
        "",
        "The gateway goes on trying. If that does not succeed in some days, the message comes back to you. It",
        "never goes unprotected.",
        "",
        "You need not do anything. If it is urgent:",
        *again,
        *["    and whoever gets both has it twice, or"] * bool(tag),
        f"  * ask your postmaster (queue ID {one_line(first.message)}).",
        "",
        _END,
    ]
    return "\n".join(lines) + "\n"


def _put_off(dsn: str) -> str:
    return next(text for code, text in _PUT_OFF if dsn.startswith(code))


def _span(seconds: int) -> str:
    minutes = seconds // 60
    if minutes < 2:  # noqa: PLR2004 - so many
        return "a minute"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"  # noqa: PLR2004 - two hours


def listed(texts: Sequence[str]) -> list[str]:
    """Give texts as indented lines, the first ones only where there are very many."""
    lines = [f"  {text}" for text in texts[:_MAX_LISTED]]
    if len(texts) > _MAX_LISTED:
        lines.append(f"  and {len(texts) - _MAX_LISTED} more")
    return lines


def one_line(text: str, limit: int = _MAX_SUBJECT) -> str:
    """Keep what people wrote from adding lines or terminal codes to a notice; what is cut is seen to be."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char.isprintable() else " " for char in shown).strip()
