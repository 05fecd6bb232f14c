"""
The header fields that are ours alone, and how they are taken out of what others send.

`Gatepost-*` and Authentication-Results under our authserv-id are removed in every direction: only what this
gateway adds after that is to be believed (RFC 8601 section 5). What steers the gateway (`X-Gatepost-*`,
`X-PostX-*`) is removed from every copy that leaves for an outsider.
"""

import re
from collections.abc import Iterable

from gatepost.message.edit import Change
from gatepost.message.field import Field, unfold

_OURS = b"gatepost-"
_STEERING = (b"x-gatepost-", b"x-postx-")
_RESULTS = b"authentication-results"
_COMMENT_OR_PAIR = re.compile(rb"\\(.)|[()]", re.DOTALL)
_WORDS = re.compile(rb"[^\s;\"]+")


def removed(fields: Iterable[Field], authserv_id: bytes, *, for_outsiders: bool) -> tuple[Change, ...]:
    """Give the deletions that a copy needs; `authserv_id` in lower case."""
    prefixes = (_OURS, *_STEERING) if for_outsiders else (_OURS,)
    seen: dict[bytes, int] = {}
    found = []
    for field in fields:
        key = field.key
        ours = key.startswith(prefixes)
        if ours or key == _RESULTS:
            seen[key] = seen.get(key, 0) + 1
            if ours or names(field.value, authserv_id):
                found.append(Change(field.name, seen[key], None))
    return tuple(found)


def names(results: bytes, authserv_id: bytes) -> bool:
    """
    Tell whether an Authentication-Results value could be read as claiming that authserv-id (RFC 8601 section 2.2).

    Comments may nest and stand anywhere, the authserv-id may be quoted, a version or a final dot may follow:
    whatever some reader might take for ours counts, since nobody else has a reason to come near it.
    """
    before = _without_comments(unfold(results)).partition(b";")[0]
    words = _WORDS.findall(before)
    return any(word.lower().partition(b"/")[0].rstrip(b".") == authserv_id for word in words)


def _without_comments(value: bytes) -> bytes:
    """Take out comments, nested or not closed, and the backslashes of quoted pairs."""
    depth, position = 0, 0
    kept: list[bytes] = []
    for match in _COMMENT_OR_PAIR.finditer(value):
        if depth == 0:
            kept += value[position : match.start()], match[1] or b" "
        depth = max(depth + {b"(": 1, b")": -1}.get(match[0], 0), 0)
        position = match.end()
    return b"".join((*kept, value[position:] if depth == 0 else b""))
