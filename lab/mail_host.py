"""
A machine whose real Postfix takes anybody's mail at port 25 of several addresses, each with a face of its own.

What it takes it hands on to a sink on the same machine, with the field `Received` that it wrote on top: that tells
at which door the mail came, and through what TLS.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.certificate import ServerCertificate
from lab.namespace import Namespace
from lab.postfix import Postfix
from lab.sink import Received, Sink

_ANYBODY = "0.0.0.0/0"
_SETTINGS = {
    "mynetworks": _ANYBODY,
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_tls_received_header": "yes",
    "smtpd_tls_loglevel": "1",
    "inet_interfaces": "all",
}


@dataclass(frozen=True, slots=True)
class Door:
    """One address with the name that it greets with; without a certificate it does not offer STARTTLS."""

    name: str
    address: str
    certificate: ServerCertificate | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that came in at a door; `tls` is what its Postfix wrote of TLS, empty for mail in clear."""

    door: str
    tls: str
    message: Received


class MailHost:
    """The machine's mail server. Use it as a context manager."""

    def __init__(self, folder: Path, machine: Namespace, doors: Sequence[Door]) -> None:
        self.doors = tuple(doors)
        self._sink = Sink(name="mailbox", within=machine)
        routes = {"*": self._sink.port}
        self.postfix = Postfix(folder, hostname=doors[0].name, routes=routes, settings=_SETTINGS, within=machine)
        with (self.postfix.config_dir / "master.cf").open("a") as master:
            master.write("".join(_service(door) for door in doors))

    def open(self, door: Door) -> None:
        """Give the door of that address another face, on every connection from now on; `doors` stay as made."""
        self.postfix.stop()  # only a process that was started anew has read the certificate anew
        for name, value in _options(door).items():
            self.postfix.configure(f"{door.address}:25/inet/{name}={value}")
        self.postfix.start()

    def arrivals(self) -> list[Arrival]:
        """Give what came, in order."""
        return [_arrival(message) for message in self._sink.messages]

    def wait_for(self, recipient: str, timeout: float = 30) -> Arrival:
        """Wait until mail for a recipient came, and give it; raise TimeoutError if none comes."""
        messages = self._sink.wait_for_recipients([recipient], timeout)
        return next(_arrival(message) for message in messages if recipient in message.addresses)

    def __enter__(self) -> Self:
        self._sink.start()
        self.postfix.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.postfix.stop()
        self._sink.stop()


def _service(door: Door) -> str:
    options = "".join(f"    -o {name}={value}\n" for name, value in _options(door).items())
    return f"{door.address}:25 inet n - n - 20 smtpd\n{options}"


def _options(door: Door) -> dict[str, str]:
    certificate = door.certificate
    return {
        "myhostname": door.name,
        "smtpd_tls_security_level": "may" if certificate else "none",
        "smtpd_tls_chain_files": f"{certificate.key},{certificate.file}" if certificate else "",
    }


def _arrival(message: Received) -> Arrival:
    """Read the topmost field `Received`: `from ... (using TLSv1.3 with cipher ...) ... by NAME (Postfix) ...`."""
    field = message.values("Received")[0]
    came = re.search(r"\sby (\S+) \(", field)
    tls = re.search(r"\(using (TLS\S+ with cipher \S+)", field)
    if came is None:
        raise ValueError(f"no Postfix wrote this: {field!r}")
    return Arrival(came[1], tls[1] if tls else "", message)
