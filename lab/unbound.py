"""A private unbound: a resolver that validates, for zones that a test makes; it knows nothing of other names."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from lab.dnszone import Zone
from lab.namespace import Namespace, command_in
from lab.place import free_port, note
from lab.wait import until

_CONFIGURATION = """\
server:
    interface: 127.0.0.1@{port}
    do-ip6: no
    num-threads: 1
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    log-servfail: yes
    val-log-level: 2
    module-config: "validator iterator"
    qname-minimisation: no
    trust-anchor: "{anchor}"
    local-zone: "{top}." nodefault
remote-control:
    control-enable: no
"""
_ZONE = """\
auth-zone:
    name: "{name}."
    zonefile: "{file}"
    for-downstream: no
    for-upstream: yes
    fallback-enabled: no
"""


class Unbound:
    """
    One resolver on 127.0.0.1. Use it as a context manager, or call `start` and `stop`.

    The first zone is the top, whose key is the trust anchor. `within` is the machine on which it runs; its port is
    one that was free unless it is given.
    """

    def __init__(
        self, folder: Path, zones: Sequence[Zone], *, port: int | None = None, within: Namespace | None = None
    ) -> None:
        self.folder = folder
        self.zones = tuple(zones)
        self.port = port or free_port()
        self.within = within
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start and wait until it answers for every zone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        top = self.zones[0]
        parts = [
            _CONFIGURATION.format(
                port=self.port, folder=self.folder, anchor=f"{top.name}. IN DS {top.ds}", top=top.name
            )
        ]
        parts += [_ZONE.format(name=zone.name, file=self._file(zone)) for zone in self.zones]
        configuration = self.folder / "unbound.conf"
        configuration.write_text("".join(parts))
        self._write_zones()
        with (self.folder / "unbound.log").open("ab") as log:
            self._process = subprocess.Popen(
                command_in(self.within, ["unbound", "-d", "-c", str(configuration)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        note("group", self._process.pid)
        self._wait_for_zones()
        return self

    def publish(self) -> None:
        """Let it answer from the zones as they are now, and forget what it knew."""
        self._write_zones()
        self._signal(signal.SIGHUP)
        self._wait_for_zones()

    def pause(self) -> None:
        """Answer nothing until `go_on`; questions are kept."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        note("ended", process.pid)

    def ask(self, name: str, kind: str, timeout: float = 2) -> dns.message.Message:
        """Ask as a validating client does: with DO (RFC 4035 section 3.2.1)."""
        question = dns.message.make_query(name, kind, want_dnssec=True)
        if self.within is None:
            return dns.query.udp(question, "127.0.0.1", timeout, self.port)
        return self.within.call(lambda: dns.query.udp(question, "127.0.0.1", timeout, self.port))

    def log(self) -> str:
        """Give all that it has written."""
        return (self.folder / "unbound.log").read_text(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("unbound is not started")
        os.kill(self._process.pid, number)

    def _file(self, zone: Zone) -> Path:
        return self.folder / f"{zone.name}.zone"

    def _write_zones(self) -> None:
        for zone in self.zones:
            self._file(zone).write_text(zone.text())

    def _wait_for_zones(self) -> None:
        for zone in self.zones:
            until(
                lambda zone=zone: self._serves(zone),  # type: ignore[misc]
                30,
                lambda zone=zone: f"unbound serves {zone.name}; it said:\n{self.log()[-3000:]}",  # type: ignore[misc]
            )

    def _serves(self, zone: Zone) -> bool:
        """Tell whether it knows the newest version of a zone, or refuses it as bogus."""
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"unbound ended at once; it said:\n{self.log()[-3000:]}")
        try:
            answer = self.ask(f"{zone.name}.", "SOA", timeout=0.3)
        except (OSError, dns.exception.Timeout):
            return False
        return zone.state == "bogus" or any(
            record.serial == zone.serial
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.SOA
            for record in rrset
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
