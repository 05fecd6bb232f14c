"""
The text of main.cf: where parameters are set, and the same text with Gatepost's settings in force.

The admin's lines, comments and order stay. A setting that Gatepost replaces is put aside (see `marks`), the
new ones stand in one block at the end. A logical line goes on over lines that begin with white space, with
comments and empty lines between (postconf(5)).
"""

import re
from collections.abc import Collection, Mapping

from gatepost.mta.postfix.marks import lines_of, with_marks

_SETTING = re.compile(r"([A-Za-z0-9_]+)\s*=")
_NOTICE = (
    '# Written by "gatepost setup postfix --apply", taken back by "--revert". Edits in here are lost;',
    '# your own settings that are out of force meanwhile begin with "#gatepost# ": change them there,',
    "# apply again.",
)


def with_settings(text: str, settings: Mapping[str, str]) -> str:
    """Put `settings` in force. `text` is the admin's, without marks."""
    lines = lines_of(text)
    block = (*_NOTICE, *(f"{name} = {value}" for name, value in settings.items()))
    return with_marks(text, aside=_lines_setting(lines, settings), blocks={len(lines): block})


def _lines_setting(lines: list[str], names: Collection[str]) -> set[int]:
    found: set[int] = set()
    wanted = False
    for index, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            setting = _SETTING.match(line)
            wanted = setting is not None and setting[1] in names
        if wanted:
            found.add(index)
    return found
