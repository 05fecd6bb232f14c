"""
What certificate authorities publish: fetched from the URLs that certificates name.

Whoever made a certificate chose its URLs, so they are a stranger's.

Rules:
  * Only `http` on port 80 and `https` on port 443; other ports only where private addresses are allowed, which is
    for tests. No name and password in a URL.
  * Only addresses that `target` lets pass are connected to, also where the URL names an address itself.
  * No redirect is followed. What is fetched carries a signature of its own, so any media type counts.
"""

import asyncio
import re
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from gatepost.transport.https import PLAIN_PORT, PORT, Https, Request
from gatepost.transport.resolver import IpAddress, LookUpFailed, Resolver
from gatepost.transport.sts_fetch import Targets

_LONGEST = 2048  # characters of a URL
_PORTS = {"http": PLAIN_PORT, "https": PORT}
_URL = re.compile(r"[!-~]+").fullmatch  # a blank or a control could end the line of the request
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]").fullmatch
_OCSP = "application/ocsp-request"


class AuthorityWeb:
    """Fetches; may be used in several event loops. `close` it at the end."""

    def __init__(
        self, https: Https, open_resolver: Callable[[], Resolver], targets: Targets, *, any_port: bool = False
    ) -> None:
        """Take what gives a resolver for the event loop that runs."""
        self._https = https
        self._open_resolver = open_resolver
        self._targets = targets
        self._any_port = any_port

    def close(self) -> None:
        """Begin no more."""
        self._https.close()

    async def fetch(self, url: str, *, posted: bytes, most: int, seconds: float) -> bytes:
        """Fetch, or post an OCSP request, within `seconds`; of at most `most` octets. Raises LookUpFailed."""
        request = self._request(url, posted)
        try:
            async with asyncio.timeout(seconds):
                addresses = self._targets(await self._addresses(request.host))
                return await self._https.ask(request, addresses, seconds=seconds, most=most)
        except LookUpFailed as error:
            raise LookUpFailed(f"{request.url}: {error}") from error
        except TimeoutError:
            raise LookUpFailed(f"{request.url}: no complete answer within {seconds:g} s") from None

    def _request(self, url: str, posted: bytes) -> Request:
        if len(url) > _LONGEST or not _URL(url):
            raise LookUpFailed("a certificate names an URL that is too long or has blanks or controls")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise LookUpFailed(f"{url}: this is no URL") from None
        usual = _PORTS.get(parts.scheme)
        if usual is None:
            raise LookUpFailed(f"{url}: only http and https are asked")
        if not _HOST(parts.netloc.removesuffix(f":{port}")) or not parts.hostname:
            raise LookUpFailed(f"{url}: it names no host that is asked")
        if port not in {None, usual} and not self._any_port:
            raise LookUpFailed(f"{url}: only port {usual} is asked")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Request(
            parts.hostname,
            path,
            port or usual,
            tls=parts.scheme == "https",
            posted=posted,
            posted_type=_OCSP if posted else "",
        )

    async def _addresses(self, host: str) -> tuple[IpAddress, ...]:
        try:
            return (ip_address(host),)
        except ValueError:
            return (await self._open_resolver().addresses(host)).values
