"""
The marks that Gatepost leaves in a configuration file of Postfix, and how they come out again.

Two kinds: a block between `# BEGIN gatepost` and `# END gatepost`, which is ours, and a line that begins
with `#gatepost# `, which is the admin's and out of force while Gatepost is in.

Rules:
  * `without_marks` gives back the admin's text byte for byte: nothing is kept elsewhere, so edits that the
    admin makes between applying and reverting are kept too.
  * Lines end with LF only, as Postfix reads them.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from gatepost.errors import ConfigError

BEGIN = "# BEGIN gatepost"
END = "# END gatepost"
ASIDE = "#gatepost# "
_LINE_FEED_ADDED = BEGIN + " (the line before had no line end)"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def lines_of(text: str) -> list[str]:
    """Split into physical lines, each with its LF."""
    return _LINE.findall(text)


def without_marks(text: str, file: str) -> str:
    """Give the admin's text back. `file` names it in the ConfigError for a block without begin or end."""
    kept: list[str] = []
    inside = False
    for line in lines_of(text):
        bare = line.rstrip("\n")
        if bare.startswith(BEGIN):
            if inside:
                raise ConfigError(_unbalanced(file))
            inside = True
            if bare == _LINE_FEED_ADDED and kept:
                kept[-1] = kept[-1].removesuffix("\n")
        elif bare == END:
            if not inside:
                raise ConfigError(_unbalanced(file))
            inside = False
        elif not inside:
            kept.append(line.removeprefix(ASIDE))
    if inside:
        raise ConfigError(_unbalanced(file))
    return "".join(kept)


def with_marks(text: str, *, aside: Collection[int], blocks: Mapping[int, Sequence[str]]) -> str:
    """
    Put lines aside and blocks in.

    `aside` holds indexes of lines to put out of force; `blocks` maps the number of lines that stand before a
    block to its lines, without LF.
    """
    lines = lines_of(text)
    marked: list[str] = []
    for index in range(len(lines) + 1):
        if index in blocks:
            marked.extend(_block(blocks[index], previous=marked))
        if index < len(lines):
            marked.append(ASIDE + lines[index] if index in aside else lines[index])
    return "".join(marked)


def _block(lines: Sequence[str], *, previous: list[str]) -> list[str]:
    begin = BEGIN
    if previous and not previous[-1].endswith("\n"):
        previous[-1] += "\n"
        begin = _LINE_FEED_ADDED
    return [f"{line}\n" for line in (begin, *lines, END)]


def _unbalanced(file: str) -> str:
    return (
        f'{file}: a line "{BEGIN}" or "{END}" is missing: put it back around what Gatepost wrote, '
        "or delete these lines and the other mark"
    )
