"""
Partner rows as CSV (RFC 4180, UTF-8): what `partner export` writes, `partner import` reads back unchanged.

The first row names the columns; `pattern` must be among them, what is left out takes its default. Semicolons may
stand in place of commas, as spreadsheets write them where numbers have a decimal comma. Nothing is taken from a
file that has a fault; every fault is told with its line.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from gatepost.directory.partner import Partner
from gatepost.directory.partner_rules import COLUMNS, columns_of, read_partner
from gatepost.errors import DirectoryError

MOST_FAULTS = 100


def read_csv(data: bytes, check: Callable[[Partner], None] = lambda _row: None) -> tuple[Partner, ...]:
    """
    Read every row; `check` may refuse a row by DirectoryError.

    Raises DirectoryError with the faults, a line each.
    """
    text = _decoded(data)
    faults: list[str] = []
    rows: dict[str, Partner] = {}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = _header(next(reader, []))
        for cells in filter(None, reader):  # blank lines say nothing
            try:
                row = _row(header, cells)
                check(row)
            except DirectoryError as error:
                faults += [f"line {reader.line_num}: {fault}" for fault in error.diagnostics()]
                continue
            if row.pattern in rows:
                faults.append(f"line {reader.line_num}: {row.pattern} stands in the file twice")
            rows[row.pattern] = row
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: not CSV: {error}")
    if faults:
        raise DirectoryError("\n".join(_shortened(faults)))
    return tuple(rows.values())


def write_csv(rows: Iterable[Partner], file: TextIO) -> None:
    """Write rows below a header."""
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(columns_of(row) for row in rows)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DirectoryError(f"line {line}: not UTF-8; save the file as UTF-8") from None


def _delimiter(text: str) -> str:
    """Tell by the names of the columns, which hold neither, what separates the cells."""
    first = text.partition("\n")[0]
    return ";" if ";" in first and "," not in first else ","


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    if "pattern" not in names:
        raise DirectoryError(
            f"line 1: the first row must name the columns, `pattern` among them; all: {', '.join(COLUMNS)}"
        )
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise DirectoryError(f"line 1: no such column: {', '.join(unknown)}; allowed: {', '.join(COLUMNS)}")
    if len(set(names)) != len(names):
        raise DirectoryError("line 1: a column is named twice")
    return names


def _row(header: list[str], cells: list[str]) -> Partner:
    if len(cells) != len(header):
        raise DirectoryError(f"{len(cells)} cells where the header has {len(header)}")
    return read_partner(dict(zip(header, cells, strict=True)))


def _shortened(faults: list[str]) -> Iterator[str]:
    yield from faults[:MOST_FAULTS]
    if len(faults) > MOST_FAULTS:
        yield f"and {len(faults) - MOST_FAULTS} more"
