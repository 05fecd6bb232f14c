"""Fetching from hostile web hosts: only what is whole, in time, and vouched for counts."""

import asyncio
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from lab.certificate import Authority, self_signed
from lab.place import free_port
from lab.policy_host import HOW, PolicyHost, put_site
from lab.wait import until

from gatepost.errors import ConfigError
from gatepost.transport.https import Https
from gatepost.transport.resolver import IpAddress, LookUpFailed

pytestmark = pytest.mark.real

HOST = "mta-sts.p.test"
PATH = "/.well-known/mta-sts.txt"
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx.p.test\r\nmax_age: 86400\r\n"
LOOPBACK = (ip_address("127.0.0.1"),)
MOST = 64 << 10
LONG = 60.0  # seconds; nothing here takes that long
SHORT = 1.0


class Street:
    """A web host, and who vouches for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.file = folder / "sites.json"
        self.good = self.authority.issue(HOST)
        self.put("answers")
        self.host = PolicyHost(self.file)

    def put(self, how: str, policy: str = POLICY) -> None:
        put_site(self.file, HOST, self.good, how, policy)

    def get(
        self,
        host: str = HOST,
        addresses: tuple[IpAddress, ...] = LOOPBACK,
        *,
        seconds: float = LONG,
        authority: str | None = None,
    ) -> bytes:
        https = Https(str(self.authority.file) if authority is None else authority, port=self.host.port)
        try:
            return asyncio.run(https.get(host, PATH, addresses, seconds=seconds, most=MOST))
        finally:
            https.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Give a street for all tests."""
    street = Street(tmp_path_factory.mktemp("web"))
    with street.host:
        yield street


@pytest.fixture
def street(built: Street) -> Iterator[Street]:
    """Give the street with its host answering."""
    built.put("answers")
    built.host.requests.clear()
    return built


def test_good(street: Street) -> None:
    """A plain text under a good certificate is given as it came; Host and SNI name the host."""
    assert street.get() == POLICY.encode()
    request = street.host.requests[0]
    assert request.startswith(f"{HOST} GET {PATH} HTTP/1.1\r\n")
    assert f"\r\nHost: {HOST}" in request
    assert "\r\nAccept-Encoding: identity\r\n" in request


def test_in_chunks(street: Street) -> None:
    """A chunked answer is put together."""
    street.put("answers in chunks")
    assert street.get() == POLICY.encode()


def test_as_long_as_allowed(street: Street) -> None:
    """The cap itself is allowed."""
    street.put("answers", "x" * MOST)
    assert street.get() == b"x" * MOST


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("redirects", "it answered 301, and no redirect is followed"),
        ("found", "it answered 302, and no redirect is followed"),
        ("missing", "it answered 404"),
        ("broken", "it answered 500"),
        ("partial", "it answered 206"),
        ("long", "its answer is longer than 65536 octets"),
        ("endless", "its answer is longer than 65536 octets"),
        ("html", "its answer is not of type text/plain"),
        ("two types", "its answer is not of type text/plain"),
        ("no type", "its answer is not of type text/plain"),
        ("gzip", "its answer is compressed, which was not asked for"),
        ("no length", "its answer does not tell its length"),
        ("cut short", "its answer is no HTTP, or broke off"),
        ("no http", "its answer is no HTTP, or broke off"),
        ("endless header", "its answer is no HTTP, or broke off"),
        ("endless headers", "its answer is no HTTP, or broke off"),
        ("endless chunk size", "its answer is no HTTP, or broke off"),
        ("nothing", "its answer is no HTTP, or broke off"),
    ],
)
def test_refused(street: Street, how: str, fault: str) -> None:
    """What is not a whole plain text of fitting size under status 200 is refused, and nothing is asked twice."""
    street.put(how)
    with pytest.raises(LookUpFailed) as raised:
        street.get()
    assert str(raised.value) == f"https://{HOST}{PATH}: {fault}"
    assert len(street.host.requests) == 1


def test_length_is_believed_downwards_only(street: Street) -> None:
    """What follows the length that the host told is not read."""
    street.put("lies about its length", "x" * 100)
    assert street.get() == b"x" * 100


@pytest.mark.parametrize("how", ["drips", "drips headers", "stalls", "endless continue"])
def test_slow(street: Street, how: str) -> None:
    """One deadline holds, however the host spreads its octets; the connection is gone after it."""
    street.put(how)
    began = time.monotonic()
    with pytest.raises(LookUpFailed, match=r": no complete answer within 1 s$"):
        street.get(seconds=SHORT)
    assert time.monotonic() - began < SHORT + 10


