"""
Sends a batch over parallel SMTP sessions, each kept open for many messages.

A program of its own (`python -m bench.sender PORT BATCH COUNT SIZE DOMAIN SAMPLE_DOMAIN SESSIONS`), so that its
work does not hold up who measures. Messages are made before the first is sent; commands are pipelined (RFC 2920).
Prints when it began, on the clock `time.monotonic`, which is one for all processes.
"""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bench.mail import INSIDE, is_sample, message, recipient


@dataclass(frozen=True, slots=True)
class Letter:
    """One message, ready to be sent."""

    envelope: bytes
    content: bytes


def letters(batch: str, count: int, size: int, domain: str, sample_domain: str) -> list[Letter]:
    """Make a batch; an octet count that needs no dots stuffed: Base64 has none."""
    made = []
    for number in range(count):
        target = sample_domain if is_sample(number, count) else domain
        to = recipient(number, target)
        envelope = f"MAIL FROM:<ann@{INSIDE}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode()
        made.append(Letter(envelope, message(batch, number, size, target) + b".\r\n"))
    return made


def _expect(replies: BinaryIO, code: bytes) -> None:
    while True:
        line = replies.readline()
        if line[3:4] != b"-":
            break
    if not line.startswith(code):
        raise RuntimeError(f"the mail server answered {line!r}, not {code!r}")


def _session(port: int, waiting: Iterator[Letter]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies = connection.makefile("rb")
        _expect(replies, b"220")
        connection.sendall(b"EHLO client.hosp.test\r\n")
        _expect(replies, b"250")
        for letter in waiting:
            connection.sendall(letter.envelope)
            _expect(replies, b"250")
            _expect(replies, b"250")
            _expect(replies, b"354")
            connection.sendall(letter.content)
            _expect(replies, b"250")
        connection.sendall(b"QUIT\r\n")
        _expect(replies, b"221")


def main() -> None:
    """Send as told; a session that fails shows, since its messages are missing at the receiver."""
    port, batch, count, size, domain, sample_domain, sessions = sys.argv[1:]
    waiting = iter(letters(batch, int(count), int(size), domain, sample_domain))
    threads = [threading.Thread(target=_session, args=(int(port), waiting)) for _ in range(int(sessions))]
    print(time.monotonic(), flush=True)  # noqa: T201 - this is what it is asked for
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
