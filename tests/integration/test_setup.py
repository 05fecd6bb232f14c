"""
What `setup postfix` writes, tried on a real Postfix with a milter that does what it is told.
"""

import contextlib
import datetime as dt
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from lab.certificate import Authority
from lab.client import Envelope, send
from lab.place import free_port, short_folder
from lab.postfix import Postfix
from lab.sink import Sink
from lab.stranger import speak
from lab.wait import until

from gatepost.message.direction import Site as Inside
from gatepost.mta.finding import Status
from gatepost.mta.postfix import changes, checks, files
from gatepost.mta.postfix.gate import Gate

pytestmark = pytest.mark.real

NEAR = Inside(frozenset({"near.test"}))

# Adds the route that the subject asks for, or grows the body by the factor that it asks for.
_MILTER = """
import os, sys
import Milter

class Told(Milter.Base):
    def envfrom(self, sender, *parameters):
        self.subject, self.size = "", 0
        self.listener = self.getsymval("{daemon_name}")
        return Milter.CONTINUE
    def header(self, name, value):
        if name.lower() == "subject":
            self.subject = value
        return Milter.CONTINUE
    def body(self, chunk):
        self.size += len(chunk)
        return Milter.CONTINUE
    def eom(self):
        self.addheader("X-Listener", self.listener or "none")
        word, _, argument = self.subject.strip().partition(" ")
        if word == "route":
            self.addheader("Gatepost-Route", argument)
        if word == "grow":
            line = b"x" * 76 + b"\\r\\n"
            self.replacebody(line * int(self.size * float(argument) / len(line)))
        return Milter.CONTINUE

Milter.factory = Told
Milter.set_flags(Milter.ADDHDRS | Milter.CHGBODY)
os.umask(0)
Milter.runmilter("told", sys.argv[1], timeout=60)
"""


@dataclass(frozen=True)
class Site:
    """A Postfix with Gatepost's settings, and what stands for Gatepost."""

    postfix: Postfix
    gate: Gate
    sink: Sink
    authority: Authority

    @property
    def reinject_port(self) -> int:
        return int(self.gate.reinject.rpartition(":")[2])

    @property
    def reinject_tls_port(self) -> int:
        return int(self.gate.reinject_tls.rpartition(":")[2])


def _self_signed(file: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(
        subject, subject, key.public_key(), 7, now - dt.timedelta(days=1), now + dt.timedelta(days=3)
    ).sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    file.chmod(0o600)
    return file


class PolicyAnswers:
    """A socketmap service that gives `answer` to every question (socketmap_table(5))."""

    def __init__(self, path: Path) -> None:
        self.answer = ""
        self.asked: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o666)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), client, client.makefile("rb") as reader:
            while length := reader.read(1):
                while (digit := reader.read(1)) != b":":
                    length += digit
                self.asked.append(reader.read(int(length) + 1)[:-1].decode())
                client.sendall(f"{len(self.answer)}:{self.answer},".encode())

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with short_folder() as folder, contextlib.ExitStack() as stack:
        authority = Authority(folder / "ca")
        certificate = authority.issue("mx.far.test")
        sink = stack.enter_context(Sink(context=certificate.context()))
        postfix = Postfix(
            folder / "pf",
            routes={"far.test": sink.port},
            settings={"message_size_limit": "400000", "smtp_tls_CAfile": str(authority.file)},
        )
        gate = Gate(
            milter_socket=f"unix:{folder}/milter.sock",
            policy_socket=f"unix:{folder}/policy.sock",
            reinject=f"127.0.0.1:{free_port()}",
            reinject_tls=f"127.0.0.1:{free_port()}",
            listener_pem=_self_signed(folder / "listener.pem", "listener"),
            client_pem=_self_signed(folder / "client.pem", "client"),
        )
        milter = subprocess.Popen([sys.executable, "-c", _MILTER, f"{folder}/milter.sock"])
        stack.callback(milter.wait)
        stack.callback(milter.kill)
        until((folder / "milter.sock").exists, 10, "the milter listens")
        planned, _ = changes.to_apply(postfix.config_dir, gate)
        files.write(planned)
        stack.enter_context(postfix)
        yield Site(postfix, gate, sink, authority)