def test_every_case_is_tested() -> None:
    """No way to misbehave is left out above."""
    here = Path(__file__).read_text(encoding="utf-8")
    assert [how for how in HOW if f'"{how}"' not in here] == []


def test_no_handshake() -> None:
    """A host that accepts and says nothing is given up at the deadline, and so is one that does not accept."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        https = Https(port=listener.getsockname()[1])
        began = time.monotonic()
        with pytest.raises(LookUpFailed, match="no complete answer within 1 s"):
            asyncio.run(https.get(HOST, PATH, LOOPBACK, seconds=SHORT, most=MOST))
        assert time.monotonic() - began < SHORT + 10
        https.close()


def test_many_slow_hosts_do_not_stretch_the_deadline(street: Street) -> None:
    """Whoever waits for a free thread waits no longer than the deadline."""
    street.put("stalls")

    async def ask() -> list[bytes | BaseException]:
        https = Https(str(street.authority.file), port=street.host.port, threads=1)
        asked = (https.get(HOST, PATH, LOOPBACK, seconds=SHORT, most=MOST) for _ in range(20))
        found = await asyncio.gather(*asked, return_exceptions=True)
        https.close()
        return found

    began = time.monotonic()
    found = asyncio.run(ask())
    assert {type(one) for one in found} == {LookUpFailed}
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("kind", ["expired", "wrong name", "self-signed", "stranger"])
def test_wrong_certificates(street: Street, kind: str) -> None:
    """A certificate that is expired, for another name, or under no known authority ends it before a request."""
    wrong = {
        "expired": lambda: street.authority.issue(HOST, expired=True),
        "wrong name": lambda: street.authority.issue("www.p.test"),
        "self-signed": lambda: self_signed(street.folder, HOST),
        "stranger": lambda: Authority(street.folder / "stranger", "Lab CA").issue(HOST),
    }[kind]()
    put_site(street.file, HOST, wrong, "answers", POLICY)
    with pytest.raises(LookUpFailed, match=f"^https://{HOST}{PATH}: its certificate is not valid: "):
        street.get()
    assert street.host.requests == []


def test_system_authorities_do_not_know_ours(street: Street) -> None:
    """Without dns.https_ca_file only the system's authorities count."""
    with pytest.raises(LookUpFailed, match="its certificate is not valid"):
        street.get(authority="")


def test_unknown_name(street: Street) -> None:
    """A host that does not know the name is told apart from one that is down."""
    with pytest.raises(LookUpFailed, match="TLS failed"):
        street.get("mta-sts.other.test")


def test_down(street: Street) -> None:
    """A host that does not listen cannot be reached; nor can one without an address that may be fetched from."""
    https = Https(port=free_port())
    with pytest.raises(LookUpFailed, match="it cannot be reached: Connection refused"):
        asyncio.run(https.get(HOST, PATH, LOOPBACK, seconds=LONG, most=MOST))
    https.close()
    with pytest.raises(LookUpFailed, match="it cannot be reached: it has no address that may be connected to"):
        street.get(addresses=())


def test_next_address(street: Street) -> None:
    """Where one address is dead the next is tried; a name of many addresses is tried at four."""
    dead = ip_address("127.0.0.2")
    assert street.get(addresses=(dead, dead, dead, *LOOPBACK)) == POLICY.encode()
    with pytest.raises(LookUpFailed, match="Connection refused"):
        street.get(addresses=(dead, dead, dead, dead, *LOOPBACK))


def test_given_up(street: Street) -> None:
    """Whoever stops waiting leaves no thread behind that waits on."""
    street.put("stalls")

    async def give_up(https: Https) -> None:
        asked = asyncio.create_task(https.get(HOST, PATH, LOOPBACK, seconds=LONG, most=MOST))
        await asyncio.to_thread(until, lambda: street.host.requests, LONG, "a request")
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    https = Https(str(street.authority.file), port=street.host.port)
    asyncio.run(give_up(https))
    began = time.monotonic()
    https._threads.shutdown(wait=True)
    assert time.monotonic() - began < 30


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    """A wrong dns.https_ca_file is told when it is wired, not when it is needed."""
    with pytest.raises(ConfigError, match=r"^dns\.https_ca_file: .*/ca\.pem: No such file"):
        Https(str(tmp_path / "ca.pem"))
