"""A resolver that knows no name, and can fall silent."""

import threading
from contextlib import ExitStack

import dns.message
import dns.rcode

from lab.nameserver import NameServer


class FaultResolver:
    """Answers NXDOMAIN to every question, or nothing at all; `name` is its place as the settings spell it."""

    def __init__(self, stack: ExitStack) -> None:
        """Serve until the stack is left."""
        self._silent = threading.Event()
        self.name = stack.enter_context(NameServer(self._answer)).name

    def fall_silent(self) -> None:
        """Answer nothing any more."""
        self._silent.set()

    def speak(self) -> None:
        """Answer again."""
        self._silent.clear()

    def _answer(self, query: dns.message.Message, _by_tcp: bool) -> bytes | None:  # noqa: FBT001 - as it is called
        if self._silent.is_set():
            return None
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()