@pytest.fixture(scope="module")
def policy_service(site: Site) -> Iterator[PolicyAnswers]:
    answers = PolicyAnswers(Path(site.gate.policy_socket.removeprefix("unix:")))
    yield answers
    answers.close()


@pytest.fixture
def policy(policy_service: PolicyAnswers) -> PolicyAnswers:
    """Answer with the right name until a test says otherwise; smtp(8) keeps its connection between messages."""
    policy_service.answer = "OK secure match=mx.far.test servername=mx.far.test"
    policy_service.asked.clear()
    return policy_service


def _reinject(port: int, client_pem: Path | None, recipient: str, message: bytes) -> tuple[int, bytes]:
    """Submit as Gatepost does and give the last reply."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client_pem is not None:
        context.load_cert_chain(client_pem)
    try:
        with smtplib.SMTP_SSL("127.0.0.1", port, context=context, timeout=30) as client:
            client.ehlo("gw.test")
            for reply in (client.mail("a@near.test"), client.rcpt(recipient)):
                if reply[0] >= 400:
                    return reply
            return client.data(message)
    except smtplib.SMTPConnectError as refused:
        return refused.smtp_code, b""


def _message(subject: str, size: int = 40) -> bytes:
    body = b"y" * 76 + b"\r\n"
    return b"From: a@near.test\r\nSubject: " + subject.encode() + b"\r\n\r\n" + body * max(1, size // len(body))


def _arrived(site: Site, recipient: str) -> bytes:
    return next(m.data for m in site.sink.wait_for_recipients([recipient]) if recipient in m.addresses)


class TestListeners:
    def test_our_certificate_is_let_in(self, site: Site) -> None:
        """
        A copy submitted with Gatepost's certificate is delivered, and no milter of ours saw it.
        """
        assert _reinject(site.reinject_port, site.gate.client_pem, "in@far.test", _message("grow 2"))[0] == 250

        arrived = _arrived(site, "in@far.test")
        assert b"X-Listener" not in arrived
        assert arrived.endswith(_message("grow 2").partition(b"\r\n\r\n")[2])

    @pytest.mark.parametrize("which", ["none", "other"])
    @pytest.mark.parametrize("recipient", ["out@far.test", "postmaster"])
    def test_nobody_else_is_let_in(self, site: Site, tmp_path: Path, which: str, recipient: str) -> None:
        """
        Another local user, without a certificate or with one of his own, is refused for good, whoever it is for.
        """
        pem = None if which == "none" else _self_signed(tmp_path / "other.pem", "client")

        for port in (site.reinject_port, site.reinject_tls_port):
            assert 500 <= _reinject(port, pem, recipient, _message("x"))[0] < 600

    @pytest.mark.parametrize("pem", ["", "listener.pem", "client.pem"])
    def test_another_user_of_the_host_is_refused(self, site: Site, pem: str) -> None:
        """
        Another user of this host is refused for good by the greeting, and may read neither certificate's key.
        """
        for port in (site.reinject_port, site.reinject_tls_port):
            talk = speak(port, site.gate.client_pem.parent / pem if pem else None)
            if pem:
                assert b"Permission denied" in talk.stderr
            else:
                assert talk.stdout.startswith(b"554 ")
                assert not re.search(rb"^250", talk.stdout, re.MULTILINE)

    def test_copy_may_be_larger(self, site: Site) -> None:
        """
        An encrypted copy may have 1.5 times the size that smtpd accepts.
        """
        assert _reinject(site.reinject_port, site.gate.client_pem, "b@far.test", _message("x", 590_000))[0] == 250

    def test_extensions_stay(self, site: Site) -> None:
        """
        What a sender asked for with ESMTP parameters can travel with the copy.
        """
        context = ssl._create_unverified_context()  # noqa: S323 - a listener of our own on loopback
        context.load_cert_chain(site.gate.client_pem)
        with smtplib.SMTP_SSL("127.0.0.1", site.reinject_port, context=context) as client:
            client.ehlo("gw.test")

            assert {"dsn", "smtputf8", "8bitmime"} <= set(client.esmtp_features)


class TestMilter:
    @pytest.mark.parametrize("way", ["inside", "submission"])
    def test_every_listener_passes_it(self, site: Site, way: str) -> None:
        """
        Mail by any listener passes the milter, which is told the listener's name.
        """
        port = site.postfix.inside_port if way == "inside" else site.postfix.submission_port

        assert send(port, Envelope.of("a@near.test", f"{way}@far.test"), _message("x")).ok

        name = str(site.postfix.inside_port) if way == "inside" else "submission"
        assert f"X-Listener: {name}\r\n".encode() in _arrived(site, f"{way}@far.test")

    def test_sendmail_passes_it(self, site: Site) -> None:
        """
        Mail by sendmail(1) has no SMTP session and passes the milter too.
        """
        command = ["sendmail", "-C", site.postfix.config_dir, "-f", "a@near.test", "local@far.test"]
        subprocess.run(command, input=_message("x"), check=True, timeout=30)

        assert b"X-Listener: " in _arrived(site, "local@far.test")

    def test_message_just_under_the_limit_may_grow(self, site: Site) -> None:
        """
        A message just under message_size_limit goes out although encryption makes it 1.4 times as large.
        """
        envelope = Envelope.of("a@near.test", "grown@far.test")

        assert send(site.postfix.inside_port, envelope, _message("grow 1.4", 398_000)).ok
        assert len(_arrived(site, "grown@far.test")) > 540_000

    def test_limit_of_the_admin_stays(self, site: Site) -> None:
        """
        A client cannot send more than the admin's message_size_limit.
        """
        assert not send(
            site.postfix.inside_port, Envelope.of("a@near.test", "b@far.test"), _message("x", 450_000)
        ).ok


class TestTlsRoute:
    def test_milters_field_takes_the_route(self, site: Site, policy: PolicyAnswers) -> None:
        """
        A message on which the milter puts the field goes by verified TLS, and the field stays inside.
        """
        hop = f"[127.0.0.1]:{site.sink.port}"

        assert send(
            site.postfix.inside_port, Envelope.of("a@near.test", "t1@far.test"), _message(f"route {hop}")
        ).ok

        site.sink.wait_for_recipients(["t1@far.test"])
        (received,) = [m for m in site.sink.messages if "t1@far.test" in m.addresses]
        assert received.tls is not None
        assert b"Gatepost-Route" not in received.data
        assert f"tls {hop}" in policy.asked

    def test_second_listener_takes_the_route(self, site: Site, policy: PolicyAnswers) -> None:
        """
        A copy on the second listener goes by the route that its field names.
        """
        field = f"Gatepost-Route: [127.0.0.1]:{site.sink.port}\r\n".encode()

        reply = _reinject(site.reinject_tls_port, site.gate.client_pem, "t2@far.test", field + _message("x"))

        assert reply[0] == 250
        site.sink.wait_for_recipients(["t2@far.test"])
        (received,) = [m for m in site.sink.messages if "t2@far.test" in m.addresses]
        assert received.tls is not None
        assert b"Gatepost-Route" not in received.data
        assert policy.asked

    def test_clients_field_takes_no_route(self, site: Site, policy: PolicyAnswers) -> None:
        """
        The same field sent by a client has no effect on the way its mail goes.
        """
        field = b"Gatepost-Route: [127.0.0.1]:1\r\n"

        assert send(site.postfix.inside_port, Envelope.of("a@near.test", "t3@far.test"), field + _message("x")).ok

        site.sink.wait_for_recipients(["t3@far.test"])
        assert "tls [127.0.0.1]:1" not in policy.asked  # nor is what another test left behind looked at

    @pytest.mark.parametrize("answer", ["NOTFOUND ", "TEMP down", "OK secure match=another.test"])
    def test_nothing_goes_in_clear(self, site: Site, policy: PolicyAnswers, answer: str) -> None:
        """
        Without a policy, without an answer, or where the name does not fit, mail waits.
        """
        policy.answer = answer
        recipient = f"{answer.split(maxsplit=1)[0].lower()}@far.test"
        route = f"route [127.0.0.1]:{site.sink.port}"

        outcome = send(site.postfix.inside_port, Envelope.of("a@near.test", recipient), _message(route))

        tried = f"{outcome.queue_id}: to=<{recipient}>, "
        until(lambda: tried in site.postfix.log(), 20, site.postfix.log)
        line = next(line for line in site.postfix.log().splitlines() if tried in line)
        assert "status=deferred" in line
        assert all(recipient not in message.addresses for message in site.sink.messages)

    def test_unreadable_route_goes_nowhere(self, site: Site) -> None:
        """
        A field that names no hop refuses the message instead of letting it go the ordinary way.
        """
        outcome = send(site.postfix.inside_port, Envelope.of("a@near.test", "t4@far.test"), _message("route a b"))

        assert not outcome.ok


class TestDoctor:
    def test_every_way_in_passes(self, site: Site) -> None:
        """
        After `setup` every way mail enters passes Gatepost, the listeners themselves left out.
        """
        ways = checks.ways_in(site.postfix.config_dir, site.gate)

        assert {way.passes for way in ways} == {"yes"}
        assert len(ways) == 4

    def test_listeners_and_settings_are_well(self, site: Site) -> None:
        """
        What `setup` wrote is found in force, and the listeners let in our certificate alone.
        """
        findings = list(checks.postfix_checks(site.postfix.config_dir, site.gate, NEAR))

        assert [found for found in findings if found.status is Status.FAIL] == []
        assert sum("lets in our certificate alone" in found.what for found in findings) == 2

    def test_listener_that_refuses_us_is_told(self, site: Site, tmp_path: Path) -> None:
        """
        A certificate that the listeners do not know is a failure, and so are settings out of date.
        """
        gate = replace(site.gate, client_pem=_self_signed(tmp_path / "new.pem", "client"))

        whats = [
            f.what for f in checks.postfix_checks(site.postfix.config_dir, gate, NEAR) if f.status is Status.FAIL
        ]

        assert sum("refuses our certificate" in what for what in whats) == 2
        assert any("out of date: master.cf" in what for what in whats)

    @pytest.mark.parametrize(
        ("setting", "said"),
        [
            ("always_bcc = x@y.test", "always_bcc = x@y.test copies mail past Gatepost"),
            ("enable_original_recipient = no", "enable_original_recipient = no"),
            ("mydestination = near.test", "forward_path is set, and local(8) serves near.test"),
            ("receive_override_options = no_milters", "no_milters passes Gatepost by"),
        ],
    )
    def test_setting_that_breaks_the_promise_is_told(
        self, site: Site, tmp_path: Path, setting: str, said: str
    ) -> None:
        """
        A setting of Postfix that lets mail out in clear is a failure.
        """
        for name in ("main.cf", "master.cf"):
            (tmp_path / name).write_text((site.postfix.config_dir / name).read_text() + "\n")
        with (tmp_path / "main.cf").open("a") as main:
            main.write(f"{setting}\n")

        findings = [f for f in checks.postfix_checks(tmp_path, site.gate, NEAR) if f.status is Status.FAIL]

        assert any(said in f"{found.what} {found.remedy}" for found in findings)
