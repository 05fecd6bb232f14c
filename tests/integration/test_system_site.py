"""
The system's site: each service as the user of its unit, Postfix beside them, root at the command line.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.client import Envelope, send
from lab.gpg import Gpg
from lab.host import Host, HostPostfix, may_mount
from lab.letter import letter, pgp_mime
from lab.place import free_port, short_folder
from lab.sink import Sink
from lab.wait import until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

_SERVICES = ("keys", "policy", "deliveries", "milter")
_STATE = "/var/lib/gatepost"


@dataclass(frozen=True)
class Place:
    """A copy of this host with Gatepost and a Postfix in it; a mailbox inside, a receiver outside."""

    host: Host
    postfix: HostPostfix
    inside: Sink
    outside: Sink
    gpg: Gpg


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("lacks root")
    if not shutil.which("systemd-sysusers"):
        pytest.skip("lacks systemd")
    if not may_mount():
        pytest.skip("lacks overlay mounts")
    with short_folder() as folder, Sink() as inside, Sink() as outside, contextlib.ExitStack() as stack:
        gpg = Gpg(folder / "gpg")
        stack.callback(gpg.close)
        host = stack.enter_context(Host(folder))
        host.gatepost("init", "/etc/gatepost", "--domain", "hosp.test", "--hostname", "gw.hosp.test")
        ports = f'reinject = "127.0.0.1:{free_port()}"\nreinject_tls = "127.0.0.1:{free_port()}"\n'
        listener = 'outside_listeners = ["outside"]\n'
        dns = f'[dns]\nresolvers = ["127.0.0.1#{free_port()}"]\n'  # nobody is there
        log = f'[postfix]\nlog = "{folder / "p" / "maillog"}"\n'
        host.run("tee", "-a", "/etc/gatepost/gatepost.toml", data=(ports + listener + dns + log).encode())
        routes = {"hosp.test": inside.port, "plain.test": outside.port}
        aliases = folder / "aliases"
        aliases.write_text("desk@hosp.test desk@plain.test\n")
        settings = {"virtual_alias_maps": f"texthash:{aliases}"}
        postfix = HostPostfix(host, folder / "p", routes=routes, relay_domains=["hosp.test"], settings=settings)
        host.gatepost("setup", "postfix", "--config-dir", str(postfix.config_dir), "--apply")
        host.start(*_SERVICES)
        stack.enter_context(postfix)
        yield Place(host, postfix, inside, outside, gpg)


def _files(host: Host) -> set[str]:
    """Give mode, owner and group of what lies in the state directory, blobs aside."""
    listed = host.run("find", _STATE, "-not", "-path", "*/vault/*", "-printf", "%P %m %u %g\n").stdout
    return set(listed.splitlines())


def _held(host: Host) -> list[str]:
    return [held["id"] for held in json.loads(host.gatepost("--json", "quarantine", "list").stdout)["held"]]


def test_mail_is_held_released_and_opened(place: Place) -> None:
    """
    Every way on which the users meet: the milter holds, root imports a key and releases, the key worker opens.

    Held: the milter writes database and vault. Released: root reads both, the key worker admits root, and Postfix
    the milter's certificate. Opened: the key worker admits the milter's user and reads the keys that root made.
    """
    message = letter(
        b"the patient is called Canary\r\n", sender="ann@hosp.test", to="new@plain.test", subject="*secure*"
    )
    assert send(place.postfix.inside_port, Envelope.of("ann@hosp.test", "new@plain.test"), message).ok
    (held,) = _held(place.host)
    assert place.outside.messages == []

    keys = place.gpg.export_to(place.host.folder / "new.asc", "New <new@plain.test>")
    place.host.gatepost("key", "import", str(keys), "--for", "new@plain.test")
    place.host.gatepost("quarantine", "release", held)
    (copy,) = place.outside.wait_for(1)
    assert b"Canary" in place.gpg.decrypt(copy.body).data
    assert _held(place.host) == []

    place.host.gatepost("key", "generate", "openpgp", "--for", "hosp.test")
    place.gpg.import_key(place.host.gatepost("key", "export", "hosp.test").stdout.encode())
    line, body = pgp_mime(place.gpg.encrypt(b"\r\nhello\r\n", [place.gpg.fingerprint("hosp.test")]))
    message = letter(
        body, sender="new@plain.test", to="ann@hosp.test", subject="re", fields=["MIME-Version: 1.0", line]
    )
    place.inside.clear()
    assert send(place.postfix.outside_port, Envelope.of("new@plain.test", "ann@hosp.test"), message).ok
    (came,) = place.inside.wait_for(1)
    assert "decrypted=openpgp" in came.values("Gatepost-Result")[0]


def test_deliveries_are_recorded(place: Place) -> None:
    """The deliveries service reads Postfix's log by its group, and writes into the database that all share."""
    place.postfix.maillog.chmod(0o640)
    place.host.run("chgrp", "adm", str(place.postfix.maillog))
    keys = place.gpg.export_to(place.host.folder / "kim.asc", "Kim <kim@plain.test>")
    place.host.gatepost("key", "import", str(keys), "--for", "kim@plain.test")
    message = letter(b"hello\r\n", sender="ann@hosp.test", to="kim@plain.test", subject="*secure*")
    assert send(place.postfix.inside_port, Envelope.of("ann@hosp.test", "kim@plain.test"), message).ok

    def statuses() -> list[str]:
        listed = place.host.gatepost("--json", "audit", "list", "--kind", "delivery", "--to", "kim@plain.test")
        return [one["detail"]["status"] for one in json.loads(listed.stdout)["events"]]

    until(lambda: statuses() == ["sent"], 60, lambda: f"it is recorded: {place.host.log('deliveries')}")
    place.outside.clear()


