"""A site that sends its mail another way: TLS to a mail host is not what carries it, unless the row says which."""

from collections.abc import Iterator

import pytest
from lab.confidential import told
from lab.internet import Internet

pytestmark = pytest.mark.real

_RELAY = "mx2.alpha.test"


@pytest.fixture(params=["relayhost", "transport-maps"])
def routed(net: Internet, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the end of the names of two domains, good by DANE, whose mail the site sends to another host."""
    by = str(request.param)
    for domain in (f"no-row.{by}.test", f"row.{by}.test"):
        net.put_domain(domain, f"mx.{domain}")
        net.put_host(f"mx.{domain}", "11.25.1.1", net.certificate("mx1.alpha.test"))
        if by == "transport-maps":
            net.postfix.route(domain, f"smtp:[{_RELAY}]")
    net.publish()
    net.put_partners({"pattern": f"row.{by}.test", "tls": "verify", "tls_name": _RELAY, "nexthop": f"[{_RELAY}]"})
    if by == "relayhost":
        net.postfix.set(relayhost=f"[{_RELAY}]")
        net.postfix.reload()
    yield f"{by}.test"
    if by == "relayhost":
        net.postfix.set(relayhost="")
        net.postfix.reload()


def test_tls_is_not_usable_unless_the_row_names_the_next_hop(net: Internet, routed: str) -> None:
    """Mail is held with the reason, although the domain is assured; with `--nexthop` it goes there, verified."""
    without, named = f"bob@no-row.{routed}", f"bob@row.{routed}"
    found = told(net, [without, named])
    assert [found.plans[one]["treatment"] for one in (without, named)] == ["quarantine", "tls"]
    assert "elsewhere" in " ".join(found.plans[without]["reasons"])
    assert without in found.held
    found.messages[without].check_went_nowhere()
    assert found.messages[named].arrived().door == _RELAY
