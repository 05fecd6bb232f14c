"""
postfix-mta-sts-resolver, run beside our own policy service over the same made-up world.

    python -m lab.mta_sts_daemon FILE

reads a JSON file, prints `ready` once it listens, and serves until it is killed:

    {"path": "/x.sock", "cache": {"type": "internal", "options": {}}, "dns": 5300, "https": 8443, "ca": "/ca.pem",
     "known": {"p.test": ["mx.p.test"]}}

Its own classes do all the work. Its settings name neither resolver nor HTTPS port nor authority, so a subclass
asks DNS at `dns` on loopback, and HTTPS goes to `https` on loopback, whatever the host's address, with the
certificates that `ca` trusts. `known` are domains, with the mail hosts of their policy, that are in its cache from
the start.
"""

import asyncio
import json
import socket
import ssl
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiodns
import aiohttp
import aiohttp.abc
from postfix_mta_sts_resolver import resolver, responder, utils  # type: ignore[import-untyped]
from postfix_mta_sts_resolver.base_cache import CacheEntry  # type: ignore[import-untyped]

_MAX_AGE = 604_800  # seconds
_GRACE = 60  # seconds, its default: for so long it does not ask DNS again


def resolver_class(port: int) -> type[Any]:
    """Give its resolver, asking DNS at a port on loopback."""

    class Resolver(resolver.STSResolver):  # type: ignore[misc]
        def __init__(self, *, timeout: float, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(timeout=timeout, loop=loop)
            self._resolver = aiodns.DNSResolver(
                nameservers=["127.0.0.1"], loop=loop, timeout=timeout, udp_port=port, tcp_port=port
            )

    return Resolver


class _Loopback(aiohttp.abc.AbstractResolver):
    """Every host name is at one port on loopback."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        del port, family
        return [
            aiohttp.abc.ResolveResult(
                hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        return None


def http_library(port: int, authorities: str) -> SimpleNamespace:
    """Give what its resolver uses of aiohttp, its sessions going to a port on loopback."""

    def session(loop: asyncio.AbstractEventLoop, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=authorities)
        connector = aiohttp.TCPConnector(resolver=_Loopback(port), ssl=context)
        return aiohttp.ClientSession(connector=connector, loop=loop, timeout=timeout)

    return SimpleNamespace(ClientSession=session, ClientTimeout=aiohttp.ClientTimeout, helpers=aiohttp.helpers)


async def _serve(world: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    settings = utils.populate_cfg_defaults({"path": world["path"], "mode": 0o666, "cache": world["cache"]})
    responder.STSResolver = resolver_class(world["dns"])
    if world.get("https"):
        resolver.aiohttp = http_library(world["https"], world["ca"])
    cache = utils.create_cache(settings["cache"]["type"], settings["cache"]["options"])
    await cache.setup()
    for domain, hosts in world.get("known", {}).items():
        body = {"version": "STSv1", "mode": "enforce", "mx": hosts, "max_age": _MAX_AGE}
        await cache.set(domain, CacheEntry(time.time(), "1", body))
    settings["cache_grace"] = world.get("grace", _GRACE)
    await responder.STSSocketmapResponder(settings, loop, cache).start()
    print("ready", flush=True)  # noqa: T201 - for whoever started it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
