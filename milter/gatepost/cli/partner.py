"""
The commands `gatepost partner`: the partner table, by row and by CSV.

With --json a row is an object of the table's columns, `ladder` a list. `add`, `set` and `show` print the row,
`list` and `export` `{"partners": [ROW, ...]}`, `remove` `{"removed": PATTERN}`, `import` `{"imported": COUNT}`,
`suggest` `{"days": N, "suggestions": [{"domain", "protected", "enveloped", "held", "by_tls", "by", "steps": [..],
"command"}], "passed_over": [{.., "reason"}]}`.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import Invocation, invocation

if TYPE_CHECKING:
    from gatepost.db.partners import PartnerTable
    from gatepost.directory.partner import Partner
    from gatepost.transport.suggestion import Suggestion

_BY = {"dane": "DANE", "mta-sts": "MTA-STS"}

app = typer.Typer(help="Keep the partner table.", no_args_is_help=True)

Pattern = Annotated[str, typer.Argument(help="An address, a domain, or .domain with its subdomains.")]
Demand = Annotated[str | None, typer.Option(help="How mail to it must be protected: none, tls or encrypt.")]
Ladder = Annotated[
    str | None, typer.Option(help="Treatments, best first: tls, openpgp, smime, pdf, securedoc, pickup.")
]
Tls = Annotated[str | None, typer.Option(help="How TLS is assured: verify, dane, mta-sts or fingerprint:SHA256.")]
TlsName = Annotated[str | None, typer.Option(help="With --tls verify: the name in the certificate.")]
TlsCa = Annotated[str | None, typer.Option(help="With --tls verify: PEM file of the CA.")]
Nexthop = Annotated[str | None, typer.Option(help="Where its mail goes: HOST, [HOST] or either with :PORT.")]
Inbound = Annotated[str | None, typer.Option(help="How mail from it must come: none, tls or encrypt.")]
InboundAction = Annotated[str | None, typer.Option(help="Else: flag, quarantine or tempfail.")]
Note = Annotated[str | None, typer.Option(help="For admins.")]
Sign = Annotated[str | None, typer.Option(help="When mail to it is signed: never, protected or always.")]
CipherFloor = Annotated[
    str | None, typer.Option(help="Weakest cipher for S/MIME: aes128-cbc, aes256-cbc or aes256-gcm.")
]


@app.command()
def add(
    ctx: typer.Context,
    pattern: Pattern,
    demand: Demand = None,
    ladder: Ladder = None,
    tls: Tls = None,
    tls_name: TlsName = None,
    tls_ca: TlsCa = None,
    nexthop: Nexthop = None,
    inbound: Inbound = None,
    inbound_action: InboundAction = None,
    note: Note = None,
    sign: Sign = None,
    cipher_floor: CipherFloor = None,
) -> None:
    """Add a partner."""
    from gatepost.directory.partner_rules import read_partner

    given = _given(locals())
    call = invocation(ctx)
    row = read_partner({"pattern": pattern} | given)
    _table(call).add(row)
    _emit_row(call, row)


@app.command(name="set")
def set_(
    ctx: typer.Context,
    pattern: Pattern,
    demand: Demand = None,
    ladder: Ladder = None,
    tls: Tls = None,
    tls_name: TlsName = None,
    tls_ca: TlsCa = None,
    nexthop: Nexthop = None,
    inbound: Inbound = None,
    inbound_action: InboundAction = None,
    note: Note = None,
    sign: Sign = None,
    cipher_floor: CipherFloor = None,
) -> None:
    """Change what is given of a partner; an empty value clears it."""
    from gatepost.directory.partner_rules import columns_of, read_partner

    given = _given(locals())
    call = invocation(ctx)
    table = _table(call)
    row = read_partner(columns_of(_existing(table, pattern)) | given)
    table.change(row)
    _emit_row(call, row)


@app.command()
def show(ctx: typer.Context, pattern: Pattern) -> None:
    """Show one partner's row."""
    call = invocation(ctx)
    _emit_row(call, _existing(_table(call), pattern))


