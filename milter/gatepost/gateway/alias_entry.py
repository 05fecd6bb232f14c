"""
Alias entries: the right-hand side of an alias table, read as virtual(5), canonical(5) and aliases(5) have it.

Addresses stand between commas. What stands in no mailbox's name, such as a command, is told apart; what cannot be
read with certainty is an error, since whoever is overlooked here would get mail in clear.
"""

import re
from collections.abc import Iterator

from gatepost.errors import AliasError

_PIECE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|<[^<>]*>|[^,"<>])+')
_ANGLED = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^<>"])*<([^<>]*)>\s*')
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ADDRESS = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"()<>,;:\\])+')
_LOCAL_MARKS = ("|", "/", ":", "\\")


def addresses(entry: str) -> tuple[str, ...]:
    """Read the addresses of an entry of virtual(5) or canonical(5); raises AliasError."""
    found = tuple(_address(piece) for piece in _pieces(entry))
    if not found:
        raise AliasError(f"the alias entry {entry!r} names no address")
    return found


def local_targets(entry: str) -> tuple[str, ...]:
    r"""
    Read an entry of aliases(5): addresses, and as they stand `|command`, `/file`, `:include:file`, `\name`.

    Raises AliasError.
    """
    found = []
    for piece in _pieces(entry):
        whole = _QUOTED.fullmatch(piece)
        bare = whole[1] if whole else piece
        found.append(bare if bare.startswith(_LOCAL_MARKS) else _address(piece))
    if not found:
        raise AliasError(f"the alias entry {entry!r} names nobody")
    return tuple(found)


def _pieces(entry: str) -> Iterator[str]:
    """Split at commas that stand outside quotes and angle brackets."""
    left = _PIECE.sub("", entry)
    if left.strip(", \t"):
        raise AliasError(f"the alias entry {entry!r} cannot be read: write addresses with commas between them")
    for match in _PIECE.finditer(entry):
        if match[0].strip():
            yield match[0].strip()


def _address(piece: str) -> str:
    angled = _ANGLED.fullmatch(piece)
    text = angled[1].strip() if angled else piece
    if not _ADDRESS.fullmatch(text):
        raise AliasError(f"the alias target {piece!r} cannot be read: write addresses with commas between them")
    return text
