"""
Every way mail enters a real Postfix: it passes Gatepost, and counts as coming from the side that it comes from.

Both arrangements: Gatepost before alias expansion, and behind it. What arrived is judged by its bytes.
"""

import json
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from lab.client import Client, Envelope
from lab.letter import canary, letter, pgp_mime
from lab.login import LoginServer, plain
from lab.place import free_port, short_folder
from lab.town import Town, build

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

FAR = "192.0.2.7"  # RFC 5737


@pytest.fixture(scope="module")
def fetched_port() -> int:
    """Give the port of the listener where fetchmail delivers."""
    return free_port()


@pytest.fixture(scope="module")
def own_port() -> int:
    """Give the port of a submission service that sets everything itself."""
    return free_port()


@pytest.fixture(scope="module", params=["before aliases", "after aliases"])
def running(request: pytest.FixtureRequest, fetched_port: int, own_port: int) -> Iterator[Town]:
    """Give a town with more ways in, as an admin has them."""
    setup = ["--after-aliases"] if request.param == "after aliases" else []
    settings = {
        "gateway.outside_listeners": ["outside", "fetched"],
        "gateway.inside_listeners": ["submission", "submissions"],
    }
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        logins = stack.enter_context(LoginServer(folder / "logins"))
        built = build(folder, stack, settings=settings, setup=setup)
        with (built.postfix.config_dir / "master.cf").open("a") as master:
            master.write(f"127.0.0.1:{fetched_port} inet n - n - 5 smtpd -o milter_macro_daemon_name=fetched\n")
            master.write(
                f"127.0.0.1:{own_port} inet n - n - 5 smtpd\n"
                "  -o syslog_name=postfix/office -o smtpd_milters= -o mynetworks=\n"
                "  -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot\n"
                f"  -o smtpd_sasl_path={logins.path}\n"
                "  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject_unauth_destination\n"
            )
        built.site.gatepost("setup", "postfix", "--apply")
        stack.enter_context(built.postfix)
        stack.callback(built.site.stop)
        built.site.start()
        yield built


@pytest.fixture
def the_town(running: Town) -> Iterator[Town]:
    """Give the town with empty sinks; nothing may be left in the queue."""
    with running.emptied():
        yield running


def _sendmail(town: Town, *arguments: str, message: bytes) -> None:
    command = ["sendmail", "-C", str(town.postfix.config_dir), *arguments]
    subprocess.run(command, input=message.replace(b"\r\n", b"\n"), check=True, timeout=30)


class TestSendmail:
    def test_tagged_mail_of_a_cron_job_is_encrypted(self, the_town: Town) -> None:
        """A script's mail by sendmail(1) comes from inside: its tag counts."""
        word = canary()
        message = letter(word, sender="root@hosp.test", to="kim@plain.test", subject="*secure* nightly report")
        _sendmail(the_town, "-t", "-f", "root@hosp.test", message=message)

        copy = the_town.outside.only("kim@plain.test")
        assert word.encode() not in copy.data
        assert word.encode() in the_town.gpg.decrypt(copy.data).data

    def test_what_is_refused_comes_back(self, the_town: Town) -> None:
        """Nothing is refused before the end of the message: the sender gets a bounce, and nothing stays behind."""
        message = letter("x", sender="sue@hosp.test", to="a%far.test@hosp.test")
        _sendmail(the_town, "-f", "sue@hosp.test", "a%far.test@hosp.test", message=message)

        bounce = the_town.inside.only("sue@hosp.test")
        assert b"names a route" in bounce.body
        the_town.postfix.wait_queue_empty()
        maildrop = the_town.postfix.queue_dir / "maildrop"
        assert list(maildrop.iterdir()) == []


