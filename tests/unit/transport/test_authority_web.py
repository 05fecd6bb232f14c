"""What certificates name on the web: fetched only where a stranger may send us."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from lab.file_host import FileHost
from tests.fake_resolver import FakeResolver

from gatepost.transport import target
from gatepost.transport.authority_web import AuthorityWeb
from gatepost.transport.https import Https
from gatepost.transport.resolver import LookUpFailed

NAME = "lists.test"


@pytest.fixture
def host() -> Iterator[FileHost]:
    """Give a web host on loopback."""
    with FileHost() as running:
        yield running


def fetch(
    url: str,
    *,
    lab: bool = True,
    posted: bytes = b"",
    most: int = 1000,
    seconds: float = 30,
    names: tuple[str, ...] = ("127.0.0.1",),
) -> bytes:
    """Fetch; `lab` allows private addresses and any port, as tests need."""
    resolver = FakeResolver()
    resolver.has_addresses(NAME, *names)
    web = AuthorityWeb(Https(), lambda: resolver, partial(target.reachable, allow_private=lab), any_port=lab)
    try:
        return asyncio.run(web.fetch(url, posted=posted, most=most, seconds=seconds))
    finally:
        web.close()


@pytest.mark.real
def test_fetches(host: FileHost) -> None:
    """A file is fetched without TLS, from a host by name or by address; what is posted gets its answer."""
    host.put("/a%20b.crl?x=y", b"list")

    assert fetch(host.url("/a%20b.crl?x=y")) == b"list"
    assert fetch(host.url("/a%20b.crl?x=y", NAME)) == b"list"
    assert fetch(host.url("/a%20b.crl?x=y"), posted=b"question") == b"list"


@pytest.mark.real
def test_caps(host: FileHost) -> None:
    """What is too long, too slow, moved or not there is refused."""
    long, slow, gone, moved = (host.url(path) for path in ("/long", "/slow", "/gone", "/moved"))
    host.put("/long", b"x" * 1001)
    host.silent.add("/slow")
    host.moved["/moved"] = host.put("/there", b"list")

    for url, seconds, reason in (
        (long, 30, "longer than 1000 octets"),
        (slow, 0.2, "no complete answer within 0.2 s"),
        (gone, 30, "it answered 404"),
        (moved, 30, "no redirect is followed"),
    ):
        with pytest.raises(LookUpFailed, match=reason):
            fetch(url, seconds=seconds)
    assert not host.asked["/there"]


REFUSED = {
    "ldap://lists.test/cn=x": "only http and https are asked",
    "file:///etc/passwd": "only http and https are asked",
    "//lists.test/": "only http and https are asked",
    "http://lists.test:8080/": "only port 80 is asked",
    "https://lists.test:80/": "only port 443 is asked",
    "http://lists.test:99999/": "this is no URL",
    "http://ann:secret@lists.test/": "names no host that is asked",
    "http:///x": "names no host that is asked",
    "http://lists.test/a b": "blanks or controls",
    "http://lists.test/\r\nHost: evil.test": "blanks or controls",
    "http://lists.tést/": "blanks or controls",
    f"http://lists.test/{'x' * 2048}": "too long",
    "http://127.0.0.1/x": r"127\.0\.0\.1 \(loopback\)",
    "http://[::1]/x": r"::1 \(loopback\)",
    "http://[::ffff:10.0.0.1]/x": "private",
    "http://169.254.169.254/latest/meta-data": "link-local",
    "http://lists.test/x": r"10\.0\.0\.1 \(private\)",
    "http://2130706433/x": "the host has no address",
}


@pytest.mark.parametrize("url", REFUSED)
def test_where_nobody_is_sent(url: str) -> None:
    """Other schemes and ports, passwords, blanks, and private addresses by name or number are refused."""
    with pytest.raises(LookUpFailed, match=REFUSED[url]):
        fetch(url, lab=False, names=("10.0.0.1",))
