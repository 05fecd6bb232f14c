"""
A real Postfix asks the policy service and obeys it: what is not assured is never sent.
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab.certificate import Authority, ServerCertificate
from lab.client import Envelope, send
from lab.place import short_folder
from lab.postfix import Postfix
from lab.sink import Sink
from lab.wait import until

from gatepost.db.engine import Database
from gatepost.db.partners import PartnerTable
from gatepost.db.tables import metadata
from gatepost.directory.partner import Partner

pytestmark = pytest.mark.real

_SERVICE = """
import sys
from pathlib import Path
from gatepost.db.engine import Database
from gatepost.db.partners import SqlPartners
from gatepost.transport import policy, socketmap
from gatepost.transport.assurance import Assurance
from gatepost.transport.capability import Discovery, Method

class Nothing:
    async def discover(self, hop):
        none = Method(assured=False)
        return Discovery(hop, (), none, none, ("nothing is published",), 60)

assurance = Assurance(SqlPartners(Database(sys.argv[2])), Nothing())
socketmap.serve(Path(sys.argv[1]), policy.tables(assurance), lambda: print("ready", flush=True))
"""

_TRANSPORT = """\
gatepost-tls unix - - n - - smtp
    -o smtp_tls_security_level=secure
    -o smtp_tls_policy_maps=socketmap:unix:{socket}:tls
    -o smtp_tls_fingerprint_digest=sha256
"""
_MESSAGE = b"From: <a@hosp.test>\r\nSubject: x\r\n\r\nCanary\r\n"


@dataclass
class Town:
    """A Postfix with the TLS transport, the policy service, and an authority for receivers."""

    folder: Path
    postfix: Postfix
    partners: PartnerTable
    authority: Authority
    service: "subprocess.Popen[str] | None" = None
    number: int = 0
    sinks: list[Sink] = field(default_factory=list)

    def start_service(self) -> None:
        self.service = subprocess.Popen(
            [sys.executable, "-c", _SERVICE, str(self.folder / "policy"), f"sqlite:///{self.folder / 'db'}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.service.stdout is not None
        assert self.service.stdout.readline() == "ready\n"

    def stop_service(self) -> None:
        assert self.service is not None
        self.service.terminate()
        assert self.service.wait(60) == 0

    def receiver(self, certificate: ServerCertificate | None) -> tuple[str, Sink, str]:
        """Start a receiver of its own domain; gives domain, sink and next hop."""
        self.number += 1
        domain = f"p{self.number}.test"
        sink = Sink(context=certificate.context() if certificate else None).start()
        self.sinks.append(sink)
        nexthop = f"[localhost]:{sink.port}"
        self.postfix.route(domain, f"gatepost-tls:{nexthop}")
        return domain, sink, nexthop

    def mail(self, domain: str) -> None:
        outcome = send(self.postfix.inside_port, Envelope.of("a@hosp.test", f"b@{domain}"), _MESSAGE)
        assert outcome.ok

    def deferral(self, domain: str) -> str:
        """Wait until mail to the domain is deferred, and give Postfix's reason."""

        def reasons() -> list[str]:
            return [
                recipient["delay_reason"]
                for message in self.postfix.queue()
                for recipient in message["recipients"]
                if recipient["address"] == f"b@{domain}" and recipient.get("delay_reason")
            ]

        until(reasons, 30, lambda: f"mail to {domain} is deferred; {self.postfix.log()[-3000:]}")
        return reasons()[0]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with short_folder() as folder:
        database = Database(f"sqlite:///{folder / 'db'}")
        metadata.create_all(database.writer)
        postfix = Postfix(folder / "postfix")
        with (postfix.config_dir / "master.cf").open("a") as master:
            master.write(_TRANSPORT.format(socket=folder / "policy"))
        town = Town(folder, postfix, PartnerTable(database), Authority(tmp_path_factory.mktemp("ca")))
        town.start_service()
        try:
            with postfix:
                yield town
        finally:
            town.stop_service()
            for sink in town.sinks:
                sink.stop()


@pytest.fixture
def authority_file(town: Town) -> str:
    """Give the authority's certificate where Postfix can read it."""
    path = town.folder / "ca.pem"
    path.write_bytes(town.authority.file.read_bytes())
    path.chmod(0o644)
    return str(path)


def test_verify(town: Town, authority_file: str) -> None:
    """`verify` with a CA delivers to the right name, over TLS, and asks for that name by SNI."""
    domain, sink, nexthop = town.receiver(town.authority.issue("localhost"))
    town.partners.add(Partner(domain, tls="verify", tls_ca=authority_file, nexthop=nexthop))
    town.mail(domain)
    (message,) = sink.wait_for(1)
    assert message.tls is not None
    assert message.tls.sni == "localhost"


