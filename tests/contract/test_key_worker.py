"""The key worker as it runs: a process of its own, keys by command line, gpg as the correspondent."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from lab.smime import Smime

from gatepost.crypto import seal
from gatepost.crypto.sequoia import SequoiaEncryptor
from gatepost.errors import WorkerError
from gatepost.message.address import parse
from gatepost.message.body import MemoryBody
from gatepost.vault.held import key_context
from gatepost.workers.key_client import KeyClient

pytestmark = pytest.mark.real


class Site:
    """A site made by `gatepost init`, with its key worker."""

    def __init__(self, folder: str) -> None:
        self.directory = Path(folder, "site")
        self.home = Path(folder, "gpg")
        self.home.mkdir(mode=0o700)
        self.gatepost("init", str(self.directory), "--domain", "hosp.test", "--hostname", "gw.hosp.test")
        self.config = self.directory / "gatepost.toml"
        self.process: subprocess.Popen[bytes] | None = None

    def gatepost(
        self, *arguments: str, fails: bool = False, data: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [sys.executable, "-m", "gatepost", *arguments],
            input=data,
            capture_output=True,
            check=False,
            timeout=60,
            env=os.environ | {"GATEPOST_ROOT_WARNED": "1"},
        )
        assert b"Traceback" not in done.stderr
        assert (done.returncode != 0) is fails, done.stderr.decode()
        return done

    def key(self, *arguments: str, fails: bool = False, data: bytes = b"") -> str:
        done = self.gatepost("-c", str(self.config), "key", *arguments, fails=fails, data=data)
        return (done.stderr if fails else done.stdout).decode()

    def keys(self, *arguments: str) -> list[dict[str, object]]:
        found = json.loads(self.key(*arguments, "--json"))["keys"]
        assert isinstance(found, list)
        return found

    def gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--trust-model", "always"]
        command += ["--pinentry-mode", "loopback", *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True, timeout=60).stdout

    @property
    def socket(self) -> Path:
        found = self.gatepost("-c", str(self.config), "key", "list")  # the settings can be read
        assert found.returncode == 0
        from gatepost.settings import read  # noqa: PLC0415 - only here

        return Path(read(self.config).keys.socket.removeprefix("unix:"))

    def start(self) -> None:
        command = [sys.executable, "-m", "gatepost", "-c", str(self.config), "run", "keys"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.strip() == b"ready":
                return
        pytest.fail("the key worker did not start")

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(20)
        self.process.stderr.close()  # type: ignore[union-attr]
        return code

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="gw-", dir="/tmp") as folder:
        site = Site(folder)
        yield site
        site.close()


def test_keys_made_by_command_open_mail(site: Site) -> None:
    """
    A key made for a domain opens mail for any address of it, once the running worker has seen it; SIGTERM ends
    the worker and leaves no socket and no private key behind.
    """
    site.start()
    client = KeyClient(site.socket, seconds=30)
    client.ping()
    (key,) = site.keys("generate", "openpgp", "--for", "hosp.test")
    armored = site.key("export", str(key["fingerprint"]))
    site.gpg("--import", data=armored.encode())
    mail = site.gpg("--armor", "--encrypt", "-r", str(key["fingerprint"]), data=b"hello\r\n")

    opened = client.open(MemoryBody(mail), parse(b"<anna@hosp.test>"), "bob@other.test")

    assert opened is not None
    assert (opened.plaintext.read(), opened.verification.status) == (b"hello\r\n", "none")
    assert client.open(MemoryBody(mail), parse(b"<anna@elsewhere.test>"), "") is None
    homes = list(Path("/dev/shm").glob(f"gp-{site.process.pid if site.process else 0}-*"))  # noqa: S108 - only looked at
    assert homes
    assert site.stop() == 0
    assert not site.socket.exists()
    assert not any(home.exists() for home in homes)
    with pytest.raises(WorkerError):
        client.ping()
    client.close()


def test_a_partners_signature_is_verified(site: Site) -> None:
    """Mail signed by the author whose key was imported passes; removed again, it fails."""
    site.gpg("--passphrase", "", "--quick-gen-key", "Bob <bob@other.test>", "future-default", "default", "1y")
    site.key("import", "-", data=site.gpg("--export", "bob@other.test"))
    (key,) = site.keys("generate", "openpgp", "--for", "anna@hosp.test")
    site.gpg("--import", data=site.key("export", str(key["fingerprint"])).encode())
    mail = site.gpg(
        "--passphrase", "", "--sign", "-u", "bob@other.test", "--encrypt", "-r", "anna@hosp.test", data=b"hi"
    )
    site.start()
    client = KeyClient(site.socket, seconds=30)
    bob = str(site.keys("show", str(site.keys("list")[1]["fingerprint"]))[0]["fingerprint"])

    first = client.open(MemoryBody(mail), parse(b"<anna@hosp.test>"), "bob@other.test")
    stranger = client.open(MemoryBody(mail), parse(b"<anna@hosp.test>"), "eve@other.test")

    assert first is not None
    assert (first.verification.status, first.verification.fingerprint) == ("pass", bob)
    assert stranger is not None
    assert stranger.verification.status == "fail"
    client.close()
    site.stop()


def test_a_held_copys_key_is_released(site: Site) -> None:
    """The worker unwraps a data key that was wrapped to the site's vault key."""
    held, data_key = uuid4(), seal.new_key()
    public = next(site.directory.rglob("vault.pub")).read_bytes()
    site.start()
    client = KeyClient(site.socket, seconds=30)

    assert client.release(held, seal.wrap(public, data_key, key_context(held))) == data_key

    client.close()
    site.stop()


