"""The doctor's checks of the TLS route: each is red where mail would be deferred, and green again."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from lab.certificate import Authority

from gatepost.mta.finding import Status
from gatepost.mta.postfix.mastercf import services_of
from gatepost.mta.postfix.tls_checks import PARAMETERS, tls_checks


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    """Give a file of authorities that everybody may read."""
    file = Authority(tmp_path / "ca").file
    file.chmod(0o644)
    return file


def found(authorities: str, more: Mapping[str, str] | None = None, **options: str) -> list[tuple[Status, str]]:
    """Check a route with these options below main.cf with `more`."""
    route = {"smtp_dns_support_level": "dnssec", "smtp_tls_CAfile": authorities} | options
    master = "gatepost-tls unix - - n - - smtp\n" + "".join(
        f"  -o {name}={value}\n" for name, value in route.items()
    )
    values = {**dict.fromkeys(PARAMETERS, ""), **(more or {})}
    findings = list(tls_checks(Path("/etc/postfix"), values, services_of(master)))
    assert all(one.remedy for one in findings if one.status is not Status.OK)
    return [(one.status, one.what) for one in findings]


def test_all_is_well(authorities: Path) -> None:
    """A route as setup writes it, with authorities that can be read, gives nothing to do."""
    assert [status for status, _ in found(str(authorities))] == [Status.OK]


def test_without_dnssec(authorities: Path) -> None:
    """Where the admin switched DNS off, DANE cannot be delivered by."""
    (status, what), _ = found(str(authorities), {"smtp_dns_support_level": "disabled"}, smtp_dns_support_level="")

    assert (status, "does not look up DNSSEC" in what) == (Status.WARN, True)


def test_no_authorities() -> None:
    """Without authorities a name can be verified for nobody."""
    ((status, what),) = found("")
    assert (status, "knows no authorities" in what) == (Status.WARN, True)

    ((status, what),) = found("", {"smtp_tls_CApath": "/etc/ssl/certs"})
    assert (status, "smtp_tls_CApath = /etc/ssl/certs" in what) == (Status.OK, True)


def test_authorities_that_are_gone(tmp_path: Path) -> None:
    """A file that is not there would defer all mail that needs it."""
    ((status, what),) = found(str(tmp_path / "none.pem"))

    assert (status, what.endswith("No such file or directory")) == (Status.FAIL, True)


def test_authorities_that_postfix_may_not_read(authorities: Path) -> None:
    """smtp(8) does not run as root: what only root reads is not there for it."""
    authorities.chmod(0o600)

    ((status, what),) = found(str(authorities))

    assert (status, "may not read" in what) == (Status.FAIL, True)


def test_authorities_that_are_none(tmp_path: Path) -> None:
    """A file without certificates knows nobody."""
    file = tmp_path / "ca.pem"
    file.write_text("nothing\n")

    ((status, what),) = found(str(file))

    assert (status, "holds no certificates" in what) == (Status.FAIL, True)


def test_a_relay_host_is_told(authorities: Path) -> None:
    """TLS goes past a relay host: who has one learns what partner rows need."""
    _, (status, what) = found(str(authorities), {"relayhost": "[out.test]"})

    assert status is Status.OK
    assert what == "relayhost = [out.test]: only partners whose row names a next hop are reached by TLS"


def test_without_the_route() -> None:
    """Before setup there is no route to check: another check says what to do."""
    assert list(tls_checks(Path("/etc/postfix"), dict.fromkeys(PARAMETERS, ""), [])) == []
