"""
The trace field of the mail server's own entrance, for mail that reaches us by a second step inside the site.

There the entrance's Received field is the first one, and tells how the client came. RFC 5321 section 4.4 and
RFC 3848.
"""

import re
from collections.abc import Iterable

from gatepost.message.field import Field, named

# Postfix writes the clause on a line of its own; what the client may choose stands on the line before.
_WITH_TLS = re.compile(rb"\n[ \t]+by [^\s()]+ \([^()\n]*\) with (?:UTF8SMTP|E?SMTP)SA? id ")


def entered_by_tls(fields: Iterable[Field]) -> bool:
    """Tell whether the first Received field says that the message was taken over TLS."""
    received = named(fields, b"received")
    return bool(received) and _WITH_TLS.search(received[0].value) is not None