def test_verify_with_own_name(town: Town, authority_file: str) -> None:
    """A row's own name replaces the next hop's."""
    domain, sink, nexthop = town.receiver(town.authority.issue("mx.other.test"))
    row = Partner(domain, tls="verify", tls_name="mx.other.test", tls_ca=authority_file, nexthop=nexthop)
    town.partners.add(row)
    town.mail(domain)
    assert sink.wait_for(1)[0].tls is not None


def test_fingerprint(town: Town) -> None:
    """A fingerprint delivers to exactly that certificate, whoever issued it."""
    certificate = town.authority.issue("whatever.test")
    domain, sink, nexthop = town.receiver(certificate)
    digits = certificate.fingerprint.replace(":", "").lower()
    town.partners.add(Partner(domain, tls=f"fingerprint:{digits}", nexthop=nexthop))
    town.mail(domain)
    assert sink.wait_for(1)[0].tls is not None


@pytest.mark.parametrize("name", ["evil.test", "sub.localhost.evil.test"])
def test_wrong_name_defers(town: Town, authority_file: str, name: str) -> None:
    """A trusted certificate of another name gets nothing."""
    domain, sink, nexthop = town.receiver(town.authority.issue(name))
    town.partners.add(Partner(domain, tls="verify", tls_ca=authority_file, nexthop=nexthop))
    town.mail(domain)
    assert "not verified" in town.deferral(domain)
    assert sink.messages == []


def test_wrong_authority_defers(town: Town, authority_file: str, tmp_path: Path) -> None:
    """The right name from another authority than the row's gets nothing."""
    domain, sink, nexthop = town.receiver(Authority(tmp_path / "other", "Other CA").issue("localhost"))
    town.partners.add(Partner(domain, tls="verify", tls_ca=authority_file, nexthop=nexthop))
    town.mail(domain)
    assert "not verified" in town.deferral(domain)
    assert sink.messages == []


def test_vanished_authority_defers(town: Town, authority_file: str, tmp_path: Path) -> None:
    """A row whose CA file was there and is gone defers."""
    domain, sink, nexthop = town.receiver(town.authority.issue("localhost"))
    gone = tmp_path / "ca.pem"
    gone.write_bytes(Path(authority_file).read_bytes())
    town.partners.add(Partner(domain, tls="verify", tls_ca=str(gone), nexthop=nexthop))
    gone.unlink()
    town.mail(domain)
    town.deferral(domain)
    assert sink.messages == []


def test_wrong_fingerprint_defers(town: Town) -> None:
    """Another certificate than the row's gets nothing."""
    domain, sink, nexthop = town.receiver(town.authority.issue("localhost"))
    town.partners.add(Partner(domain, tls=f"fingerprint:{'ab' * 32}", nexthop=nexthop))
    town.mail(domain)
    assert "not verified" in town.deferral(domain)
    assert sink.messages == []


def test_no_starttls_defers(town: Town, authority_file: str) -> None:
    """A receiver that offers no TLS gets nothing."""
    domain, sink, nexthop = town.receiver(None)
    town.partners.add(Partner(domain, tls="verify", tls_ca=authority_file, nexthop=nexthop))
    town.mail(domain)
    assert "TLS is required" in town.deferral(domain)
    assert sink.messages == []


def test_withdrawn_row_defers_until_it_is_back(town: Town, authority_file: str) -> None:
    """Without its row the mail waits; with the row back it goes: not weaker, and not lost."""
    domain, sink, nexthop = town.receiver(town.authority.issue("localhost"))
    town.mail(domain)
    town.deferral(domain)
    assert "nothing is published" in town.postfix.log()
    assert sink.messages == []
    town.partners.add(Partner(domain, tls="verify", tls_ca=authority_file, nexthop=nexthop))
    assert sink.wait_for(1, 30)[0].tls is not None


def test_rows_that_disagree_defer(town: Town, authority_file: str) -> None:
    """Two rows with different policies for one next hop: nothing goes."""
    domain, sink, nexthop = town.receiver(town.authority.issue("localhost"))
    town.partners.add(Partner(domain, tls="verify", tls_ca=authority_file, nexthop=nexthop))
    town.partners.add(Partner(f"other.{domain}", tls=f"fingerprint:{'ab' * 32}", nexthop=nexthop))
    town.mail(domain)
    town.deferral(domain)
    assert sink.messages == []


def test_service_down_defers(town: Town, authority_file: str) -> None:
    """While the policy service is down the mail waits; it goes once the service is back."""
    domain, sink, nexthop = town.receiver(town.authority.issue("localhost"))
    town.partners.add(Partner(domain, tls="verify", tls_ca=authority_file, nexthop=nexthop))
    town.stop_service()
    try:
        town.mail(domain)
        town.deferral(domain)
        assert sink.messages == []
    finally:
        town.start_service()
    assert sink.wait_for(1, 30)[0].tls is not None
