"""A resolver that answers nothing: nothing is weakened, and all goes on when it answers again."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from lab.confidential import Confidential
from lab.internet import Internet

pytestmark = pytest.mark.real


def test_silent_resolver_weakens_nothing(net: Internet) -> None:
    """While DNS is silent mail is put off, or encrypted for whoever has a key; then it goes by DANE again."""
    net.put_domain("silent.test", "mx.silent.test")
    net.put_host("mx.silent.test", "11.25.1.1", net.certificate("mx1.alpha.test"))
    net.publish()
    net.introduce("ann@silent.test")
    net.resolver.pause()
    try:
        with ThreadPoolExecutor(2) as pool:  # each waits for the deadline
            without, keyed = pool.map(lambda name: Confidential(net, f"{name}@silent.test"), ["bob", "ann"])
        assert without.put_off().startswith("451")
        assert keyed.outcome.ok
    finally:
        net.resolver.go_on()
    keyed.arrived_encrypted()
    net.forget_discoveries()
    assert Confidential(net, "eve@silent.test").arrived().door == "mx1.alpha.test"