@app.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List all partners."""
    call = invocation(ctx)
    rows = list(_table(call).rows())
    call.emit_table(
        {"partners": [asdict(row) for row in rows]},
        ("PATTERN", "DEMAND", "LADDER", "TLS", "NEXTHOP", "INBOUND", "NOTE"),
        ((r.pattern, r.demand, ",".join(r.ladder), r.tls, r.nexthop, r.inbound, r.note) for r in rows),
    )


@app.command()
def remove(ctx: typer.Context, pattern: Pattern) -> None:
    """Remove a partner."""
    call = invocation(ctx)
    table = _table(call)
    row = _existing(table, pattern)
    table.remove(row.pattern)
    call.emit({"removed": row.pattern}, f"removed {row.pattern}")


@app.command(name="import")
def import_(ctx: typer.Context, file: Annotated[str, typer.Argument(help="The CSV file, - for stdin.")]) -> None:
    """Write every row of a CSV file, over those of the same pattern; nothing if one row is wrong."""
    from gatepost.directory.partner_csv import read_csv

    call = invocation(ctx)
    table = _table(call)
    data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    rows = read_csv(data, table.check_ca)
    table.put(rows)
    call.emit({"imported": len(rows)}, f"imported {len(rows)}")


@app.command()
def export(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(help="Where to write, - for stdout.")] = "-",
) -> None:
    """Write the partner table as CSV."""
    from gatepost.directory.partner_csv import write_csv

    call = invocation(ctx)
    rows = _table(call).rows()
    if call.json:
        call.emit({"partners": [asdict(row) for row in rows]}, "")
    elif file == "-":
        write_csv(rows, sys.stdout)
    else:
        with Path(file).open("w", encoding="utf-8", newline="") as lines:
            write_csv(rows, lines)


@app.command()
def suggest(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Look at the record of so many days.")] = 30,
    least: Annotated[int, typer.Option(min=1, help="Only domains with at least so many copies.")] = 5,
    most: Annotated[int, typer.Option("--limit", min=1, help="Look up at most so many domains.")] = 50,
) -> None:
    """
    Suggest partners: domains whose mail had to be protected, and that could take assured TLS.

    Nothing is changed; each suggestion comes with its evidence and the command to run.
    """
    from gatepost.app.transport import suggest_partners

    call = invocation(ctx)
    found = suggest_partners(call.settings, days=days, least=least, most=most)
    wanted = [one for one in found if one.command]
    others = [one for one in found if not one.command]
    document = {
        "days": days,
        "suggestions": [_evidence(one) | {"by": one.by, "command": one.text} for one in wanted],
        "passed_over": [_evidence(one) | {"reason": one.reason} for one in others],
    }
    call.emit(document, "\n".join(_advice(days, wanted, others)))


def _evidence(one: "Suggestion") -> dict[str, object]:
    return asdict(one.use) | {"steps": list(one.steps)}


def _advice(days: int, wanted: "Sequence[Suggestion]", others: "Sequence[Suggestion]") -> Iterator[str]:
    if not wanted:
        yield f"no domain of the last {days} days could take assured TLS and lacks a row for it"
    for one in wanted:
        yield f"{one.use.domain}: TLS is assured by {_BY[one.by]}; in {days} days {_counts(one)}"
        yield f"    {one.text}"
    if others:
        yield "Looked at, and left:"
    for one in others:
        yield f"  {one.use.domain}: {one.reason}; {_counts(one)}"


def _counts(one: "Suggestion") -> str:
    use = one.use
    return f"{use.protected} protected copies, {use.enveloped} as envelopes, {use.held} held, {use.by_tls} by TLS"


def _table(call: Invocation) -> "PartnerTable":
    from gatepost.app.store import partner_table

    return partner_table(call.settings)


def _existing(table: "PartnerTable", pattern: str) -> "Partner":
    from gatepost.directory.partner_rules import normal_pattern
    from gatepost.errors import DirectoryError

    row = table.get(normal_pattern(pattern))
    if row is None:
        raise DirectoryError(f"{pattern} is not in the partner table; see `gatepost partner list`")
    return row


def _given(options: dict[str, object]) -> dict[str, str]:
    """Give the columns that the options name."""
    from gatepost.directory.partner_rules import COLUMNS

    columns = {name: str(options[name]) for name in COLUMNS if options[name] is not None and name != "pattern"}
    if columns.get("tls_ca"):
        columns["tls_ca"] = str(Path(columns["tls_ca"]).absolute())
    return columns


def _emit_row(call: Invocation, row: "Partner") -> None:
    columns = asdict(row)
    text = "\n".join(
        f"{name:<15} {', '.join(value) if name == 'ladder' else value}" for name, value in columns.items() if value
    )
    call.emit(columns, text)
