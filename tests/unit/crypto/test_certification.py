"""Whether authorities vouch: with real OCSP responders and revocation lists of OpenSSL, asked over HTTP."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog
from lab.file_host import FileHost
from lab.mail_authority import AUTHORITY, DAY, FOR_OCSP, Extensions, Holder, Office, asked_at, root
from tests.fake_resolver import FakeResolver

from gatepost.crypto.certification import NO_AUTHORITIES, Certified, CertifiedByRoots
from gatepost.crypto.chain import Chains
from gatepost.crypto.revocation import Revocation
from gatepost.transport import target
from gatepost.transport.authority_web import AuthorityWeb
from gatepost.transport.https import Https
from gatepost.transport.kept_statements import KeptStatements

pytestmark = pytest.mark.real

SECONDS = 20.0
LISTS, OCSP = "/lists.crl", "/ocsp"


class City:
    """A root with an authority below it, who publish on a web host what they revoked."""

    def __init__(self, folder: Path, host: FileHost) -> None:
        self.folder = folder
        self.host = host
        self.root = root()
        self.upper = Office(folder / "root", self.root)
        places = asked_at(lists=host.url("/root.crl"))
        self.inner = Office(folder / "inner", self.root.issue("Inner", [*AUTHORITY, *places]))
        self.upper.enter(self.inner.authority)
        self.now = 0.0
        self.publish()

    def publish(self, *options: str) -> None:
        """Publish the lists anew."""
        self.host.put("/root.crl", self.upper.revocations())
        self.host.put(LISTS, self.inner.revocations(*options))

    def person(self, places: Extensions, revoked: str = "") -> Holder:
        """Certify somebody, as good or revoked."""
        made = self.inner.authority.person("ann@clinic.test", places)
        self.inner.enter(made, revoked)
        self.publish()
        return made

    def certified(self, *, mode: str = "hard", seconds: float = SECONDS) -> CertifiedByRoots:
        """Give what judges, with nothing kept yet."""
        web = AuthorityWeb(Https(), FakeResolver, partial(target.reachable, allow_private=True), any_port=True)
        asks = Revocation(KeptStatements(web, seconds=SECONDS), seconds)
        chains = Chains([self.root.certificate], [self.inner.authority.certificate])
        return CertifiedByRoots(
            chains, None if mode == "off" else asks, hard=mode == "hard", monotonic=lambda: self.now
        )

    def judge(self, person: Holder, *, mode: str = "hard", seconds: float = SECONDS) -> Certified:
        return self.certified(mode=mode, seconds=seconds).judge(person.der)


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    """Give a root and an authority, with their web host."""
    with FileHost() as host:
        yield City(tmp_path, host)


def lists(city: City) -> Extensions:
    return asked_at(lists=city.host.url(LISTS))


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_revocation_lists(city: City, mode: str) -> None:
    """A root vouches for whom no list names; who is on a list is refused, in either mode."""
    good, bad = city.person(lists(city)), city.person(lists(city), "keyCompromise")

    assert city.judge(good, mode=mode) == Certified("", "CN=Root")
    found = city.judge(bad, mode=mode)
    assert "CN=ann@clinic.test was revoked on" in found.refusal
    assert "(keyCompromise)" in found.refusal
    assert not found.temporary


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_ocsp(city: City, mode: str) -> None:
    """A responder of the authority tells the same, and no list is asked then."""
    places = asked_at(ocsp=city.inner.ocsp, lists=city.host.url(LISTS))
    good, bad = city.person(places), city.person(places, "superseded")

    with city.inner.responder(city.inner.authority.issue("Responder", [(FOR_OCSP, False)]), "-ndays", "1"):
        assert city.judge(good, mode=mode) == Certified("", "CN=Root")
        assert "(superseded)" in city.judge(bad, mode=mode).refusal
    assert not city.host.asked[LISTS]


def test_a_list_where_no_responder_tells(city: City) -> None:
    """Where the responder is another's, or says nothing in its share of the time, the list tells."""
    places = asked_at(ocsp=city.inner.ocsp, lists=city.host.url(LISTS))
    bad = city.person(places, "keyCompromise")
    with city.inner.responder(city.root.person("eve@clinic.test"), "-ndays", "1"):
        assert "(keyCompromise)" in city.judge(bad).refusal

    city.host.silent.add(OCSP)
    good = city.person(asked_at(ocsp=city.host.url(OCSP), lists=city.host.url(LISTS)))
    assert city.judge(good, seconds=2).refusal == ""


def undelegated(city: City) -> Holder:
    """Have nobody answer but who was not made a responder."""
    return city.person(asked_at(ocsp=city.inner.ocsp))


def stale(city: City) -> Holder:
    person = city.person(lists(city))
    then = dt.datetime.now(dt.UTC) - DAY / 2
    city.publish("-crl_lastupdate", f"{then - DAY:%Y%m%d%H%M%SZ}", "-crl_nextupdate", f"{then:%Y%m%d%H%M%SZ}")
    return person


