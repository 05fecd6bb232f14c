"""
Gatepost behind alias expansion, through a real Postfix: whoever aliases lead to is decided about after they did.

Gatepost cannot ask the tables here: its rules see the addresses that Postfix made of them. What arrived is judged
by its bytes: a canary in each body shows who could read it.
"""

import subprocess
from collections.abc import Iterator

import pytest
from lab.certificate import Authority
from lab.client import Client, Envelope
from lab.letter import canary, letter, pgp_mime
from lab.place import short_folder
from lab.stranger import speak
from lab.town import Town, town_with_aliases

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_VIRTUAL = """\
away@hosp.test ann@pgp.test
lost@hosp.test nobody@plain.test
both@hosp.test doc@hosp.test, bob@pgp.test
self@hosp.test self@hosp.test, carl@plain.test
sue.alias@hosp.test sue@hosp.test
"""
_LOCAL = "fwd carl@plain.test\n"


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    """Give a town whose Postfix has aliases, and Gatepost behind them."""
    with short_folder() as folder:
        own = Authority(folder / "own").issue("mail.hosp.test")
        main = {
            "always_bcc": "archive@hosp.test",
            "forward_path": "",
            "smtpd_tls_security_level": "may",
            "smtpd_tls_cert_file": str(own.file),
            "smtpd_tls_key_file": str(own.key),
        }
        with town_with_aliases(
            folder, virtual=_VIRTUAL, local=_LOCAL, main=main, setup=["--after-aliases"]
        ) as built:
            yield built


@pytest.fixture
def the_town(running: Town) -> Iterator[Town]:
    """Give the town with empty sinks; nothing may be left in the queue."""
    with running.emptied():
        yield running


class TestOut:
    def test_an_alias_that_leads_outside_is_encrypted(self, the_town: Town) -> None:
        """Tagged mail to an insider whose alias leads outside goes encrypted to where it leads, and once."""
        word = the_town.send_tagged("away@hosp.test")

        message = the_town.outside.only("ann@pgp.test")
        the_town.postfix.wait_queue_empty()
        assert word.encode() in the_town.gpg.decrypt(message.data).data
        assert not the_town.seen_outside(word)
        assert the_town.outside.addresses == ["ann@pgp.test"]

    def test_without_a_key_it_is_held_and_told(self, the_town: Town) -> None:
        """Tagged mail whose alias leads to an outsider without a key is held; the notice finds its sender."""
        word = canary()
        message = letter(word, sender="sue.alias@hosp.test", to="lost@hosp.test", subject="*secure* x")
        assert the_town.send("sue.alias@hosp.test", "lost@hosp.test", message=message).ok

        the_town.inside.wait_for_recipients(["sue@hosp.test"])
        the_town.postfix.wait_queue_empty()
        notices = [one for one in the_town.inside.messages if "sue@hosp.test" in one.addresses]
        assert b"nobody@plain.test" in notices[0].body
        assert not the_town.seen_outside(word)
        assert the_town.outside.messages == []

    def test_inside_and_outside_part(self, the_town: Town) -> None:
        """An alias that leads inside and outside: the insider reads it, the outsider gets it encrypted."""
        word = the_town.send_tagged("both@hosp.test")

        assert word.encode() in the_town.inside.only("doc@hosp.test").body
        message = the_town.outside.only("bob@pgp.test")
        assert word.encode() in the_town.gpg.decrypt(message.data).data
        assert not the_town.seen_outside(word)

    def test_no_alias_is_followed_twice(self, the_town: Town) -> None:
        """A mailbox that also forwards: the copy for it does not go on to the forward, which is held."""
        word = the_town.send_tagged("self@hosp.test")

        assert word.encode() in the_town.inside.only("self@hosp.test").body
        the_town.inside.wait_for_recipients(["sue@hosp.test"])
        the_town.postfix.wait_queue_empty()
        assert the_town.outside.messages == []

    def test_what_local_would_forward_is_held(self, the_town: Town) -> None:
        """What alias_maps send outside at delivery is still known beforehand."""
        word = the_town.send_tagged("fwd@box.hosp.test")

        the_town.inside.wait_for_recipients(["sue@hosp.test"])
        the_town.postfix.wait_queue_empty()
        assert not the_town.seen_outside(word)

    def test_the_archive_gets_its_copy_as_an_insider(self, the_town: Town) -> None:
        """A BCC that Postfix adds is a recipient like any other here, and added once."""
        word = the_town.send_tagged("away@hosp.test")

        the_town.inside.wait_for_recipients(["archive@hosp.test"])
        the_town.postfix.wait_queue_empty()
        archived = [one for one in the_town.inside.messages if "archive@hosp.test" in one.addresses]
        assert [word.encode() in one.body for one in archived] == [True]

    def test_sendmail_comes_from_inside(self, the_town: Town) -> None:
        """Tagged mail by sendmail(1), such as a cron job's, is encrypted."""
        word = canary()
        message = letter(word, sender="root@hosp.test", to="ann@pgp.test", subject="*secure* report")
        command = ["sendmail", "-C", the_town.postfix.config_dir, "-f", "root@hosp.test", "ann@pgp.test"]
        subprocess.run(command, input=message, check=True, timeout=30)

        assert word.encode() in the_town.gpg.decrypt(the_town.outside.only("ann@pgp.test").data).data
        assert not the_town.seen_outside(word)


