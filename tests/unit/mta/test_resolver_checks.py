"""The doctor's checks of the resolvers: DANE needs one on loopback that validates; no check needs the Internet."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gatepost.mta.finding import Finding, Status
from gatepost.mta.resolver_checks import resolver_checks
from gatepost.transport.resolver import LookUpFailed


def never() -> bool:
    raise AssertionError("a resolver that is not on loopback is asked")


def failing() -> bool:
    raise LookUpFailed("no usable answer within 3 s")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Give a resolv.conf that names the resolver of this host."""
    file = tmp_path / "resolv.conf"
    file.write_text("# ours\nsearch hosp.test\nnameserver 127.0.0.1\n")
    return file


def found(
    system: Path, validates: Callable[[], bool], *resolvers: str, queue: Path | None = None
) -> list[tuple[Status, str]]:
    findings: list[Finding] = list(resolver_checks(resolvers, validates, queue, system))
    assert all(one.remedy for one in findings if one.status is not Status.OK)
    return [(one.status, one.what) for one in findings]


def test_one_that_validates(system: Path) -> None:
    """A resolver on loopback that vouches for what is signed is what DANE needs."""
    assert found(system, lambda: True) == [(Status.OK, "the resolver 127.0.0.1 validates DNSSEC")]


def test_one_that_does_not(system: Path) -> None:
    """Without validation DANE assures nothing, and the doctor says so before any mail waits."""
    ((status, what),) = found(system, lambda: False)

    assert (status, "does not validate" in what) == (Status.WARN, True)


def test_one_that_does_not_answer(system: Path) -> None:
    """On a host without the Internet nobody knows; that is no failure."""
    ((status, what),) = found(system, failing)

    assert (status, "no usable answer within 3 s" in what) == (Status.WARN, True)


@pytest.mark.parametrize("name", ["192.0.2.53", "2001:db8::53", "fe80::1%eth0", "nonsense"])
def test_one_elsewhere_is_not_asked(tmp_path: Path, name: str) -> None:
    """What comes over a wire may be forged: such a resolver is not trusted, so there is nothing to ask."""
    file = tmp_path / "resolv.conf"
    file.write_text(f"nameserver {name}\n")

    ((status, what),) = found(file, never)

    assert (status, "is not on loopback" in what) == (Status.WARN, True)


@pytest.mark.parametrize("text", ["", None])
def test_none_means_this_host(tmp_path: Path, text: str | None) -> None:
    """Without resolv.conf, or with an empty one, the resolver of this host is asked, as the system does."""
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)

    assert found(file, lambda: True) == [(Status.OK, "the resolver 127.0.0.1 validates DNSSEC")]


def test_postfix_asks_another(system: Path) -> None:
    """What Gatepost's resolver assures, Postfix's must be able to find."""
    one, other = found(system, lambda: True, "::1#5353")

    assert one == (Status.OK, "the resolver ::1#5353 validates DNSSEC")
    assert other[0] is Status.WARN
    assert "Gatepost asks ::1#5353, Postfix asks 127.0.0.1" in other[1]


def test_a_copy_in_the_chroot_is_old(system: Path, tmp_path: Path) -> None:
    """A service in its chroot reads a copy of resolv.conf, which nobody keeps up to date."""
    queue = tmp_path / "queue"
    copied = queue / system.relative_to("/")
    copied.parent.mkdir(parents=True)
    copied.write_text("nameserver 192.0.2.53\n")

    _, (status, what) = found(system, lambda: True, queue=queue)
    assert (status, str(copied) in what) == (Status.WARN, True)

    copied.write_text(system.read_text())
    assert len(found(system, lambda: True, queue=queue)) == 1
