"""The resolver of the lab: it vouches for what is signed, for nothing else, and forgets what it is told to."""

from collections.abc import Iterator

import dns.exception
import dns.flags
import dns.rcode
import dns.rdatatype
import pytest
from lab.dnszone import Zone
from lab.place import short_folder
from lab.unbound import Unbound

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def unbound() -> Iterator[Unbound]:
    """Give a resolver for test., where bogus.test. is bogus and insecure.test. is not signed."""
    zones = [Zone("test"), Zone("insecure.test", "insecure"), Zone("bogus.test", "bogus")]
    for zone in zones:
        zone.put("mx", "A", "11.25.0.1")
        if zone is not zones[0]:
            zones[0].put_child(zone)
    with short_folder() as folder, Unbound(folder / "u", zones) as unbound:
        yield unbound


def _addresses(unbound: Unbound, name: str) -> tuple[str, bool, list[str]]:
    """Give the status, whether it is vouched for, and the addresses."""
    answer = unbound.ask(name, "A", timeout=30)
    found = [str(record) for rrset in answer.answer if rrset.rdtype == dns.rdatatype.A for record in rrset]
    return dns.rcode.to_text(answer.rcode()), bool(answer.flags & dns.flags.AD), found


def test_signed_names_are_vouched_for(unbound: Unbound) -> None:
    """What a signed zone holds is vouched for, and so is that it holds no more."""
    assert _addresses(unbound, "mx.test.") == ("NOERROR", True, ["11.25.0.1"])
    assert _addresses(unbound, "none.test.") == ("NXDOMAIN", True, [])


def test_unsigned_names_are_answered_but_not_vouched_for(unbound: Unbound) -> None:
    """A zone that its parent delegates without DS is answered for, without AD."""
    assert _addresses(unbound, "mx.insecure.test.") == ("NOERROR", False, ["11.25.0.1"])


def test_bogus_names_and_names_of_the_world_are_not_answered(unbound: Unbound) -> None:
    """A zone that another key signed gives SERVFAIL, as does every name outside the zones."""
    assert _addresses(unbound, "mx.bogus.test.")[0] == "SERVFAIL"
    assert _addresses(unbound, "mx.example.com.")[0] == "SERVFAIL"


def test_published_changes_are_seen_at_once(unbound: Unbound) -> None:
    """After `publish` the resolver answers from the zone as it is, whatever it has kept."""
    unbound.zones[0].put("moved", "A", "11.25.0.1")
    unbound.publish()
    assert _addresses(unbound, "moved.test.")[2] == ["11.25.0.1"]
    unbound.zones[0].put("moved", "A", "11.25.0.2")
    unbound.publish()
    assert _addresses(unbound, "moved.test.") == ("NOERROR", True, ["11.25.0.2"])


def test_paused_resolver_is_silent(unbound: Unbound) -> None:
    """While paused it answers nothing; then it does again."""
    unbound.pause()
    try:
        with pytest.raises(dns.exception.Timeout):
            unbound.ask("mx.test.", "A", timeout=1)
    finally:
        unbound.go_on()
    assert _addresses(unbound, "mx.test.")[0] == "NOERROR"