class TestIn:
    def test_the_outside_target_gets_the_ciphertext(self, the_town: Town) -> None:
        """Encrypted mail from outside is opened for an alias's insiders alone; the others get it as it came."""
        word = canary()
        inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
        line, body = pgp_mime(the_town.gpg.encrypt(inner, ["gatepost@hosp.test"]))
        message = letter(body, sender="ann@pgp.test", to="both@hosp.test", fields=[line])
        assert the_town.send_from_outside("ann@pgp.test", "both@hosp.test", message=message).ok

        assert word.encode() in the_town.inside.only("doc@hosp.test").body
        outside = the_town.outside.only("bob@pgp.test")
        assert "multipart/encrypted" in outside.values("Content-Type")[0]
        the_town.postfix.wait_queue_empty()
        assert not the_town.seen_outside(word)

    def test_what_was_opened_is_not_sent_on(self, the_town: Town) -> None:
        """A mailbox that also forwards: its opened copy takes no alias a second time."""
        word = canary()
        inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
        line, body = pgp_mime(the_town.gpg.encrypt(inner, ["gatepost@hosp.test"]))
        message = letter(body, sender="ann@pgp.test", to="self@hosp.test", fields=[line])
        assert the_town.send_from_outside("ann@pgp.test", "self@hosp.test", message=message).ok

        assert word.encode() in the_town.inside.only("self@hosp.test").body
        the_town.outside.wait_for_recipients(["carl@plain.test"])
        the_town.postfix.wait_queue_empty()
        assert the_town.outside.addresses == ["carl@plain.test"]
        assert not the_town.seen_outside(word)

    def test_a_client_that_is_not_ours_asks_for_nothing(self, the_town: Town) -> None:
        """A client that is not in our networks counts as outside, and its tag asks for nothing."""
        word = canary()
        message = letter(word, sender="mallory@plain.test", to="away@hosp.test", subject="*secure* x")
        with Client(the_town.postfix.inside_port) as client:
            client.xclient(ADDR="192.0.2.7", NAME="mx.plain.test")
            assert client.send(Envelope.of("mallory@plain.test", "away@hosp.test"), message).ok

        assert word.encode() in the_town.outside.only("ann@pgp.test").body

    @pytest.mark.parametrize(("by_tls", "came"), [(True, "tls"), (False, "plain")])
    def test_the_entrance_tells_how_mail_came(self, the_town: Town, *, by_tls: bool, came: str) -> None:
        """The step to Gatepost is always by TLS; what counts is how the client came, whatever it says."""
        hello = "x by mail.hosp.test (Postfix) with ESMTPS id 1"
        with Client(the_town.postfix.outside_port, helo=hello) as client:
            if by_tls:
                client.starttls()
            message = letter(canary(), sender="x@plain.test", to="nurse@hosp.test")
            assert client.send(Envelope.of("x@plain.test", "nurse@hosp.test"), message).ok

        (result,) = the_town.inside.only("nurse@hosp.test").values("Gatepost-Result")
        assert result.endswith(f"; came={came}")


class TestArrangement:
    def test_the_doctor_is_content(self, the_town: Town) -> None:
        """Every way in passes, all five listeners let in our certificate alone, and nothing is out of date."""
        told = the_town.site.gatepost("--json", "doctor", check=False).stdout

        assert '"status": "fail"' not in told
        assert told.count("lets in our certificate alone") == 5

    @pytest.mark.parametrize("key", ["behind_inside", "behind_outside", "behind_notices"])
    def test_nobody_else_is_let_in(self, the_town: Town, key: str) -> None:
        """Another user of this host is refused for good by each listener behind the expansion."""
        talk = speak(int(str(the_town.site.setting(f"gateway.{key}")).rpartition(":")[2]))

        assert talk.stdout.startswith(b"554 ")
        assert b"\n250 " not in talk.stdout

    def test_applying_again_changes_nothing(self, the_town: Town) -> None:
        """The arrangement stays without naming it again."""
        done = the_town.site.json("setup", "postfix")

        assert done["changed"] == []
        assert the_town.site.setting("gateway.aliases") == "expanded"

    def test_down_means_later(self, the_town: Town) -> None:
        """While Gatepost is down mail waits in the queue, and goes protected when it is back."""
        the_town.site.stop()
        try:
            word = the_town.send_tagged("away@hosp.test")
            assert the_town.postfix.queue()
        finally:
            the_town.site.start()
        the_town.postfix.flush()

        assert word.encode() in the_town.gpg.decrypt(the_town.outside.only("ann@pgp.test").data).data
        assert not the_town.seen_outside(word)
