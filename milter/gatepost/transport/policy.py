"""
The TLS policy that Postfix must keep when it delivers to a next hop, as lines of smtp_tls_policy_maps.

Three tables:
  * `tls` serves the transport `gatepost-tls`, which carries only mail that was decided to need assured TLS. It
    knows no "not found": a row that has gone, or that assures nothing, defers the mail. Nothing gets weaker
    between decision and delivery.
  * `sts` serves the ordinary transport, whose mail needs no protection; it says "not found", and that transport
    does as it would without us.
  * `capability` tells the milter, before it decides, what `tls` would answer: a Capability as JSON.

Where several rows apply to one next hop, they must say the same, else the mail is deferred: a delivery obeys one
policy only.
"""

import json

from gatepost.directory.partner import Partner, Partners
from gatepost.errors import StorageError
from gatepost.transport import policy_line
from gatepost.transport.answer import Answer, Found, LookUp, NotFound, TryAgain
from gatepost.transport.capability import Capability

_UNREADABLE = TryAgain("the partner table cannot be read now")


class TlsPolicy:
    """Answers for the table `tls`. Thread-safe."""

    def __init__(self, partners: Partners) -> None:
        self._partners = partners

    def __call__(self, nexthop: str) -> Answer:
        """Give the policy for a next hop as Postfix names it: `domain`, `[host]`, either with `:port`."""
        try:
            rows = self._partners.find_nexthop(nexthop)
        except StorageError:
            return _UNREADABLE
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
    tls = TlsPolicy(partners)
    return {"tls": tls, "sts": no_policy, "capability": lambda hop: capability(tls, hop)}


def capability(tls: TlsPolicy, hop: str) -> Answer:
    """Answer for the table `capability`."""
    hop = hop.lower()
    answer = tls(hop)
    if isinstance(answer, Found):
        told = Capability(hop, assured=True, by="partner", policy=answer.text)
    else:
        reason = answer.reason if isinstance(answer, TryAgain) else "nothing assures TLS"
        told = Capability(hop, assured=False, unknown=answer == _UNREADABLE, steps=(reason,))
    return Found(json.dumps(told.as_json()))


def policy_of(row: Partner) -> Answer:
    """
    Put one row's demand as a policy line.

    `secure` without a name compares the certificate with the next hop's domain and its subdomains, as Postfix
    does; the SNI is the host that Postfix connects to. A row that no policy line expresses exactly is deferred.
    """
    if row.tls in {"dane", "mta-sts"}:
        return TryAgain(f"the partner row {row.pattern} demands {row.tls}, which is not served yet")
    try:
        return Found(policy_line.of_partner(row).text)
    except ValueError as error:
        return TryAgain(str(error))
