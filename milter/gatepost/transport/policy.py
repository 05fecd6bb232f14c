"""
The TLS policy that Postfix must keep when it delivers to a next hop, as lines of smtp_tls_policy_maps.

Two tables:
  * `tls` serves the transport `gatepost-tls`, which carries only mail that was decided to need assured TLS. It
    knows no "not found": a row that has gone, or that assures nothing, defers the mail. Nothing gets weaker
    between decision and delivery.
  * `sts` serves the ordinary transport, whose mail needs no protection; it says "not found", and that transport
    does as it would without us.

Where several rows apply to one next hop, they must say the same, else the mail is deferred: a delivery obeys one
policy only.
"""

import re

from gatepost.directory.partner import Partner, Partners
from gatepost.errors import StorageError
from gatepost.transport.answer import Answer, Found, LookUp, NotFound, TryAgain

_FINGERPRINT = re.compile(r"fingerprint:([0-9A-Fa-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_PATH = re.compile(r"/[^\s,{}]+")


class TlsPolicy:
    """Answers for the table `tls`. Thread-safe."""

    def __init__(self, partners: Partners) -> None:
        self._partners = partners

    def __call__(self, nexthop: str) -> Answer:
        """Give the policy for a next hop as Postfix names it: `domain`, `[host]`, either with `:port`."""
        try:
            rows = self._partners.find_nexthop(nexthop)
        except StorageError:
            return TryAgain("the partner table cannot be read now")
        answers = {policy_of(row) for row in rows if row.tls}
        if not answers:
            return TryAgain(f"no partner row assures TLS to {nexthop} any more; see `gatepost partner list`")
        failed = next((answer for answer in answers if not isinstance(answer, Found)), None)
        if failed is not None:
            return failed
        if len(answers) > 1:
            patterns = ", ".join(sorted(row.pattern for row in rows if row.tls))
            return TryAgain(f"the partner rows {patterns} demand different TLS policies of {nexthop}")
        return answers.pop()


def no_policy(nexthop: str) -> Answer:
    """Answer for the table `sts`: nothing is known, ordinary mail goes as it would without us."""
    del nexthop
    return NotFound()


def tables(partners: Partners) -> dict[str, LookUp]:
    """Give the tables of the policy service by name."""
    return {"tls": TlsPolicy(partners), "sts": no_policy}


def policy_of(row: Partner) -> Answer:
    """
    Put one row's demand as a policy line.

    `secure` without a name compares the certificate with the next hop's domain and its subdomains, as Postfix
    does; the SNI is the host that Postfix connects to. A row that no policy line expresses exactly is deferred.
    """
    if row.tls == "verify":
        return _verify(row)
    if found := _FINGERPRINT.fullmatch(row.tls):
        digits = found[1].upper()
        return Found("fingerprint match=" + ":".join(digits[start : start + 2] for start in range(0, 64, 2)))
    if row.tls in {"dane", "mta-sts"}:
        return TryAgain(f"the partner row {row.pattern} demands {row.tls}, which is not served yet")
    return TryAgain(f"the partner row {row.pattern} holds an unknown tls value")


def _verify(row: Partner) -> Answer:
    if row.tls_name and not _NAME.fullmatch(row.tls_name):
        return TryAgain(f"the partner row {row.pattern} holds a tls_name that is no host name")
    if row.tls_ca and not _PATH.fullmatch(row.tls_ca):
        return TryAgain(f"the partner row {row.pattern} holds a tls_ca that is no absolute path without blanks")
    match = row.tls_name or "nexthop:dot-nexthop"
    authority = f" tafile={row.tls_ca}" if row.tls_ca else ""
    return Found(f"secure match={match} servername=hostname{authority}")
