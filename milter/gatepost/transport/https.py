"""
Small files from web hosts that nobody here chose: the host is hostile until its certificate says otherwise, and
may be hostile then.

Rules:
  * Only the addresses given are connected to; who gives them has checked them. Nothing is resolved here.
  * The certificate is checked against the system's authorities and `dns.https_ca_file`, its DNS names against the
    host's; TLS 1.2 at least. Without TLS is fetched only what carries a signature of its own.
  * Only status 200 with the type that was asked for counts. No redirect is followed (RFC 8461 section 3.3),
    nothing decompressed.
  * What is read ends at a cap, counted in octets. The host must say how long the body is: where the end of the
    connection alone ends it, an attacker on the way could shorten it.
  * One deadline holds for connecting, TLS, header and body together: then the connection is cut off, whatever call
    is waiting in it. A thread cannot be killed, but it cannot wait for a dead connection either.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from gatepost.transport import trust
from gatepost.transport.resolver import IpAddress, LookUpFailed

PORT = 443
PLAIN_PORT = 80
_MOST_ADDRESSES = 4  # a name with a thousand addresses must not make us knock at all of them
_THREADS = 32
_FIELDS = {"User-Agent": "gatepost", "Accept-Encoding": "identity", "Connection": "close"}
_TEXT = "text/plain"
_OK = 200


@dataclass(frozen=True, slots=True)
class Request:
    """
    What is asked of a web host.

    `path` is in ASCII, with its query; `accepts` is the one media type that an answer may have, empty: any;
    `posted` is sent by POST as `posted_type`.
    """

    host: str
    path: str
    port: int = PORT
    tls: bool = True
    accepts: str = ""
    posted: bytes = b""
    posted_type: str = ""

    @property
    def url(self) -> str:
        """The address, as people write it."""
        scheme, usual = ("https", PORT) if self.tls else ("http", PLAIN_PORT)
        return f"{scheme}://{self.host}{'' if self.port == usual else f':{self.port}'}{self.path}"


class Https:
    """Fetches; for one event loop at a time. `close` it at the end."""

    def __init__(self, ca_file: str = "", *, port: int = PORT, threads: int = _THREADS) -> None:
        """Take a PEM file of further authorities, or ""; raises ConfigError if it cannot be read."""
        self._context = trust.context(ca_file)
        self._port = port
        self._threads = ThreadPoolExecutor(threads, "https")

    def close(self) -> None:
        """Begin no more; what is under way ends by its deadline."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(
        self, host: str, path: str, addresses: Sequence[IpAddress], *, seconds: float, most: int
    ) -> bytes:
        """
        Fetch `https://HOST/PATH` within `seconds`, of at most `most` octets, from one of the addresses.

        Raises LookUpFailed with what went wrong, which is not what the host says about it.
        """
        request = Request(host, path, self._port, accepts=_TEXT)
        try:
            return await self.ask(request, addresses, seconds=seconds, most=most)
        except LookUpFailed as error:
            raise LookUpFailed(f"https://{host}{path}: {error}") from error

    async def ask(self, request: Request, addresses: Sequence[IpAddress], *, seconds: float, most: int) -> bytes:
        """
        Give what one of the addresses answers within `seconds`, of at most `most` octets.

        Raises LookUpFailed with what went wrong, which is not what the host says about it.
        """
        deadline = _Deadline(seconds)
        connection: HTTPConnection
        if request.tls:
            connection = _Tls(request, addresses, deadline, self._context)
        else:
            connection = _Plain(request, addresses, deadline)
        try:
            async with asyncio.timeout(seconds):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, _get, connection, request, most)
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise LookUpFailed(_fault(error, deadline)) from error
        finally:
            deadline.cut()  # also where the caller was told to wait no longer


class _RefusedError(ValueError):
    """The answer is not what was asked for; the text says why."""


