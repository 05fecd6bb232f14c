"""A DNS server on loopback that answers as a test says, honest or not, over UDP and TCP on one port."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from lab.place import free_port

Answer = bytes | None
"""What goes back as it is; None: nothing does."""


class NameServer:
    """Use it as a context manager; `answer(query, by_tcp)` says what each question gets."""

    def __init__(self, answer: Callable[[dns.message.Message, bool], Answer], address: str = "127.0.0.1") -> None:
        """Bind both sockets; nothing is answered before the server is entered."""
        self.asked: list[str] = []
        self._answer = answer
        self.port = free_port()
        self.name = f"{address}#{self.port}"
        place = (address, self.port)
        family = {"address_family": socket.AF_INET6 if ":" in address else socket.AF_INET}
        self._servers: tuple[socketserver.BaseServer, ...] = (
            type("Datagrams", (_Datagrams,), family)(place, self._handler(_Datagram)),
            type("Streams", (_Streams,), family)(place, self._handler(_Stream)),
        )

    def _handler(self, base: "type[_Datagram | _Stream]") -> "type[_Datagram | _Stream]":
        return type(base.__name__, (base,), {"reply": staticmethod(self._reply)})

    def _reply(self, wire: bytes, by_tcp: bool) -> Answer:  # noqa: FBT001 - UDP or TCP
        query = dns.message.from_wire(wire)
        question = query.question[0]
        self.asked.append(f"{question.rdtype.name} {question.name.to_text(omit_final_dot=True)}{' TCP' * by_tcp}")
        return self._answer(query, by_tcp)

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Datagrams(socketserver.ThreadingUDPServer):
    daemon_threads = True


class _Streams(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Datagram(socketserver.BaseRequestHandler):
    reply: Callable[[bytes, bool], Answer]

    def handle(self) -> None:
        wire, back = self.request
        answer = self.reply(wire, False)
        if answer is not None:
            back.sendto(answer, self.client_address)


class _Stream(socketserver.BaseRequestHandler):
    reply: Callable[[bytes, bool], Answer]

    def handle(self) -> None:
        connection: socket.socket = self.request
        with contextlib.suppress(OSError):
            length = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
            answer = self.reply(connection.recv(length, socket.MSG_WAITALL), True)
            if answer is not None:
                connection.sendall(len(answer).to_bytes(2, "big") + answer)


def response(
    query: dns.message.Message,
    *records: str,
    authority: tuple[str, ...] = (),
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    vouched: bool = False,
) -> dns.message.Message:
    """Make an honest answer of records such as `mx.example. 300 IN A 192.0.2.1`; `vouched` sets AD."""
    answer = dns.message.make_response(query, recursion_available=True)
    answer.set_rcode(rcode)
    answer.flags |= dns.flags.AD if vouched else 0
    for section, texts in ((answer.answer, records), (answer.authority, authority)):
        for text in texts:
            name, seconds, _, kind, rest = text.split(" ", 4)
            rrset = dns.rrset.from_text(name, int(seconds), "IN", kind, rest)
            same = next((known for known in section if known.match(rrset.name, 1, rrset.rdtype, 0)), None)
            if same is None:
                section.append(rrset)
            else:
                same.update(rrset)  # type: ignore[no-untyped-call]
    return answer
