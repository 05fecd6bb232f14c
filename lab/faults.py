"""
The fault matrix: what breaks, when, for which mail, and what the client is told then.

docs/security.md shows it, and tests/fault holds every cell of it against real servers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lab.lineup import Place

Mix = Literal["one", "two", "three"]
MIXES: dict[Mix, str] = {
    "one": "one encrypted copy, which stays in place",
    "two": "an internal copy, and two encrypted ones that are submitted",
    "three": "a TLS copy in place, an encrypted and another TLS copy that are submitted, and a held one",
}

Code = Literal["451", "250", "2x", "any", "-"]
CODES: dict[Code, str] = {
    "451": "the client is told to try again; a retry finishes what was begun",
    "250": "the message goes on as if nothing had happened",
    "2x": "as 451, and the copy concerned goes once more, with `possible-duplicate` in its event",
    "any": "one of the first two, as it comes",
    "-": "cannot occur",
}

POINTS = (
    "at RCPT",
    "in the body",
    "while building",
    "between journal and submission",
    "between copies",
    "at the last copy's reply",
    "before the edits",
    "in the edits",
    "before the verdict",
)
BUILDING = POINTS[2]  # where gpg runs: no step of a protocol

_BOTH: dict[str, Place] = {
    "at RCPT": Place(">RCPT"),
    "in the body": Place(">BODY"),
    "before the verdict": Place("<ACCEPT"),
}
_SUBMITTED: dict[str, Place] = {
    "between journal and submission": Place("smtp>MAIL", 1),
    "between copies": Place("smtp>MAIL", 2),
    "at the last copy's reply": Place("smtp<DOT", 2),
    "in the edits": Place("<DELRCPT", 2),
}
PLACES: dict[Mix, dict[str, Place]] = {
    "one": _BOTH | {"before the edits": Place("<ADDHEADER"), "in the edits": Place("<REPLBODY")},
    "two": _BOTH | _SUBMITTED | {"before the edits": Place("<DELRCPT", 1)},
    "three": _BOTH | _SUBMITTED | {"before the edits": Place("notice>RCPT")},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `cells` holds a code for each mix at each point; `never` says why some cannot occur."""

    fault: str
    cells: tuple[tuple[Code, Code, Code], ...]
    never: str = ""

    def codes(self) -> Iterator[tuple[str, Mix, Code]]:
        """Give point, mix and code of every cell."""
        for point, cells in zip(POINTS, self.cells, strict=True):
            for mix, code in zip(MIXES, cells, strict=True):
                yield point, mix, code


def _row(fault: str, cells: str, never: str = "") -> Row:
    """Read nine groups of three codes."""
    groups = [tuple(group.split("/")) for group in cells.split()]
    if [len(group) for group in groups] != [len(MIXES)] * len(POINTS) or not {*sum(groups, ())} <= CODES.keys():
        raise ValueError(f"the cells of {fault!r} are not nine groups of three codes")
    return Row(fault, groups, never)  # type: ignore[arg-type] # the codes were checked


_IN_PLACE = "a copy that stays in place is neither noted in the journal nor submitted"
# One group for each point, in it one code for each mix.
_ALWAYS = "451/451/451 451/451/451 451/451/451 -/451/451 -/451/451 -/2x/2x 451/451/451 451/451/451 451/451/451"
_NEVER = "250/250/250 250/250/250 250/250/250 -/250/250 -/250/250 -/250/250 250/250/250 250/250/250 250/250/250"
_EITHER = "any/any/any any/any/any any/any/any -/any/any -/any/any -/any/any any/any/any any/any/any any/any/any"
_WRITING = "451/451/451 451/451/451 451/451/451 -/451/451 -/451/451 -/2x/2x 250/250/250 250/250/250 250/250/250"
_VAULT = "250/250/451 250/250/451 250/250/451 -/250/250 -/250/250 -/250/250 250/250/250 250/250/250 250/250/250"
_SPOOL = "451/451/451 451/451/451 451/451/451 -/250/250 -/250/250 -/250/250 250/250/250 250/250/250 250/250/250"
_REFUSED = "-/-/- -/-/- -/-/- -/451/451 -/451/451 -/-/- -/-/250 -/-/- -/-/-"
_UNSURE = "-/-/- -/-/- -/-/- -/2x/2x -/2x/2x -/-/- -/-/250 -/-/- -/-/-"
_GPG = "-/-/- -/-/- 451/451/451 -/-/- -/-/- -/-/- -/-/- -/-/- -/-/-"
_ASKED = "250/250/{} 250/250/any 250/250/250 -/250/250 -/250/250 -/250/250 250/250/250 250/250/250 250/250/250"
_SPOKEN_TO = "the listener is spoken to for copies and, before the edits, for the notice of the held one"
_RUNS = "gpg runs while a copy is built"

ROWS = (
    _row("milter killed", _ALWAYS, _IN_PLACE),
    _row("milter stopped (SIGTERM)", _EITHER, _IN_PLACE),
    _row("key worker killed", _NEVER, _IN_PLACE),
    _row("key worker hung", _NEVER, _IN_PLACE),
    _row("policy service killed", _ASKED.format("any"), _IN_PLACE),
    _row("policy service hung", _ASKED.format("451"), _IN_PLACE),
    _row("resolver silent", _ASKED.format("451"), _IN_PLACE),
    _row("database gone", _WRITING, _IN_PLACE),
    _row("database locked", _WRITING, _IN_PLACE),
    _row("database read-only", _WRITING, _IN_PLACE),
    _row("database full", _WRITING, _IN_PLACE),
    _row("vault gone", _VAULT, _IN_PLACE),
    _row("vault read-only", _VAULT, _IN_PLACE),
    _row("vault full", _VAULT, _IN_PLACE),
    _row("spool full", _SPOOL, _IN_PLACE),
    _row("listener answers 4xx", _REFUSED, _SPOKEN_TO),
    _row("listener answers 5xx", _REFUSED, _SPOKEN_TO),
    _row("listener hangs", _REFUSED, _SPOKEN_TO),
    _row("listener drops before the final dot", _REFUSED, _SPOKEN_TO),
    _row("listener drops after the final dot", _UNSURE, _SPOKEN_TO),
    _row("gpg hangs", _GPG, _RUNS),
    _row("gpg dies", _GPG, _RUNS),
)


def row(fault: str) -> Row:
    """Give the row of a fault."""
    return next(one for one in ROWS if one.fault == fault)
