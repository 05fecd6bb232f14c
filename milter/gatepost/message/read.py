"""
A message read from bytes as a mail server would show it: header fields as they stand, then the body.

Follows Postfix's cleanup(8): the header ends at the first empty line or at the first line that is no field; a
line that begins with white space continues the field before it. Line ends become CRLF in the body and LF in
folded fields, as the milter protocol shows them. RFC 5322 section 2.
"""

import re

from gatepost.message.field import Field

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)


def split(raw: bytes) -> tuple[tuple[Field, ...], bytes]:
    """Split a message into its header fields and its body, which has CRLF line ends."""
    lines = raw.replace(b"\r\n", b"\n").split(b"\n")
    header: list[bytes] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line[:1] in (b" ", b"\t") and header:
            header[-1] += b"\n" + line
        elif _FIELD.fullmatch(line):
            header.append(line)
        else:
            at += not line  # the empty line belongs to neither
            break
        at += 1
    return tuple(_field(line) for line in header), b"\r\n".join(lines[at:])


def _field(line: bytes) -> Field:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise ValueError("not a header field")
    return Field(match[1], match[2])
