"""
The author: the one address in the one From field, or nobody.

Stricter than RFC 5322 section 3.4 on purpose: a display name that looks like an address, a list of authors or
a second From field must never lend a signature to somebody else.
"""

import re
import unicodedata
from collections.abc import Iterable

from gatepost.message import encoded_word
from gatepost.message.field import Field, named, unfold

_NAME = rb'((?:"(?:[^"\\]|\\.)*"|[^<>"@,;:])*)'
_SPEC = rb"([^\x00-\x20\x7f<>@\",;:()\\\[\]]+@[^\x00-\x20\x7f<>@\",;:()\\\[\]]+)"
_AUTHOR = re.compile(rb"\s*(?:" + _NAME + rb"<\s*" + _SPEC + rb"\s*>|" + _SPEC + rb")\s*")
_QUOTING = re.compile(r"[\"'\\<>()\s]")
_LONGEST = 2000  # octets of a From field that are worth reading


def author(fields: Iterable[Field]) -> str:
    """Give the From address, its domain in lower case; empty text unless there is exactly one, plainly written."""
    found = named(fields, b"from")
    if len(found) != 1 or len(found[0].value) > _LONGEST:
        return ""
    match = _AUTHOR.fullmatch(unfold(found[0].value))
    if match is None:
        return ""
    local, _, domain = (match[2] or match[3]).decode("utf-8", "replace").rpartition("@")
    address = f"{local}@{domain.lower()}"
    return address if _is_honest(match[1] or b"", address) else ""


def _is_honest(name: bytes, address: str) -> bool:
    """Tell whether a display name, as people see it, shows no other address than the true one."""
    shown = unicodedata.normalize("NFKC", encoded_word.decode(name.decode("utf-8", "replace")))
    return "@" not in shown or _QUOTING.sub("", shown).lower() == address.lower()
