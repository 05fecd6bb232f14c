"""
What is measured: filters, each behind a private Postfix of its own with the same settings, on the same host.

All stand ready for the whole run and one at a time gets mail, so that what disturbs the host disturbs all alike.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.place import note
from lab.postfix import Postfix
from lab.wait import until

from bench.gatepost_site import GatepostUnderTest
from bench.mail import INSIDE
from bench.receiver import Receiver

PLAIN = "elsewhere.test"
_SAMPLE = "sample."  # before a domain: the same, but the receiver keeps what it gets


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A partner's domain, the key that is made for it (`gatepost_site`), and the media type of what it gets."""

    domain: str
    key: str
    media: bytes


ENCRYPTED = {
    "gatepost-openpgp": Encrypted("clinic.test", "openpgp", b"multipart/encrypted"),
    "gatepost-smime": Encrypted("surgery.test", "p256", b"application/pkcs7-mime"),
    "gatepost-smime-rsa": Encrypted("ward.test", "rsa", b"application/pkcs7-mime"),
}


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of the table: mail for `domain` through `postfix`, and the processes of the filter behind it."""

    name: str
    postfix: Postfix
    domain: str
    roots: tuple[int, ...] = ()
    gatepost: GatepostUnderTest | None = None

    @property
    def encrypted(self) -> Encrypted | None:
        """The partner, where the mail is encrypted."""
        return ENCRYPTED.get(self.name)

    @property
    def sample_domain(self) -> str:
        """The domain of the messages that are looked at."""
        return _SAMPLE + self.domain


NAMES = ("postfix", "noop", "opendkim", "gatepost-pass", *ENCRYPTED)


@contextmanager
def standing(folder: Path, receiver: Receiver, wanted: Sequence[str]) -> Iterator[list[Variant]]:
    """Start what the wanted variants need; stopped at the end."""
    with ExitStack() as stack:
        variants = []
        if "postfix" in wanted:
            variants.append(Variant("postfix", stack.enter_context(_postfix(folder, "alone", receiver)), PLAIN))
        if "noop" in wanted:
            milter = folder / "noop.sock"
            pid = stack.enter_context(_daemon([sys.executable, "-m", "bench.noop_milter", str(milter)], milter))
            behind = stack.enter_context(_postfix(folder, "noop", receiver, milter))
            variants.append(Variant("noop", behind, PLAIN, (pid,)))
        if "opendkim" in wanted:
            milter = folder / "dkim.sock"
            pid = stack.enter_context(_daemon(_opendkim(folder, milter), milter))
            behind = stack.enter_context(_postfix(folder, "dkim", receiver, milter))
            variants.append(Variant("opendkim", behind, PLAIN, (pid,)))
        if any(name.startswith("gatepost") for name in wanted):
            behind = stack.enter_context(_postfix(folder, "gatepost", receiver))
            keys = {start + one.domain: one.key for one in ENCRYPTED.values() for start in ("", _SAMPLE)}
            gatepost = stack.enter_context(GatepostUnderTest(folder, behind, keys=keys))
            domains = {"gatepost-pass": PLAIN, **{name: one.domain for name, one in ENCRYPTED.items()}}
            variants += [
                Variant(name, behind, domain, (gatepost.pid,), gatepost)
                for name, domain in domains.items()
                if name in wanted
            ]
        yield variants


def _postfix(folder: Path, name: str, receiver: Receiver, milter: Path | None = None) -> Postfix:
    domains = (PLAIN, *(one.domain for one in ENCRYPTED.values()))
    routes = dict.fromkeys(domains, receiver.port)
    routes |= {_SAMPLE + domain: receiver.sample_port for domain in domains}
    settings = {"smtpd_milters": f"unix:{milter}", "milter_default_action": "tempfail"} if milter else {}
    return Postfix(folder / f"postfix-{name}", hostname=f"{name}.{INSIDE}", routes=routes, settings=settings)


@contextmanager
def _daemon(command: Sequence[str], milter: Path) -> Iterator[int]:
    """Run a filter until the end; its socket takes connections when this begins."""
    log = milter.with_suffix(".log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=Path.cwd())
    note("group", process.pid)
    try:
        until(lambda: _answers(milter), 20, f"{command[0]} answers at {milter}; see {log.name}")
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        note("ended", process.pid)
        log.close()


def _answers(milter: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(milter)) == 0


def _opendkim(folder: Path, milter: Path) -> list[str]:
    """Configure OpenDKIM to sign with RSA, 2048 bits, as Debian's package does, and give its command."""
    key = folder / "dkim.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    key.chmod(0o600)
    configuration = folder / "opendkim.conf"
    configuration.write_text(
        f"Mode s\nDomain {INSIDE}\nSelector bench\nKeyFile {key}\nSocket local:{milter}\nUMask 000\n"
        "Canonicalization relaxed/simple\nSyslog no\nInternalHosts 127.0.0.1\nOversignHeaders From\n"
        "RequireSafeKeys no\n"  # the folder lies below /tmp
    )
    return ["opendkim", "-f", "-x", str(configuration)]
