"""
The checks of the host and of the site's files and sockets.

Each function yields findings; none changes anything, and none raises for what it was made to find. The checks of
Postfix stand in `postfix.checks`.
"""

import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib import metadata
from pathlib import Path

from cryptography import x509

from gatepost.crypto.chain import expired
from gatepost.errors import ConfigError
from gatepost.gateway.expiring import Ending
from gatepost.mta.finding import Finding, fail, ok, trial, warn
from gatepost.mta.postfix import postconf
from gatepost.transport import netstring
from gatepost.transport.netstring import NetstringError

_OLDEST_POSTFIX = (3, 4)  # smtpd_tls_chain_files
_OLDEST_FOR_REPORTS = (3, 10)
_OLDEST_GPG = (2, 2, 8)  # refuses messages without integrity protection
_OLDEST_PYMILTER = (1, 0, 5)
_OLDEST_PYTHON = (3, 11)
_LITTLE_SPACE = 1 << 30
_TOO_LITTLE_SPACE = 100 << 20
_PATIENCE = 5.0  # seconds
_MOST = 10_000  # octets of an answer
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def host_checks(gpg: str) -> Iterator[Finding]:
    """Check the versions of what Gatepost stands on. `gpg` is the program's name or path."""
    yield _version("Python", sys.version.split()[0], _OLDEST_PYTHON)
    try:
        yield _version("Postfix", postconf.version(), _OLDEST_POSTFIX)
    except ConfigError as error:
        yield fail("Postfix", str(error))
    yield _version("GnuPG", _gpg_version(gpg), _OLDEST_GPG)
    try:
        yield _version("pymilter", metadata.version("pymilter"), _OLDEST_PYMILTER)
    except metadata.PackageNotFoundError:
        yield fail("pymilter is not installed", "install it with Gatepost: pip install gatepost")


def _version(name: str, found: str, oldest: tuple[int, ...]) -> Finding:
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[: len(oldest)])
    wanted = ".".join(map(str, oldest))
    if numbers >= oldest:
        return ok(f"{name} {found}")
    return fail(f"{name} {found or 'not found'}", f"install {name} {wanted} or later")


def _gpg_version(gpg: str) -> str:
    try:
        done = subprocess.run([gpg, "--version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].rpartition(" ")[2]


def secret_checks(directory: Path) -> Iterator[Finding]:
    """Check that nobody but their owner reads the secrets."""
    try:
        files = [file for file in sorted(directory.iterdir()) if file.suffix != ".pub"]
    except OSError as error:
        yield fail(f"secrets in {directory}", f"{error.strerror}: `gatepost init` makes them")
        return
    open_to_others = [file for file in files if file.stat().st_mode & _OTHERS]
    for file in open_to_others:
        yield fail(f"{file} is open to others", f"chmod 600 {file}", partial(file.chmod, 0o600))
    if not open_to_others:
        yield ok(f"secrets in {directory} are their owner's alone")


def authority_checks(
    name: str, file: str, read: Callable[[], Sequence[x509.Certificate]], now: datetime
) -> Iterator[Finding]:
    """Check that a file of authorities, if one is set, can be read, and that none of them has expired."""
    if not file:
        return
    try:
        found = read()
    except ConfigError as error:
        yield fail(f"authorities of {name}", str(error))
        return
    gone = expired(found, now)
    for one in gone:
        yield warn(f"{name} {file}: {one}", "put the authority's new certificate there, or take this one out")
    if not gone:
        yield ok(f"{name} {file}: {len(found)} certificates")


def ending_checks(endings: Sequence[Ending], now: datetime) -> Iterator[Finding]:
    """Tell of keys and certificates in use that expire soon, or did."""
    for one in endings:
        verb = "expires" if one.expires > now else "expired"
        yield warn(f"{one.what} ({one.fingerprint[-16:]}) {verb} on {one.expires:%Y-%m-%d}", one.remedy())
    if not endings:
        yield ok("no key or certificate in use expires soon")


def folder_checks(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Check that there is room where messages are kept. `folders` maps a name to a directory."""
    for name, folder in folders.items():
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            yield fail(f"{name} {folder}", f"{error.strerror}: make the directory and give it to Gatepost's user")
            continue
        what = f"{name} {folder}: {free >> 20} MiB free"
        if free < _TOO_LITTLE_SPACE:
            yield fail(what, "make room: without it mail is put off")
        elif free < _LITTLE_SPACE:
            yield warn(what, "make room before it runs out")
        else:
            yield ok(what)


def service_checks(sockets: Mapping[str, str]) -> Iterator[Finding]:
    """Check that the services answer. `sockets` maps a service's name to `unix:/path` or `inet:PORT@HOST`."""
    for name, address in sockets.items():
        yield from trial(f"service {name} at {address}", partial(_connect, address, name))


def policy_check(spelled: str) -> Finding:
    """Check that the policy service at `unix:/path` answers; to this question it does so without any look-up."""
    what = "the policy service answers"
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PATIENCE)
            probe.connect(spelled.removeprefix("unix:"))
            probe.sendall(netstring.encoded(b"doctor question"))
            received = b""
            while netstring.take(received, 0, _MOST) is None:
                piece = probe.recv(_MOST)
                if not piece:
                    raise ConnectionError("it hung up")
                received += piece
    except (OSError, NetstringError) as error:
        remedy = "start `gatepost run policy` again: until it answers, mail that needs TLS is put off"
        return fail(f"{what} not: {error}", remedy)
    return ok(what)


def report_checks(*, reports: bool) -> Iterator[Finding]:
    """Check that Postfix knows what `[policy] tlsrpt` adds to a policy; `reports` tells whether that is set."""
    try:
        found = postconf.version() if reports else ""
    except ConfigError:  # another check says so
        found = ""
    if not found:
        return
    if tuple(int(number) for number in re.findall(r"\d+", found)) >= _OLDEST_FOR_REPORTS:
        yield ok(f"Postfix {found} takes what [policy] tlsrpt adds")
    else:
        yield fail(
            f"Postfix {found} does not know what [policy] tlsrpt adds, and defers what MTA-STS assures",
            "set tlsrpt = false in [policy], or install Postfix 3.10 or later",
        )


def _connect(address: str, service: str) -> None:
    kind, _, rest = address.partition(":")
    port, _, host = rest.partition("@")
    try:
        if kind == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_PATIENCE)
                probe.connect(rest)
        else:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise ConfigError(f"does not answer ({error.strerror or error}): start `gatepost run {service}`") from None
