"""Mail to partners goes through the TLS that their rows demand, or it waits."""

from dataclasses import dataclass

import pytest
from lab.confidential import Told, told
from lab.internet import Internet

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Row:
    """A partner, the mail host that DNS names for it, and its row; `own` stands for that host's name."""

    domain: str
    host: str
    tls: str = "verify"
    tls_name: str = ""
    tls_ca: str = ""
    nexthop: str = ""
    arrives: str = ""  # the door at which its mail arrives, if it does
    why_not: str = ""  # what Postfix says of the host where it does not; pins and tls_ca are its own TLSA records


_KEPT = [
    Row("alpha.test", "mx1.alpha.test", arrives="mx1.alpha.test"),
    Row("named.test", "mx1.alpha.test", tls_name="own", arrives="mx1.alpha.test"),
    Row("own-ca.test", "private.beta.test", tls_name="own", tls_ca="UNKNOWN CA", arrives="private.beta.test"),
    Row("pinned.test", "self.beta.test", tls="fingerprint:", arrives="self.beta.test"),
    Row(
        "hop.test", "mx.evil.test", tls_name="mx2.alpha.test", nexthop="[mx2.alpha.test]", arrives="mx2.alpha.test"
    ),
]
_BROKEN = [
    Row("expired.test", "expired.beta.test", tls_name="own", why_not="certificate has expired"),
    Row("wrong.test", "wrong.beta.test", tls_name="own", why_not="hostname mismatch"),
    Row("self.test", "self.beta.test", tls_name="own", why_not="self-signed certificate"),
    Row("stripped.test", "plain.beta.test", tls_name="own", why_not="TLS is required, but was not offered"),
    Row("unknown.test", "private.beta.test", tls_name="own", why_not="untrusted issuer /CN=Unknown CA"),
    Row(
        "other-ca.test",
        "mx1.alpha.test",
        tls_name="own",
        tls_ca="UNKNOWN CA",
        why_not="no matching DANE TLSA records",
    ),
    Row("other-name.test", "mx1.alpha.test", why_not="hostname mismatch"),
    Row("other-pin.test", "mx1.alpha.test", tls="fingerprint:", why_not="no matching DANE TLSA records"),
]


@pytest.fixture(scope="module")
def rows(net: Internet) -> Told:
    """Give what is told of mail to all these domains, which the site has as partners."""
    for row in _KEPT + _BROKEN:
        net.put_domain(row.domain, row.host)
    net.publish()
    net.put_partners(*(_written(net, row) for row in _KEPT + _BROKEN))
    return told(net, [f"bob@{row.domain}" for row in _KEPT + _BROKEN])


def _written(net: Internet, row: Row) -> dict[str, str]:
    pinned = net.certificate("self.beta.test").fingerprint
    return {
        "pattern": row.domain,
        "tls": f"fingerprint:{pinned}" if row.tls == "fingerprint:" else row.tls,
        "tls_name": row.host if row.tls_name == "own" else row.tls_name,
        "tls_ca": str(net.unknown) if row.tls_ca else "",
        "nexthop": row.nexthop,
    }


@pytest.mark.parametrize("row", _KEPT, ids=lambda row: row.domain)
def test_mail_goes_through_tls_that_keeps_the_row(net: Internet, rows: Told, row: Row) -> None:
    """A host that meets the row gets the mail as it was sent, through verified TLS, from the first try on."""
    recipient = f"bob@{row.domain}"
    assert rows.messages[recipient].arrived().door == row.arrives
    assert f"Verified TLS connection established to {row.arrives}" in net.postfix.log()
    _check_what_is_said(rows, row)


@pytest.mark.parametrize("row", _BROKEN, ids=lambda row: row.domain)
def test_mail_waits_for_tls_that_does_not_keep_the_row(net: Internet, rows: Told, row: Row) -> None:
    """A host that does not meet the row gets nothing: the mail stays queued with the reason, unread."""
    recipient = f"bob@{row.domain}"
    assert row.why_not in rows.messages[recipient].deferred() + net.complaints(row.host)
    _check_what_is_said(rows, row)
    net.forget(recipient)


def _check_what_is_said(rows: Told, row: Row) -> None:
    """Whatever the host is like, the row's demand is what Postfix will be told, so the treatment is `tls`."""
    assert rows.plans[f"bob@{row.domain}"]["treatment"] == "tls"
    check = rows.checks[row.domain]
    assert (check["assured"], check["by"]) == (True, "partner")
