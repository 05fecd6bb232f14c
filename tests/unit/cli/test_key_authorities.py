"""Certificates of trust `ca`, from the settings to `key list` and `explain`, with a revocation list of OpenSSL."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.file_host import FileHost
from lab.mail_authority import Holder, Office, asked_at, root
from typer.testing import CliRunner, Result

from gatepost.cli.main import app
from gatepost.errors import ConfigError

pytestmark = pytest.mark.real

LISTS = "/lists.crl"


class Place:
    """A site that trusts one root, and the root's office."""

    def __init__(self, folder: Path, host: FileHost) -> None:
        self.folder = folder
        self.host = host
        self.root = root()
        self.office = Office(folder / "office", self.root)
        (folder / "roots.pem").write_bytes(self.root.pem)
        self.config = folder / "site" / "gatepost.toml"
        self.gatepost("init", str(folder / "site"), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
        self.text = self.config.read_text().replace("[gateway]\n", '[gateway]\naliases = "none"\n')
        self.configure("hard")

    def configure(self, revocation: str, roots: str = "roots.pem") -> None:
        """Write the settings; `roots` is a file's name, or empty."""
        file = self.folder / roots if roots else ""
        self.config.write_text(
            self.text.replace("[keys]\n", '[keys]\nmin_trust = "ca"\n')
            + f'\n[smime]\nroots = "{file}"\nrevocation = "{revocation}"\nrevocation_seconds = 5\n'
            "[dns]\nallow_private = true\n"
        )

    def gatepost(self, *args: str) -> Result:
        return CliRunner().invoke(app, args, env={"GATEPOST_ROOT_WARNED": "1"}, catch_exceptions=False)

    def site(self, *args: str) -> Result:
        return self.gatepost("-c", str(self.config), *args)

    def publish(self, holder: Holder, revoked: str = "") -> None:
        """Publish a list on which somebody stands, or does not."""
        self.office.enter(holder, revoked)
        self.host.put(LISTS, self.office.revocations())

    def said(self) -> tuple[str, str]:
        """Give what `key list` and `explain` say of Bob's certificate."""
        (listed,) = json.loads(self.site("key", "list", "--json").stdout)["keys"]
        explained = self.site(
            "explain", "--from", "ann@hosp.test", "--to", "bob@out.test", "--subject", "[secure] x"
        )
        return listed["refusal"], explained.stdout

    def import_(self, *, trust: str = "ca") -> Holder:
        bob = self.root.person("bob@out.test", asked_at(lists=self.host.url(LISTS)))
        (self.folder / "bob.pem").write_bytes(bob.pem)
        assert self.site("key", "import", str(self.folder / "bob.pem")).exit_code == 0
        assert self.site("key", "trust", "bob@out.test", trust).exit_code == 0
        return bob


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Give a site and an authority."""
    with FileHost() as host:
        yield Place(tmp_path, host)


def test_revoked_and_not(place: Place) -> None:
    """What the authority says decides, and `key list` and `explain` tell it."""
    bob = place.import_()
    place.publish(bob)
    refusal, plan = place.said()
    assert refusal == ""
    assert "smime" in plan

    place.publish(bob, "keyCompromise")
    refusal, plan = place.said()
    assert "the certificate CN=bob@out.test was revoked on" in refusal
    assert refusal in plan


def test_silence(place: Place) -> None:
    """Of an authority that cannot be asked `hard` tells the reason; `soft` and `off` pass it over."""
    place.import_()
    refusal, plan = place.said()
    assert "is revoked is not known" in refusal
    assert "it answered 404" in refusal
    assert refusal in plan
    for mode in ("soft", "off"):
        place.configure(mode)
        assert place.said()[0] == ""


def test_without_roots(place: Place) -> None:
    """Without roots no certificate of trust `ca` is used; whom the admin vouches for needs none."""
    bob = place.import_()
    place.publish(bob)
    place.configure("hard", roots="")
    assert "no root is trusted here" in place.said()[0]
    place.site("key", "trust", "bob@out.test", "admin")
    assert place.said()[0] == ""


@pytest.mark.parametrize(
    ("data", "fault"), [(None, "No such file or directory"), (b"x", "no certificates in PEM")]
)
def test_a_file_that_cannot_be_read(place: Place, data: bytes | None, fault: str) -> None:
    """A file of roots that is wrong is told with its setting, and as a failure by the doctor."""
    if data is not None:
        (place.folder / "other.pem").write_bytes(data)
    place.configure("hard", roots="other.pem")

    with pytest.raises(ConfigError, match=rf"smime\.roots: .*other\.pem: {fault}"):
        place.site("key", "list")
    checks = json.loads(place.site("doctor", "--json").stdout)["checks"]
    (found,) = (one for one in checks if one["what"] == "authorities of smime.roots")
    assert (found["status"], fault in found["remedy"]) == ("fail", True)
