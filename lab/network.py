"""
A network of machines: namespaces on one bridge, with addresses that look public and no way out.

The bridge lies in a namespace of its own, so nothing of it is seen on the host. What goes over the wire to and
from one machine can be watched.
"""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.namespace import Namespace
from lab.wire import Wire


class Network:
    """The network. Use it as a context manager; machines and wires end with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._hub = Namespace("hub")
        self._numbers = itertools.count(1)
        self._ports: dict[str, str] = {}

    def machine(self, name: str, *addresses: str, resolv_conf: Path | None = None) -> Namespace:
        """Make a machine with these addresses, each with its prefix length, on the network."""
        machine = self._stack.enter_context(Namespace(name, resolv_conf))
        port = f"port{next(self._numbers)}"
        self._ports[name] = port
        self._hub.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid))
        self._hub.run("ip", "link", "set", port, "master", "bridge", "up")
        add_addresses(machine, addresses)
        machine.run("ip", "link", "set", "eth0", "up")
        return machine

    def wire(self, name: str) -> Wire:
        """Watch what goes over the wire to and from a machine."""
        return self._stack.enter_context(Wire(self._hub, self._ports[name]))

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self._hub)
            self._hub.run("ip", "link", "add", "bridge", "type", "bridge", "stp_state", "0")
            self._hub.run("ip", "link", "set", "bridge", "up")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def add_addresses(machine: Namespace, addresses: Sequence[str]) -> None:
    """Give a machine more addresses, each with its prefix length."""
    lines = "".join(f"address add {address} dev eth0\n" for address in addresses)
    machine.run("ip", "-batch", "-", data=lines)
