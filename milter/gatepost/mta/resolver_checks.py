"""
The checks of the resolvers that Gatepost and Postfix ask: DANE needs one on loopback that validates (RFC 7672).

Nothing is asked but a resolver on loopback, which may be without the Internet: then nobody knows whether it
validates.
"""

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from gatepost.errors import GatepostError
from gatepost.mta.finding import Finding, ok, warn

RESOLV_CONF = Path("/etc/resolv.conf")
_MOST_SERVERS = 3  # that the system's resolver asks (MAXNS)


def resolver_checks(
    resolvers: Sequence[str],
    validates: Callable[[], bool],
    queue_directory: Path | None,
    resolv_conf: Path = RESOLV_CONF,
) -> Iterator[Finding]:
    """
    Check the resolvers of `[dns]`, none: the system's; `validates` asks for what is signed for certain.

    `queue_directory` is Postfix's, below which services in a chroot look for files.
    """
    system = _nameservers(resolv_conf)
    asked = tuple(resolvers) or system or ("127.0.0.1",)
    yield _validation(asked, validates, resolv_conf)
    if resolvers and {one.partition("#")[0] for one in resolvers} != set(system):
        yield warn(
            f"Gatepost asks {', '.join(resolvers)}, Postfix asks {', '.join(system) or '127.0.0.1'}: what DANE "
            "assures by the first may be deferred by the second",
            f"name the same resolvers in {resolv_conf}, or take resolvers out of [dns]",
        )
    copied = None if queue_directory is None else queue_directory / resolv_conf.relative_to("/")
    if copied is not None and copied.exists() and set(_nameservers(copied)) != set(system):
        yield warn(f"{copied} names other resolvers than {resolv_conf}", f"`cp {resolv_conf} {copied}`")


def _validation(asked: Sequence[str], validates: Callable[[], bool], resolv_conf: Path) -> Finding:
    names = ", ".join(asked)
    near = [one for one in asked if _is_loopback(one)]
    install = f"install unbound on this host and write `nameserver 127.0.0.1` into {resolv_conf}"
    if not near:
        return warn(f"the resolver {names} is not on loopback, so DANE assures nothing", install)
    what = f"the resolver {', '.join(near)}"
    try:
        secure = validates()
    except GatepostError as error:
        return warn(
            f"whether {what} validates DNSSEC is not known: {error}", "see that it runs and has the Internet"
        )
    if not secure:
        return warn(f"{what} does not validate DNSSEC, so DANE assures nothing", install)
    return ok(f"{what} validates DNSSEC")


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name.partition("#")[0].partition("%")[0]).is_loopback
    except ValueError:
        return False


def _nameservers(file: Path) -> tuple[str, ...]:
    """Give the resolvers that a resolv.conf(5) names; what cannot be read names none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    words = (line.split() for line in lines)
    return tuple(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")[:_MOST_SERVERS]
