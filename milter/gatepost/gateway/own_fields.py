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
# RFC 8601 section 2.2: comments may stand before the authserv-id, which may be a quoted string.
_AUTHSERV_ID = re.compile(rb'(?:\s|\([^()]*\))*(?:"([^"]*)"|([^\s;()]+))')


def removed(fields: Iterable[Field], authserv_id: bytes, *, for_outsiders: bool) -> tuple[Change, ...]:
    """Give the deletions that a copy needs; `authserv_id` in lower case."""
    seen: dict[bytes, int] = {}
    found = []
    for field in fields:
        key = field.key
        seen[key] = seen.get(key, 0) + 1
        if (
            key.startswith(_OURS)
            or (for_outsiders and key.startswith(_STEERING))
            or (key == _RESULTS and names(field.value, authserv_id))
        ):
            found.append(Change(field.name, seen[key], None))
    return tuple(found)


def names(results: bytes, authserv_id: bytes) -> bool:
    """Tell whether an Authentication-Results value claims that authserv-id, however it is written."""
    match = _AUTHSERV_ID.match(unfold(results))
    return match is not None and (match[1] or match[2] or b"").lower() == authserv_id
