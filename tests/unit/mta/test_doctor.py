"""The doctor's checks of the host and the site's files: each is red where something is wrong, and green again."""

import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from lab.mail_authority import DAY, root

from gatepost.errors import ConfigError
from gatepost.mta import doctor
from gatepost.mta.finding import Finding, Status
from gatepost.mta.postfix import postconf


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def _one(findings: Iterable[Finding], word: str) -> Finding:
    (found,) = (one for one in findings if word in one.what)
    return found


def _host(word: str, gpg: str = "gpg") -> Finding:
    return _one(doctor.host_checks(gpg), word)


def _program(folder: Path, said: str) -> str:
    """Make a program that prints what gpg --version prints."""
    file = folder / "gpg-of-the-test"
    file.write_text(f"#!/bin/sh\necho 'gpg (GnuPG) {said}'\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.real
@pytest.mark.parametrize(
    ("version", "status"), [("2.2.7", Status.FAIL), ("2.2.8", Status.OK), ("2.4.0", Status.OK)]
)
def test_gnupg(tmp_path: Path, version: str, status: Status) -> None:
    """GnuPG must be one that refuses messages without integrity protection."""
    found = _host("GnuPG", _program(tmp_path, version))

    assert (found.what, found.status) == (f"GnuPG {version}", status)
    assert status is Status.OK or found.remedy == "install GnuPG 2.2.8 or later"


@pytest.mark.real
def test_no_gnupg(tmp_path: Path) -> None:
    """A gpg that is not there is a failure, not a traceback."""
    assert _host("GnuPG", str(tmp_path / "none")).status is Status.FAIL


@pytest.mark.real
@pytest.mark.parametrize(("version", "status"), [("3.10.13 (main)", Status.FAIL), ("3.11.0", Status.OK)])
def test_python(monkeypatch: pytest.MonkeyPatch, version: str, status: Status) -> None:
    """Python must be 3.11 or later."""
    monkeypatch.setattr(sys, "version", version)

    assert _host("Python").status is status


@pytest.mark.real
@pytest.mark.parametrize(
    ("version", "status"), [("3.3.20", Status.FAIL), ("3.4.0", Status.OK), ("3.11.1", Status.OK)]
)
def test_postfix(monkeypatch: pytest.MonkeyPatch, version: str, status: Status) -> None:
    """Postfix must know smtpd_tls_chain_files."""
    monkeypatch.setattr(postconf, "version", lambda: version)

    assert _host("Postfix").status is status


@pytest.mark.real
@pytest.mark.parametrize(("version", "status"), [("1.0.4", Status.FAIL), ("1.0.5", Status.OK)])
def test_pymilter(monkeypatch: pytest.MonkeyPatch, version: str, status: Status) -> None:
    """Pymilter must be one that works with this Python."""
    monkeypatch.setattr(metadata, "version", lambda _: version)

    assert _host("pymilter").status is status


def test_secrets(tmp_path: Path) -> None:
    """A secret that others may read fails; its remedy, a command, and its repair make it well."""
    secret = tmp_path / "keys"
    secret.write_bytes(b"x")
    (tmp_path / "vault.pub").touch(mode=0o644)
    secret.chmod(0o640)

    (found,) = doctor.secret_checks(tmp_path)
    assert (found.status, found.remedy) == (Status.FAIL, f"chmod 600 {secret}")
    assert found.repair is not None
    found.repair()

    (found,) = doctor.secret_checks(tmp_path)
    assert found.status is Status.OK
    (found,) = doctor.secret_checks(tmp_path / "none")
    assert found.status is Status.FAIL


@pytest.mark.parametrize(
    ("free", "status"), [(99 << 20, Status.FAIL), (500 << 20, Status.WARN), (2 << 30, Status.OK)]
)
def test_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, status: Status) -> None:
    """Too little room is told before mail is put off."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(1, 1, free))

    (found,) = doctor.folder_checks({"spool": tmp_path})

    assert found.status is status


def test_no_folder(tmp_path: Path) -> None:
    """A directory that is not there is named."""
    (found,) = doctor.folder_checks({"spool": tmp_path / "none"})

    assert (found.status, "none" in found.what) == (Status.FAIL, True)


def _unix(folder: Path) -> tuple[socket.socket, str]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s"))
    return listener, f"unix:{folder}/s"


def _inet(_: Path) -> tuple[socket.socket, str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener, f"inet:{listener.getsockname()[1]}@127.0.0.1"


@pytest.mark.parametrize("make", [_unix, _inet])
def test_services(tmp_path: Path, make: Callable[[Path], tuple[socket.socket, str]]) -> None:
    """A service that does not answer is named with what starts it."""
    listener, address = make(tmp_path)
    with listener:
        (found,) = doctor.service_checks({"keys": address})
        assert (found.status, "gatepost run keys" in found.remedy) == (Status.FAIL, True)

        listener.listen()
        (found,) = doctor.service_checks({"keys": address})
        assert found.status is Status.OK


@pytest.mark.parametrize(
    ("version", "status"), [("3.9.14", Status.FAIL), ("3.10.0", Status.OK), ("3.11-20260101", Status.OK)]
)
def test_reports_need_a_postfix_that_knows_them(
    version: str, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older Postfix takes the attributes of RFC 8460 for a mistake, and defers the mail."""
    monkeypatch.setattr(postconf, "version", lambda: version)

    assert [one.status for one in doctor.report_checks(reports=True)] == [status]
    assert list(doctor.report_checks(reports=False)) == []