def test_the_milter_follows_aliases(place: Place) -> None:
    """The milter's user may ask Postfix's tables: mail to an alias of an outside address is judged as outside."""
    message = letter(b"mine\r\n", sender="ann@hosp.test", to="desk@hosp.test", subject="*secure*")
    assert send(place.postfix.inside_port, Envelope.of("ann@hosp.test", "desk@hosp.test"), message).ok

    (held,) = json.loads(place.host.gatepost("--json", "quarantine", "list").stdout)["held"]
    place.host.gatepost("quarantine", "delete", held["id"])
    assert held["recipients"] == ["desk@plain.test"]


def test_postfix_reaches_the_sockets(place: Place) -> None:
    """Postfix's user may use the milter's and the policy service's socket, another user neither."""
    sockets = ["/var/spool/postfix/gatepost/milter.sock", "/run/gatepost-policy/policy.sock"]
    connect = "import socket,sys\nfor name in sys.argv[1:]: socket.socket(socket.AF_UNIX).connect(name)"
    command = ["python3", "-c", connect]
    assert place.host.run("runuser", "-u", "postfix", "--", *command, *sockets, check=False).returncode == 0
    for one in [*sockets, "/run/gatepost-keys/keys.sock"]:
        refused = place.host.run("runuser", "-u", "nobody", "--", *command, one, check=False)
        assert "PermissionError" in refused.stderr


def test_the_milter_asks_the_policy_service(place: Place) -> None:
    """The milter's user reaches the policy service, whose own user writes the cache that all hosts share."""
    ask = (
        "import sys; from pathlib import Path; from gatepost.transport.socketmap_client import PolicyClient\n"
        "print(PolicyClient(Path(sys.argv[1]), 60).begin('plain.test').wait().steps)"
    )
    as_milter = ["setpriv", "--reuid=gatepost", "--regid=gatepost", "--init-groups"]
    said = place.host.run(*as_milter, sys.executable, "-c", ask, "/run/gatepost-policy/policy.sock").stdout
    assert "the mail hosts of plain.test: " in said

    def kept() -> str:
        look = "import sqlite3,sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT hop FROM discovery'))"
        return place.host.run(*as_milter, "python3", "-c", look, f"{_STATE}/gatepost.db").stdout

    until(lambda: "plain.test" in kept(), 60, lambda: f"kept is {kept()}")


def test_what_root_writes_stays_the_services(place: Place) -> None:
    """
    The database and what SQLite puts beside it belong to the group, also when root was the first to open them.

    The services then start on them and write.
    """
    place.host.stop_services()
    place.host.gatepost("partner", "add", "plain.test", "--demand", "encrypt", "--ladder", "openpgp")
    place.host.gatepost("db", "upgrade")
    place.host.start(*_SERVICES)
    message = letter(b"again\r\n", sender="ann@hosp.test", to="other@plain.test", subject="plain")
    assert send(place.postfix.inside_port, Envelope.of("ann@hosp.test", "other@plain.test"), message).ok

    (held,) = _held(place.host)
    place.host.gatepost("quarantine", "delete", held)
    assert _files(place.host) == {
        " 2770 gatepost gatepost",
        "gatepost.db 660 gatepost gatepost",
        *(f"gatepost.db-{kind} 660 {owner} gatepost" for kind, owner in _beside(place.host)),
        "spool 700 gatepost gatepost",
        "vault 2770 gatepost gatepost",
    }


def _beside(host: Host) -> list[tuple[str, str]]:
    """Give the files beside the database and their owners: the service that came first, never root."""
    owners = [
        (kind, host.run("stat", "-c", "%U", f"{_STATE}/gatepost.db-{kind}").stdout.strip())
        for kind in ("wal", "shm")
    ]
    assert all(owner.startswith("gatepost") for _, owner in owners)
    return owners


def test_the_doctor_finds_nothing_wrong_with_the_site(place: Place) -> None:
    """As root sees it every check of the site and of Postfix's way to the sockets passes."""
    checks = json.loads(place.host.gatepost("--json", "doctor", check=False).stdout)["checks"]

    assert [check for check in checks if check["status"] == "fail"] == []


def test_the_doctor_tells_what_another_user_cannot_try(place: Place) -> None:
    """As the milter's user it reports all the same: tables as that user may read them, what only root tries."""
    doctor = ["runuser", "-u", "gatepost", "--", "gatepost", "--json", "doctor"]
    checks = json.loads(place.host.run(*doctor, check=False).stdout)["checks"]

    assert {check["status"] for check in checks if check["what"].startswith("aliases in ")} == {"ok"}
    assert [check for check in checks if check["status"] == "warn" and check["remedy"] == "run doctor as root"]


def test_secrets_are_for_nobody_else(place: Place) -> None:
    """No service's user reads a private half where it lies; systemd hands it to the key worker alone."""
    for user in ("gatepost", "gatepost-keys", "gatepost-policy", "gatepost-deliveries", "postfix"):
        for name in ("keys", "vault"):
            read = place.host.run("runuser", "-u", user, "--", "cat", f"/etc/gatepost/secrets/{name}", check=False)
            assert "Permission denied" in read.stderr


def test_a_second_init_changes_nothing(place: Place) -> None:
    """`init /etc/gatepost` on a site that is there says what is there, and changes nothing."""
    before = place.host.run("sha256sum", "/etc/gatepost/gatepost.toml", "/etc/gatepost/secrets/keys").stdout

    done = place.host.gatepost("init", "/etc/gatepost", "--domain", "other.test", check=False)

    assert done.returncode == 1
    assert "gatepost.toml: exists already" in done.stderr
    assert (
        place.host.run("sha256sum", "/etc/gatepost/gatepost.toml", "/etc/gatepost/secrets/keys").stdout == before
    )
