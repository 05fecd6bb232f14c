"""A probe tells what a mail host shows, and no host can hold it up or fill its memory."""

import asyncio
import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from lab.certificate import Authority, ServerCertificate, self_signed
from lab.place import free_port

from gatepost.errors import ConfigError
from gatepost.transport.probe import Probe, probe

pytestmark = pytest.mark.real

HOST = "mx.p.test"
LOOPBACK = ip_address("127.0.0.1")
LONG = 60.0
SHORT = 1.0
GIVEN_UP = {"no complete answer within 1 s", "no address to knock at answers"}  # the latter on a very busy machine
EHLO = b"EHLO gw.test\r\n"
OFFERS = [
    b"220-mx.p.test\r\n220 hello\r\n",
    EHLO,
    b"250-mx.p.test\r\n250-SIZE 1\r\n250 starttls\r\n",
    b"STARTTLS\r\n",
]
READY = [*OFFERS, b"220 go ahead\r\n"]

Script = Iterable[bytes]


class MailHost:
    """Follows a script: says what stands there, waits for a command in it; then TLS, if there is a certificate."""

    def __init__(self, script: Script, certificate: ServerCertificate | None = None, newest: str = "") -> None:
        self._script = script
        self._certificate = certificate
        self._newest = newest
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.said = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            client.settimeout(30)
            with client:
                self._follow(client)

    def _follow(self, client: socket.socket) -> None:
        for part in self._script:
            if part in {EHLO, b"STARTTLS\r\n"}:
                self._hear(client, part)
            else:
                client.sendall(part)
        if self._certificate is not None:
            context = self._certificate.context()
            if self._newest:
                context.maximum_version = ssl.TLSVersion[self._newest]
            with context.wrap_socket(client, server_side=True) as tls:
                self._hear(tls, b"QUIT\r\n")
        else:
            self._hear(client, b"QUIT\r\n")

    def _hear(self, client: socket.socket, command: bytes) -> None:
        self.said = b""
        while command not in self.said and (part := client.recv(4096)):
            self.said += part