class TestSubmission:
    def test_a_service_with_options_of_its_own(self, the_town: Town, own_port: int) -> None:
        """A service that empties smtpd_milters passes Gatepost all the same; a login makes an insider."""
        word = canary()
        message = letter(word, sender="sue@hosp.test", to="kim@plain.test", subject="*secure* x")
        with Client(own_port) as client:
            client.xclient(ADDR=FAR, NAME="roaming.test")
            assert client.command(plain("sue")).ok
            assert client.send(Envelope.of("sue@hosp.test", "kim@plain.test"), message).ok

        copy = the_town.outside.only("kim@plain.test")
        assert word.encode() not in copy.data
        assert word.encode() in the_town.gpg.decrypt(copy.data).data

    def test_without_a_login_it_is_outside(self, the_town: Town, own_port: int) -> None:
        """The same client without a login is outside: forged fields are taken out, and its tag stays a word."""
        word = canary()
        forged = ["Gatepost-Result: forged; decrypted=openpgp"]
        message = letter(word, sender="m@far.test", to="sue@hosp.test", subject="*secure* x", fields=forged)
        with Client(own_port) as client:
            client.xclient(ADDR=FAR, NAME="roaming.test")
            assert client.send(Envelope.of("m@far.test", "sue@hosp.test"), message).ok

        copy = the_town.inside.only("sue@hosp.test")
        assert [value.partition(";")[0] for value in copy.values("Gatepost-Result")] == ["gatepost.mail.hosp.test"]
        assert copy.values("Subject") == ["*secure* x"]


class TestFetchmail:
    def test_what_is_fetched_comes_from_outside(self, the_town: Town, fetched_port: int) -> None:
        """Mail delivered from loopback to an outside listener is decrypted; its forged fields are taken out."""
        word = canary()
        inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
        line, body = pgp_mime(the_town.gpg.encrypt(inner, ["gatepost@hosp.test"]))
        fields = [line, "Gatepost-Result: forged; decrypted=openpgp"]
        message = letter(body, sender="ann@pgp.test", to="sue@hosp.test", subject="[-Encrypted-] x", fields=fields)
        with smtplib.SMTP("127.0.0.1", fetched_port) as client:
            client.sendmail("ann@pgp.test", ["sue@hosp.test"], message)

        copy = the_town.inside.only("sue@hosp.test")
        assert word.encode() in copy.body
        (result,) = copy.values("Gatepost-Result")
        assert result.startswith("gatepost.mail.hosp.test; decrypted=openpgp")
        assert copy.values("Subject") == ["[unverified] x"]

    def test_a_tag_in_fetched_mail_asks_for_nothing(self, the_town: Town, fetched_port: int) -> None:
        """A stranger's tag does not make Gatepost encrypt in our name, though the client is on loopback."""
        word = canary()
        message = letter(word, sender="m@far.test", to="kim@plain.test", subject="*secure* x")
        with smtplib.SMTP("127.0.0.1", fetched_port) as client:
            client.sendmail("m@far.test", ["kim@plain.test"], message)

        copy = the_town.outside.only("kim@plain.test")
        assert word.encode() in copy.body
        assert copy.values("Subject") == ["*secure* x"]


class TestTable:
    def test_the_doctor_lists_them_all(self, the_town: Town) -> None:
        """Each way in stands in the doctor's table under its listener's name, and passes."""
        told = json.loads(the_town.site.gatepost("--json", "doctor", check=False).stdout)
        ways = told["ways_in"]

        assert [check for check in told["checks"] if check["status"] == "fail"] == []
        names = {way["listener"] for way in ways}
        assert {"submission", "outside", "fetched", "office", "pickup"} <= names
        assert {way["passes"] for way in ways} == {"yes"}

    def test_a_way_past_us_fails_unless_it_is_exempt(self, the_town: Town) -> None:
        """A listener without Gatepost fails the doctor with two remedies, and each of them mends it."""
        site, master = the_town.site, the_town.postfix.config_dir / "master.cf"
        before = master.read_bytes()
        port = free_port()
        try:
            with master.open("a") as file:
                file.write(
                    f"127.0.0.1:{port} inet n - n - 5 smtpd -o smtpd_milters= -o syslog_name=postfix/hole\n"
                )
                file.write("  -o content_filter= -o cleanup_service_name=cleanup\n")
            assert _fault(the_town, "listener hole")
            exempt = site.config.read_bytes()
            site.set("gateway.exempt_listeners", ["hole"])
            assert not _fault(the_town, "listener hole")
            site.config.write_bytes(exempt)
            site.gatepost("setup", "postfix", "--apply")
            assert not _fault(the_town, "listener hole")
        finally:
            master.write_bytes(before)


def _fault(town: Town, word: str) -> bool:
    done = town.site.gatepost("--json", "doctor", check=False)
    return f"{word}) passes Gatepost by" in done.stdout and done.returncode == 1