def test_keys_come_in_by_command(site: Site) -> None:
    """Import, refusals, passphrase, trust, removal: what the admin does, in order, and what is said."""
    site.gpg(
        "--passphrase", "geheim", "--quick-gen-key", "Anna <anna@hosp.test>", "future-default", "default", "1y"
    )
    public, private = site.directory / "public.asc", site.directory / "private.asc"
    public.write_bytes(site.gpg("--armor", "--export", "anna@hosp.test"))
    private.write_bytes(site.gpg("--passphrase", "geheim", "--armor", "--export-secret-keys", "anna@hosp.test"))
    phrase = site.directory / "phrase"
    phrase.write_text("wrong\n")

    assert "--private" in site.key("import", str(private), fails=True)
    assert "--passphrase-file" in site.key("import", "--private", str(private), fails=True)
    assert "does not open" in site.key(
        "import", "--private", str(private), "--passphrase-file", str(phrase), fails=True
    )
    assert site.keys("list") == []
    phrase.write_text("geheim\n")
    (key,) = site.keys("import", "--private", str(private), "--passphrase-file", str(phrase))
    assert (key["owner"], key["own"], key["trust"], key["refusal"]) == ("anna@hosp.test", True, "admin", "")
    assert [one["own"] for one in site.keys("import", str(public), "--for", "hosp.test")] == [False]
    assert [one["trust"] for one in site.keys("trust", str(key["fingerprint"])[:12], "wkd")] == ["wkd", "wkd"]
    site.key("remove", str(key["fingerprint"]), "--for", "hosp.test")
    assert [one["owner"] for one in site.keys("list")] == ["anna@hosp.test"]
    assert SequoiaEncryptor().read(site.key("export", str(key["fingerprint"])).encode())[0].refusal == ""
    for wrong in (
        ("show", "zzz"),
        ("import", "/etc/hostname"),
        ("import", "/nonexistent"),
        ("generate", "smime", "--for", "a.test"),
    ):
        assert len(site.key(*wrong, fails=True).splitlines()) == 1


def test_a_token_without_its_setting(site: Site, tmp_path: Path) -> None:
    """A key on a token needs --private, one certificate, and a module in the settings; each is told."""
    certificate = Smime(tmp_path / "smime").certificate("anna@hosp.test")
    uri = "pkcs11:token=gateway;object=smime"

    assert "pkcs11_module" in site.key("import", "--private", "--pkcs11", uri, str(certificate), fails=True)
    for wrong in ((str(certificate),), ("--private", str(certificate), str(certificate))):
        assert "one certificate" in site.key("import", "--pkcs11", uri, *wrong, fails=True)
    assert site.keys("list") == []


def test_a_module_without_its_pin(site: Site) -> None:
    """A key worker whose settings name a module, and that finds no PIN, says so at its start."""
    setting = '[keys]\npkcs11_module = "/usr/lib/softhsm/libsofthsm2.so"'
    site.config.write_text(site.config.read_text().replace("[keys]", setting, 1))
    done = site.gatepost("-c", str(site.config), "run", "keys", fails=True)

    assert b"pkcs11-pin" in done.stderr


def test_what_a_killed_worker_left_is_removed(site: Site) -> None:
    """The private key that a killed worker had in use is gone once the next one has started."""
    (key,) = site.keys("generate", "openpgp", "--for", "hosp.test")
    mail = SequoiaEncryptor().encrypt(
        b"x", [SequoiaEncryptor().read(site.key("export", str(key["fingerprint"])).encode())[0].data]
    )
    site.start()
    client = KeyClient(site.socket, seconds=30)
    assert client.open(MemoryBody(mail), parse(b"<a@hosp.test>"), "") is not None
    assert site.process is not None
    left = list(Path("/dev/shm").glob(f"gp-{site.process.pid}-*"))  # noqa: S108 - only looked at
    site.process.kill()
    site.process.wait()
    site.process.stderr.close()  # type: ignore[union-attr]
    assert left
    assert left[0].exists()

    site.start()

    assert not left[0].exists()
    assert client.open(MemoryBody(mail), parse(b"<a@hosp.test>"), "") is not None
    client.close()
    site.stop()