class Street:
    """Mail hosts of one test, and who vouches for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.hosts: list[MailHost] = []

    def probe(
        self,
        script: Script,
        certificate: ServerCertificate | None = None,
        *,
        seconds: float = LONG,
        newest: str = "",
    ) -> Probe:
        host = MailHost(script, certificate, newest)
        self.hosts.append(host)
        return asyncio.run(
            probe(
                HOST,
                [LOOPBACK],
                host.port,
                hello="gw.test",
                seconds=seconds,
                ca_file=str(self.authority.file),
            )
        )


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    street = Street(tmp_path)
    yield street
    for host in street.hosts:
        host.close()


def test_verified(street: Street) -> None:
    """A host with a good certificate is told with its protocol and cipher, and taken leave of."""
    found = street.probe(READY, street.authority.issue(HOST))
    assert (found.certificate, found.protocol) == ("verified", "TLSv1.3")
    assert found.cipher.startswith("TLS_")
    assert found.steps == (
        f"connected to 127.0.0.1 port {street.hosts[0].port}",
        "it offers STARTTLS",
        f"it speaks TLSv1.3 with {found.cipher}",
        f"its certificate is verified: a known authority vouches for {HOST}",
    )
    street.hosts[0].close()
    assert street.hosts[0].said == b"QUIT\r\n"


def test_old_tls(street: Street) -> None:
    """TLS 1.2 is spoken too."""
    found = street.probe(READY, street.authority.issue(HOST), newest="TLSv1_2")
    assert (found.certificate, found.protocol) == ("verified", "TLSv1.2")


CERTIFICATES: dict[str, Callable[[Street], ServerCertificate]] = {
    "expired": lambda street: street.authority.issue(HOST, expired=True),
    "wrong name": lambda street: street.authority.issue("mx.q.test"),
    "self-signed": lambda street: self_signed(street.folder, HOST),
    "untrusted": lambda street: Authority(street.folder / "stranger", "Strange CA").issue(HOST),
}


@pytest.mark.parametrize("verdict", CERTIFICATES)
def test_certificates(street: Street, verdict: str) -> None:
    """What is wrong with a certificate is told apart."""
    found = street.probe(READY, CERTIFICATES[verdict](street))
    assert found.certificate == verdict
    assert found.steps[-1].startswith(f"its certificate is {verdict} (")


def test_no_starttls(street: Street) -> None:
    """A host that does not offer STARTTLS is told so, in clear, and taken leave of."""
    found = street.probe([b"220 x\r\n", EHLO, b"250-mx.p.test\r\n250 STARTTLSX\r\n"])
    assert found.certificate == ""
    assert found.steps[-1] == "it does not offer STARTTLS: mail would go in clear"
    street.hosts[0].close()
    assert street.hosts[0].said == b"QUIT\r\n"


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ([b"554 go away\r\n"], "its greeting is 554, not 220"),
        ([b"220 x\r\n", EHLO, b"502 no\r\n"], "its answer to EHLO is 502, not 250"),
        ([*OFFERS, b"454 not now\r\n"], "its answer to STARTTLS is 454, not 220"),
        ([b"HTTP/1.1 400 Bad Request\r\n"], "its greeting is no SMTP"),
        ([b"220x\r\n"], "its greeting is no SMTP"),
        ([b"\r\n"], "its greeting is no SMTP"),
        ([b"220-a\r\n221 b\r\n"], "its greeting is 221, not 220"),
        (
            [b"220-" + b"x" * 100_000],
            "its greeting has a line of more than 4096 octets",
        ),
        (itertools.repeat(b"220-x\r\n" * 50), "its greeting has more than 100 lines"),
        ([*READY, b"220 this is no TLS\r\n"], "TLS failed: "),
        (itertools.chain(READY, itertools.repeat(b"\x16\x03\x03\x40\x00" + b"x" * 0x4000)), "TLS failed: "),
    ],
)
def test_hostile(street: Street, script: Script, fault: str) -> None:
    """Whatever a host says instead of SMTP and TLS ends the probe, with a step that says where."""
    found = street.probe(script)
    assert found.certificate == ""
    assert found.steps[-1].startswith(fault)


@pytest.mark.parametrize("script", [[b"220 x\r\n"], [*READY]])
def test_silent(street: Street, script: Script) -> None:
    """A host that falls silent is given up at the deadline."""
    began = time.monotonic()
    found = street.probe(script, seconds=SHORT)
    assert found.steps[-1] in GIVEN_UP
    assert time.monotonic() - began < SHORT + 10


def test_slow(street: Street) -> None:
    """A host that drips its greeting is given up at the deadline."""

    def drip() -> Iterator[bytes]:
        for letter in b"220-" + b"x" * 50:
            time.sleep(0.1)
            yield bytes([letter])

    assert street.probe(drip(), seconds=SHORT).steps[-1] in GIVEN_UP


@pytest.mark.parametrize(
    ("before", "fault"), [([b"220 "], "its greeting broke off"), (READY, "TLS failed: ")], ids=["SMTP", "TLS"]
)
def test_hangs_up(street: Street, before: list[bytes], fault: str) -> None:
    """A host that hangs up is told so, in SMTP and in TLS."""

    def hang_up() -> Iterator[bytes]:
        yield from before
        raise ConnectionError

    assert street.probe(hang_up()).steps[-1].startswith((fault, "the connection broke off"))


def test_does_not_listen() -> None:
    """Where no address answers each is told; no more than four are tried."""
    dead = ip_address("127.0.0.2")
    port = free_port()
    found = asyncio.run(probe(HOST, [dead] * 9, port, hello="gw.test", seconds=LONG))
    refused = f"127.0.0.2 port {port} cannot be reached: "
    assert all(step.startswith(refused) for step in found.steps[:-1])
    assert len(found.steps) == 5
    assert found.steps[-1] == "no address to knock at answers"
    nowhere = asyncio.run(probe(HOST, [], port, hello="gw.test", seconds=LONG))
    assert nowhere.steps == ("it has no address that may be connected to",)


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    """A wrong file of authorities is an error of the admin."""
    with pytest.raises(ConfigError, match=r"/no-ca\.pem: No such file"):
        asyncio.run(probe(HOST, [LOOPBACK], 1, hello="x", seconds=LONG, ca_file=str(tmp_path / "no-ca.pem")))