class _Deadline:
    """Cuts a connection off at its time, from another thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._held: socket.socket | None = None
        self._cut = False

    @property
    def left(self) -> float:
        """The seconds that are left; not above 0: it is over."""
        return 0.0 if self._cut else self._ends - time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left <= 0

    def hold(self, connection: socket.socket) -> None:
        """Take charge of a connection; raises TimeoutError if it is over already."""
        with self._lock:
            if self.passed:
                raise TimeoutError
            self._held = connection.dup()  # the connection's own descriptor moves into its TLS wrapper

    def cut(self) -> None:
        """End it now."""
        with self._lock:
            self._cut = True
            if self._held is not None:
                with contextlib.suppress(OSError):
                    self._held.shutdown(socket.SHUT_RDWR)
                self._held.close()
                self._held = None


class _Plain(HTTPConnection):
    """A connection to one of the given addresses, which never asks DNS; the host's name goes into Host."""

    def __init__(self, request: Request, addresses: Sequence[IpAddress], deadline: _Deadline) -> None:
        super().__init__(request.host, request.port, timeout=deadline.seconds)
        self._connect = partial(_connected, addresses[:_MOST_ADDRESSES], request.port, deadline)

    def _new_conn(self) -> socket.socket:
        return self._connect()


class _Tls(HTTPSConnection):
    """The same with TLS; the host's name goes into SNI, too."""

    def __init__(
        self, request: Request, addresses: Sequence[IpAddress], deadline: _Deadline, context: ssl.SSLContext
    ) -> None:
        super().__init__(request.host, request.port, ssl_context=context, timeout=deadline.seconds)
        self._connect = partial(_connected, addresses[:_MOST_ADDRESSES], request.port, deadline)

    def _new_conn(self) -> socket.socket:
        return self._connect()


def _connected(addresses: Sequence[IpAddress], port: int, deadline: _Deadline) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time that is left."""
    fault: OSError = ConnectionError("it has no address that may be connected to")
    for tried, address in enumerate(addresses):
        left = deadline.left
        if left <= 0:
            raise TimeoutError
        try:
            connected = socket.create_connection((str(address), port), left / (len(addresses) - tried))
        except OSError as error:
            fault = error
            continue
        connected.settimeout(deadline.seconds)
        try:
            deadline.hold(connected)
        except OSError:
            connected.close()
            raise
        return connected
    raise fault


def _get(connection: HTTPConnection, request: Request, most: int) -> bytes:
    """Fetch; runs in a thread."""
    fields = _FIELDS | ({"Accept": request.accepts} if request.accepts else {})
    if request.posted:
        fields["Content-Type"] = request.posted_type
    with contextlib.closing(connection):
        connection.request(
            "POST" if request.posted else "GET",
            request.path,
            body=request.posted or None,
            headers=fields,
            preload_content=False,
            decode_content=False,
        )
        with contextlib.closing(connection.getresponse()) as response:
            _check(response, request.accepts)
            return _body(response, most)


def _check(response: BaseHTTPResponse, accepts: str) -> None:
    """Refuse every answer but one of that type in full."""
    if response.status != _OK:
        redirected = response.status in range(300, 400)
        raise _RefusedError(
            f"it answered {response.status}{', and no redirect is followed' if redirected else ''}"
        )
    types = response.headers.getlist("Content-Type")
    if accepts and [kind.partition(";")[0].strip().lower() for kind in types] != [accepts]:
        raise _RefusedError(f"its answer is not of type {accepts}")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise _RefusedError("its answer is compressed, which was not asked for")
    length, chunked = response.headers.get("Content-Length", ""), response.headers.get("Transfer-Encoding")
    if not (chunked.lower() == "chunked" if chunked else length.isascii() and length.isdigit()):
        raise _RefusedError("its answer does not tell its length")


def _body(response: BaseHTTPResponse, most: int) -> bytes:
    body = b""
    while part := response.read(most + 1 - len(body)):
        body += part
        if len(body) > most:
            raise _RefusedError(f"its answer is longer than {most} octets")
    return body


def _fault(error: Exception, deadline: _Deadline) -> str:
    """Tell what went wrong in our own words."""
    if isinstance(error, _RefusedError):
        return str(error)
    if deadline.passed or isinstance(error, TimeoutError):
        return f"no complete answer within {deadline.seconds:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'the connection ended'}"
    if isinstance(error, OSError) and not isinstance(error, HTTPException):
        return f"it cannot be reached: {error.strerror or error}"
    return "its answer is no HTTP, or broke off"