class TestPolicyService:
    def answering(self, folder: Path, answer: bytes) -> str:
        """Serve one client at a socket, whatever it asks; gives the socket as the settings spell it."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "p"))
        listener.listen()

        def serve() -> None:
            with listener, listener.accept()[0] as client:
                client.recv(100)
                client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"unix:{folder / 'p'}"

    def test_it_answers(self, tmp_path: Path) -> None:
        """Any answer will do: that the doctor's table is not known is one."""
        assert doctor.policy_check(self.answering(tmp_path, b"10:PERM what?,")).status is Status.OK

    @pytest.mark.parametrize("answer", [b"", b"9:PER", b"no netstring"])
    def test_it_does_not(self, tmp_path: Path, answer: bytes) -> None:
        """A service that takes connections and says nothing of use is as good as none."""
        found = doctor.policy_check(self.answering(tmp_path, answer))

        assert found.status is Status.FAIL
        assert "run policy" in found.remedy

    def test_it_is_not_there(self, tmp_path: Path) -> None:
        """Without it, mail that needs TLS is put off: the doctor says so."""
        assert doctor.policy_check(f"unix:{tmp_path / 'none'}").status is Status.FAIL


def test_authorities() -> None:
    """A file of authorities that cannot be read is a failure, an expired authority a warning, no file nothing."""
    now = datetime.now(UTC)
    good, old = root("Good").certificate, root("Old", ends=now - DAY).certificate

    def found(*authorities: x509.Certificate) -> list[Finding]:
        return list(doctor.authority_checks("smime.roots", "/roots.pem", lambda: authorities, now))

    def unreadable() -> tuple[x509.Certificate, ...]:
        raise ConfigError("smime.roots: /roots.pem: No such file or directory")

    assert [(one.status, one.what) for one in found(good)] == [
        (Status.OK, "smime.roots /roots.pem: 1 certificates")
    ]
    assert [(one.status, one.what) for one in found(good, old)] == [
        (Status.WARN, f"smime.roots /roots.pem: CN=Old expired on {now - DAY:%Y-%m-%d}")
    ]
    (broken,) = doctor.authority_checks("smime.roots", "/roots.pem", unreadable, now)
    assert (broken.status, broken.remedy) == (Status.FAIL, "smime.roots: /roots.pem: No such file or directory")
    assert list(doctor.authority_checks("smime.roots", "", unreadable, now)) == []
