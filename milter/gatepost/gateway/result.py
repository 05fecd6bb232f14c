"""
The result fields: what the gateway found when mail came in.

`Gatepost-Result` is for the site's own filters and users, Authentication-Results (RFC 8601, RFC 7281) for
programs. Both carry our authserv-id, and incoming ones under it have been removed before.
"""

from dataclasses import dataclass

from gatepost.message.edit import Prepend
from gatepost.message.transaction import Came

RESULT = b"Gatepost-Result"


@dataclass(frozen=True, slots=True)
class Result:
    """
    What came of one incoming copy.

    `decrypted` is "openpgp", "smime" or "no"; `signed` "pass", "fail" or "none"; `by`, `key` and `trust`
    tell whose signature it was; `came` by what connection it came; `flags` are words of the contract.
    """

    decrypted: str = "no"
    signed: str = "none"
    by: str = ""
    key: str = ""
    trust: str = ""
    came: Came = Came.PLAIN
    flags: tuple[str, ...] = ()

    @property
    def opened(self) -> bool:
        """Whether the content was decrypted."""
        return self.decrypted != "no"

    def fields(self, authserv_id: str) -> tuple[Prepend, ...]:
        """Give the two fields, to be put above all others."""
        return (
            Prepend(b"Authentication-Results", _value(f"{authserv_id}; {self._method()}")),
            Prepend(RESULT, _value(f"{authserv_id}; {self.text()}")),
        )

    def text(self) -> str:
        """Give the result as Gatepost-Result spells it, without the authserv-id."""
        signed = f"signed={self.signed}"
        for name, value in (("by", self.by), ("key", self.key), ("trust", self.trust)):
            if value:
                signed += f" {name}={value}"
        parts = [f"decrypted={self.decrypted}", signed, f"came={self.came}"]
        if self.flags:
            parts.append("flag=" + ",".join(self.flags))
        return "; ".join(parts)

    def _method(self) -> str:
        method = "smime" if self.decrypted == "smime" else "pgp"
        if self.signed == "none":
            return "none"
        return f"{method}={self.signed}" + (f" header.from={self.by}" if self.by else "")


def _value(text: str) -> bytes:
    return b" " + text.encode("ascii", "replace")
