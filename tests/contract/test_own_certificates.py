"""
Certificates of ours as they are used: made by command, encrypted to by OpenSSL, opened by the key worker.

OpenSSL is also the outside authority that answers a request.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.contract.test_key_worker import Site

from gatepost.crypto import authority
from gatepost.message.address import Address, parse
from gatepost.message.body import MemoryBody
from gatepost.workers.key_client import KeyClient

pytestmark = pytest.mark.real
ANNA = parse(b"<anna@hosp.test>")
ENTITY = b"Content-Type: text/plain\r\n\r\nhello\r\n"


class Office:
    """A site with its key worker, and OpenSSL outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Site(str(folder))
        self.site.start()
        self.client = KeyClient(self.site.socket, seconds=30)

    def made(self, *arguments: str) -> Path:
        """Make a key by command; gives the file of its certificate."""
        (key,) = self.site.keys("generate", "smime", *arguments)
        return self.exported(str(key["fingerprint"]))

    def exported(self, name: str, *options: str) -> Path:
        file = self.folder / f"{name}.pem"
        file.write_text(self.site.key("export", name, *options))
        return file

    def openssl(self, *words: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            ["openssl", *words], cwd=self.folder, input=data, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def opened(self, certificate: Path, recipient: Address = ANNA, cipher: str = "-aes-256-gcm") -> bytes | None:
        """Have OpenSSL encrypt to a certificate, and the key worker open it."""
        mail = self.openssl("cms", "-encrypt", "-binary", "-outform", "DER", cipher, str(certificate), data=ENTITY)
        found = self.client.open(MemoryBody(mail), recipient, "")
        return found.plaintext.read() if found else None

    def close(self) -> None:
        self.client.close()
        self.site.stop()
        self.site.close()


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as folder:
        office = Office(Path(folder))
        yield office
        office.close()


def test_mail_to_what_was_made_opens(office: Office) -> None:
    """RSA and elliptic curves, an address and a domain; the chain verifies against what --ca prints."""
    anna, domain = office.made("--for", "anna@hosp.test"), office.made("--for", "hosp.test", "--algorithm", "p384")
    root = office.folder / "ca.pem"
    root.write_text(office.site.key("export", "--ca"))

    assert office.opened(anna) == ENTITY
    assert office.opened(domain, parse(b"<carl@hosp.test>")) == ENTITY
    assert office.opened(anna, parse(b"<carl@hosp.test>")) is None
    for one in (anna, domain):
        office.openssl("verify", "-x509_strict", "-purpose", "smimesign", "-CAfile", str(root), str(one))


def test_the_newest_is_given_out_and_the_old_still_open(office: Office) -> None:
    """A second key takes the place of the first in `export`; mail to the first, and to one that expired, opens."""
    bea = parse(b"<bea@hosp.test>")
    first = office.made("--for", "bea@hosp.test", "--algorithm", "p256")
    past = datetime.now(UTC) - timedelta(days=90)
    root = authority.new_authority(["hosp.test"], past, 60)
    expired = office.folder / "old.pem"
    expired.write_bytes(authority.issue(*root, "bea@hosp.test", algorithm="p256", now=past, days=30))
    office.site.key("import", "--private", str(expired))
    second = office.made("--for", "bea@hosp.test", "--algorithm", "p256")
    pgp = office.site.keys("generate", "openpgp", "--for", "bea@hosp.test")

    assert office.exported("bea@hosp.test", "--kind", "smime").read_text() == second.read_text()
    mine = [one for one in office.site.keys("list") if one["owner"] == "bea@hosp.test"]
    assert len(mine) == 4
    assert {str(one["fingerprint"]) for one in mine if one["current"]} == {second.stem, str(pgp[0]["fingerprint"])}
    assert [office.opened(one, bea) for one in (first, expired, second)] == [ENTITY] * 3
    assert "several keys are meant" in office.site.key("export", "bea@hosp.test", fails=True)


def test_old_keys_of_openpgp_still_open(office: Office) -> None:
    """The newest is given out, the one before still opens mail."""
    first, second = (office.site.keys("generate", "openpgp", "--for", "sub.hosp.test")[0] for _ in range(2))

    for key in (first, second):
        office.site.gpg("--import", data=office.site.key("export", str(key["fingerprint"])).encode())
        mail = office.site.gpg("--armor", "--encrypt", "-r", str(key["fingerprint"]), data=b"hello\r\n")
        found = office.client.open(MemoryBody(mail), parse(b"<a@sub.hosp.test>"), "")
        assert found is not None
        assert found.plaintext.read() == b"hello\r\n"
    given = office.site.key("export", "sub.hosp.test")
    assert given == office.site.key("export", str(second["fingerprint"]))


def test_an_outside_authority_answers_a_request(office: Office) -> None:
    """A request, the authority's answer with its intermediate, imported: mail to it opens, the chain is kept."""
    dora = parse(b"<dora@hosp.test>")
    request = office.folder / "dora.csr"
    office.site.key("generate", "smime", "--for", "dora@hosp.test", "--csr", str(request))
    _outside_authority(office)
    office.openssl(
        *("x509", "-req", "-in", "dora.csr", "-CA", "mid.pem", "-CAkey", "mid.key", "-CAcreateserial"),
        *("-copy_extensions", "copyall", "-days", "30", "-out", "dora.pem"),
    )
    (office.folder / "answer.pem").write_bytes(
        b"".join((office.folder / name).read_bytes() for name in ("root.pem", "dora.pem", "mid.pem"))
    )
    assert "dora@hosp.test" not in office.site.key("list")
    refused = office.site.key("import", "--private", str(office.folder / "root.pem"), fails=True)
    assert "no certificate in it answers" in refused
    assert "exists already" in office.site.key(
        "generate", "smime", "--for", "dora@hosp.test", "--csr", str(request), fails=True
    )

    (key,) = office.site.keys("import", "--private", str(office.folder / "answer.pem"))

    assert (key["owner"], key["own"], key["current"]) == ("dora@hosp.test", True, True)
    assert office.opened(office.folder / "dora.pem", dora) == ENTITY
    assert office.opened(office.folder / "dora.pem", dora, cipher="-aes-256-cbc") == ENTITY


def _outside_authority(office: Office) -> None:
    """Make an authority with an intermediate, in files of the folder."""
    new = ("req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    office.openssl(*new, "-x509", "-subj", "/CN=Root", "-days", "90", "-keyout", "root.key", "-out", "root.pem")
    office.openssl(*new, "-subj", "/CN=Middle", "-keyout", "mid.key", "-out", "mid.csr")
    (office.folder / "mid.ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    office.openssl(
        *("x509", "-req", "-in", "mid.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"),
        *("-days", "60", "-extfile", "mid.ext", "-out", "mid.pem"),
    )


def test_a_request_goes_to_standard_output(office: Office) -> None:
    """As PEM alone, or in JSON."""
    words = ("generate", "smime", "--for", "hosp.test", "--csr", "-")
    pem = office.site.key(*words)
    found = json.loads(office.site.key(*words, "--json"))

    for one in (pem, found["request"]):
        office.openssl("req", "-verify", "-noout", data=one.encode())
