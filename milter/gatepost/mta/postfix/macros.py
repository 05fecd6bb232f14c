"""
The macros by which Postfix tells milters of a connection and of a message (MILTER_README).

Postfix's own lists hold all that Gatepost needs. Where an admin has written others, what is missing is added:
without {auth_authen} and {daemon_name} nobody could tell who is inside, and without {tls_version} all mail would
have come in clear.
"""

from collections.abc import Mapping
from types import MappingProxyType

NEEDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "milter_connect_macros": ("{daemon_name}",),
        "milter_helo_macros": ("{tls_version}", "{cert_subject}", "{cert_issuer}"),
        "milter_mail_macros": ("i", "{auth_authen}"),
        "milter_end_of_header_macros": ("i",),
        "milter_end_of_data_macros": ("i",),
    }
)


def lacking(values: Mapping[str, str]) -> dict[str, str]:
    """Give those of the lists in `values` that lack a macro, with what they lack."""
    found = {}
    for name, needed in NEEDED.items():
        if name in values:
            listed = {word.strip("{}") for word in values[name].replace(",", " ").split()}
            missing = [macro for macro in needed if macro.strip("{}") not in listed]
            if missing:
                found[name] = " ".join([values[name], *missing]).strip()
    return found
