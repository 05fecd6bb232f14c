"""
An HTTPS host that serves MTA-STS policies, well or badly, as a JSON file says.

The file maps a host name to what it does, and is read anew for each connection, so that it may change while the
host runs:

    {"mta-sts.p.test": {"certificate": "/x.pem", "key": "/x.key", "how": "answers", "policy": "version: STSv1..."}}

`how` is a name of HOW; without it the host answers. A name that is not in the file is cut off before its handshake
ends. Every name is served from one port, told apart by SNI.

    python -m lab.policy_host FILE [--address 0.0.0.0] [--port 443]

prints `ready` once it listens, and serves until it is killed.
"""

import argparse
import contextlib
import gzip
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

from lab.certificate import ServerCertificate

_WELL_KNOWN = b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"
_LONG = 200_000  # octets
_PATIENCE = 120  # seconds that a bad host keeps a client


def _head(status: str = "200 OK", *fields: str, kind: str = "text/plain; charset=utf-8") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *fields, "", ""]).encode()


def _whole(body: bytes, *fields: str, status: str = "200 OK", kind: str = "text/plain; charset=utf-8") -> bytes:
    return _head(status, f"Content-Length: {len(body)}", *fields, kind=kind) + body


def _slowly(parts: Iterable[bytes], pause: float = 0.1) -> Iterator[bytes]:
    for part in parts:
        yield part
        time.sleep(pause)


def _letters(octets: bytes) -> Iterator[bytes]:
    return (octets[place : place + 1] for place in range(len(octets)))


_ENDLESS = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"

HOW: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "answers": lambda policy: [_whole(policy)],
    "answers in chunks": lambda policy: [
        _head("200 OK", "Transfer-Encoding: chunked"),
        b"%x;x=y\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(policy), policy),
    ],
    "redirects": lambda policy: [_whole(policy, "Location: /elsewhere", status="301 Moved Permanently")],
    "found": lambda policy: [_whole(policy, "Location: /elsewhere", status="302 Found")],
    "missing": lambda policy: [_whole(policy, status="404 Not Found")],
    "broken": lambda policy: [_whole(policy, status="500 Internal Server Error")],
    "partial": lambda policy: [_whole(policy, status="206 Partial Content")],
    "long": lambda policy: [_whole(policy + b"x: " + b"y" * _LONG + b"\n")],
    "lies about its length": lambda policy: [_head("200 OK", "Content-Length: 100"), policy * 1000],
    "endless": lambda policy: itertools.chain(
        [_head("200 OK", "Transfer-Encoding: chunked"), b"%x\r\n%b\r\n" % (len(policy), policy)],
        itertools.repeat(_ENDLESS),
    ),
    "endless chunk size": lambda _: itertools.chain(
        [_head("200 OK", "Transfer-Encoding: chunked")], itertools.repeat(b"0" * 4096)
    ),
    "endless header": lambda _: itertools.chain([b"HTTP/1.1 200 OK\r\nX: "], itertools.repeat(b"y" * 4096)),
    "endless headers": lambda _: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X: y\r\n" * 100)),
    "endless continue": lambda _: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips": lambda policy: _slowly(_letters(_whole(policy + b"x: " + b"y" * 10_000))),
    "drips headers": lambda policy: _slowly(_letters(_head("200 OK", "X: " + "y" * 10_000) + policy)),
    "stalls": lambda _: _slowly([b"HTTP/1.1 200 OK\r\n"], _PATIENCE),
    "html": lambda policy: [_whole(policy, kind="text/html")],
    "two types": lambda policy: [_whole(policy, "Content-Type: text/html")],
    "no type": lambda policy: [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(policy), policy)],
    "gzip": lambda policy: [_whole(gzip.compress(policy), "Content-Encoding: gzip")],
    "cut short": lambda policy: [_head("200 OK", f"Content-Length: {len(policy) + 1}"), policy],
    "no length": lambda policy: [_head(), policy],
    "no http": lambda policy: [policy],
    "nothing": lambda _: [],
}
"""What a host may do with its policy, as the octets that it sends after a request."""


class PolicyHost:
    """Serves until closed; the port is one that was free unless it is given."""

    def __init__(self, file: Path, address: str = "127.0.0.1", port: int = 0) -> None:
        self.file = file
        self.requests: list[str] = []
        six = ":" in address
        self._listener = socket.create_server(
            (address, port), family=socket.AF_INET6 if six else socket.AF_INET, backlog=64, dualstack_ipv6=six
        )
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def wait(self) -> None:
        """Wait until it is closed."""
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        """Shake hands, read one request, do what the file says."""
        asked: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = lambda connection, name, _: self._choose(connection, name, asked)
        client.settimeout(_PATIENCE)
        with client, contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as connection:
            request = b""
            while b"\r\n\r\n" not in request and (part := connection.recv(4096)):
                request += part
            site = sites(self.file)[asked[0]]
            self.requests.append(f"{asked[0]} {request.decode('ascii', 'replace')}")
            how = "missing" if not request.startswith(_WELL_KNOWN) else site.get("how", "answers")
            for part in HOW[how](site.get("policy", "").encode()):
                connection.sendall(part)
            connection.unwrap()

    def _choose(self, connection: ssl.SSLObject, name: str | None, asked: list[str]) -> int | None:
        site = sites(self.file).get(name or "")
        if site is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        asked.append(name or "")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(site["certificate"], site["key"])
        connection.context = context
        return None


def sites(file: Path) -> dict[str, dict[str, str]]:
    """Read what each host name does; a file that is being written is read once more."""
    for _ in range(100):
        with contextlib.suppress(ValueError):
            found: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
            return found
        time.sleep(0.01)
    raise ValueError(f"{file} is no JSON")


def put_site(
    file: Path, name: str, certificate: ServerCertificate, how: str = "answers", policy: str = ""
) -> None:
    """Have a host name do something from now on."""
    known = sites(file) if file.exists() else {}
    known[name] = {"certificate": str(certificate.file), "key": str(certificate.key), "how": how, "policy": policy}
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(known), encoding="utf-8")
    draft.replace(file)


def main() -> None:
    """Serve from the command line."""
    parser = argparse.ArgumentParser(prog="python -m lab.policy_host", description="Serve MTA-STS policies.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--address", default="0.0.0.0")  # noqa: S104 - it runs in a network of its own
    parser.add_argument("--port", type=int, default=443)
    given = parser.parse_args()
    with PolicyHost(given.file, given.address, given.port) as host:
        print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
        host.wait()


if __name__ == "__main__":
    main()