def of_another(city: City) -> Holder:
    person = city.person(lists(city))
    city.host.put(LISTS, Office(city.folder / "other", root("Inner")).revocations())
    return person


def silent(city: City) -> Holder:
    city.host.silent.add(OCSP)
    return city.person(asked_at(ocsp=city.host.url(OCSP)))


def gone(city: City) -> Holder:
    person = city.person(lists(city))
    del city.host.files[LISTS]
    return person


def silent_above(city: City) -> Holder:
    """Have the root's list be silent, of which the authority below it could be revoked."""
    city.host.silent.add("/root.crl")
    return city.person(lists(city))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (undelegated, "nor whom that one made its responder"),
        (stale, "it held until"),
        (of_another, "its authority did not sign it"),
        (silent, "no complete answer in time"),
        (gone, "it answered 404"),
        (silent_above, "whether the certificate CN=Inner is revoked is not known"),
    ],
)
def test_who_cannot_be_asked(city: City, make: Callable[[City], Holder], reason: str) -> None:
    """An authority that does not tell refuses for now (hard), or is passed over with a line in the log (soft)."""
    person = make(city)
    with city.inner.responder(city.root.person("eve@clinic.test"), "-ndays", "1"):
        hard = city.judge(person, mode="hard", seconds=1)
        with structlog.testing.capture_logs() as log:
            soft = city.judge(person, mode="soft", seconds=1)
        off = city.judge(person, mode="off")

    assert reason in hard.refusal
    assert (hard.temporary, hard.root) == (True, "CN=Root")
    assert soft == off == Certified("", "CN=Root")
    assert [line["event"] for line in log] == ["an authority could not be asked and was passed over"]
    assert reason in log[0]["cause"]


def test_the_deadline(city: City) -> None:
    """Silent authorities at every link keep nobody longer than the deadline."""
    city.host.silent |= {OCSP, LISTS, "/root.crl"}
    person = city.person(asked_at(ocsp=city.host.url(OCSP), lists=city.host.url(LISTS)))
    judges = city.certified(seconds=1)

    started = time.monotonic()
    found = judges.judge(person.der)

    assert found.temporary
    assert 0.9 < time.monotonic() - started < 1.8


def test_no_place_to_ask(city: City) -> None:
    """A certificate that names no place to ask is refused for good (hard), or taken (soft)."""
    person = city.person(())

    hard = city.judge(person)

    assert hard.refusal == "the certificate CN=ann@clinic.test does not tell where to ask whether it is revoked"
    assert not hard.temporary
    assert city.judge(person, mode="soft") == Certified("", "CN=Root")


def test_a_revoked_authority(city: City) -> None:
    """Whom a revoked authority certified is refused."""
    person = city.person(lists(city))
    city.upper.enter(city.inner.authority, "CACompromise")
    city.publish()

    assert "the certificate CN=Inner was revoked" in city.judge(person, mode="soft").refusal


def test_a_kept_list_is_of_one_authority(city: City) -> None:
    """A list that was taken for one authority tells nothing of another's certificates that name the same place."""
    theirs, others = city.person(lists(city)), city.root.person("eve@clinic.test", lists(city))
    judges = city.certified()

    assert judges.judge(theirs.der).refusal == ""
    assert "it is CN=Inner's" in judges.judge(others.der).refusal


def test_nobody_is_asked_about_strangers(city: City) -> None:
    """Only what leads to a root of ours makes us ask anybody: a stranger's certificate sends us nowhere."""
    stranger = root("Other").person("eve@evil.test", lists(city))

    assert "no authority that is known here" in city.judge(stranger).refusal
    assert not city.host.asked


def test_answers_are_remembered(city: City) -> None:
    """What was judged for now is given again for some minutes, what could not be asked for a shorter time."""
    person = city.person(lists(city))
    judges = city.certified()

    assert judges.judge(person.der).refusal == ""
    broken = Chains([root("Other").certificate])
    judges._chains, chains = broken, judges._chains
    assert judges.judge(person.der).refusal == ""
    assert judges.judge(person.der, moment=dt.datetime.now(dt.UTC)).refusal
    assert judges.judge(person.der, [city.root.der]).refusal
    city.now += 301
    assert judges.judge(person.der).refusal
    judges._chains = chains


def test_temporary_answers_are_remembered_for_a_moment(city: City) -> None:
    """Once the authority can be asked again, a refusal for now ends."""
    person = gone(city)
    judges = city.certified()
    assert judges.judge(person.der).temporary
    judges._revocation = city.certified()._revocation  # which has not failed yet
    city.publish()
    assert judges.judge(person.der).temporary
    city.now += 31
    assert judges.judge(person.der) == Certified("", "CN=Root")


def test_no_roots(city: City) -> None:
    """Without roots nobody vouches for anything."""
    assert "no root is trusted here" in NO_AUTHORITIES.judge(city.person(()).der).refusal
