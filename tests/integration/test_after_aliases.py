"""
Gatepost behind alias expansion, through a real Postfix: whoever aliases lead to is decided about after they did.

Gatepost cannot ask the tables here: its rules see the addresses that Postfix made of them. What arrived is judged
by its bytes: a canary in each body shows who could read it.
"""

import subprocess
from collections.abc import Iterator

import pytest
from lab.client import Client, Envelope
from lab.letter import canary, letter, pgp_mime
from lab.place import short_folder
from lab.sink import Received, Sink
from lab.stranger import speak
from lab.town import Town, town

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
        for name, text in (("virtual", _VIRTUAL), ("local", _LOCAL)):
            (folder / name).write_text(text)
        settings = {"gateway.internal_domains": ["hosp.test", "box.hosp.test"]}
        main = {
            "virtual_alias_maps": f"texthash:{folder}/virtual",
            "alias_maps": f"texthash:{folder}/local",
            "mydestination": "box.hosp.test",
            "always_bcc": "archive@hosp.test",
            "forward_path": "",
        }
        with town(folder, settings=settings, postfix_settings=main, setup=["--after-aliases"]) as built:
            built.postfix.route("box.hosp.test", "local:")
            yield built


@pytest.fixture
def the_town(running: Town) -> Iterator[Town]:
    """Give the town with empty sinks; nothing may be left in the queue."""
    running.clear()
    yield running
    running.postfix.wait_queue_empty()
    running.clear()


def _arrived(sink: Sink, address: str) -> Received:
    sink.wait_for_recipients([address])
    (message,) = (message for message in sink.messages if address in message.addresses)
    return message


def _tagged(town: Town, recipient: str) -> str:
    """Send tagged mail from inside; give its canary."""
    word = canary()
    assert town.send("sue@hosp.test", recipient, message=letter(word, to=recipient, subject="*secure* x")).ok
    return word


def _seen_outside(town: Town, word: str) -> bool:
    return any(word.encode() in message.data for sink in (town.outside, town.tls) for message in sink.messages)


def _addresses(sink: Sink) -> list[str]:
    return sorted(address for message in sink.messages for address in message.addresses)


class TestOut:
    def test_an_alias_that_leads_outside_is_encrypted(self, the_town: Town) -> None:
        """Tagged mail to an insider whose alias leads outside goes encrypted to where it leads, and once."""
        word = _tagged(the_town, "away@hosp.test")

        message = _arrived(the_town.outside, "ann@pgp.test")
        the_town.postfix.wait_queue_empty()
        assert word.encode() in the_town.gpg.decrypt(message.data).data
        assert not _seen_outside(the_town, word)
        assert _addresses(the_town.outside) == ["ann@pgp.test"]

    def test_without_a_key_it_is_held_and_told(self, the_town: Town) -> None:
        """Tagged mail whose alias leads to an outsider without a key is held; the notice finds its sender."""
        word = canary()
        message = letter(word, sender="sue.alias@hosp.test", to="lost@hosp.test", subject="*secure* x")
        assert the_town.send("sue.alias@hosp.test", "lost@hosp.test", message=message).ok

        the_town.inside.wait_for_recipients(["sue@hosp.test"])
        the_town.postfix.wait_queue_empty()
        notices = [one for one in the_town.inside.messages if "sue@hosp.test" in one.addresses]
        assert b"nobody@plain.test" in notices[0].body
        assert not _seen_outside(the_town, word)
        assert the_town.outside.messages == []

    def test_inside_and_outside_part(self, the_town: Town) -> None:
        """An alias that leads inside and outside: the insider reads it, the outsider gets it encrypted."""
        word = _tagged(the_town, "both@hosp.test")

        assert word.encode() in _arrived(the_town.inside, "doc@hosp.test").body
        message = _arrived(the_town.outside, "bob@pgp.test")
        assert word.encode() in the_town.gpg.decrypt(message.data).data
        assert not _seen_outside(the_town, word)

    def test_no_alias_is_followed_twice(self, the_town: Town) -> None:
        """A mailbox that also forwards: the copy for it does not go on to the forward, which is held."""
        word = _tagged(the_town, "self@hosp.test")

        assert word.encode() in _arrived(the_town.inside, "self@hosp.test").body
        the_town.inside.wait_for_recipients(["sue@hosp.test"])
        the_town.postfix.wait_queue_empty()
        assert the_town.outside.messages == []

    def test_what_local_would_forward_is_held(self, the_town: Town) -> None:
        """What alias_maps send outside at delivery is still known beforehand."""
        word = _tagged(the_town, "fwd@box.hosp.test")

        the_town.inside.wait_for_recipients(["sue@hosp.test"])
        the_town.postfix.wait_queue_empty()
        assert not _seen_outside(the_town, word)

    def test_the_archive_gets_its_copy_as_an_insider(self, the_town: Town) -> None:
        """A BCC that Postfix adds is a recipient like any other here, and added once."""
        word = _tagged(the_town, "away@hosp.test")

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

        assert word.encode() in the_town.gpg.decrypt(_arrived(the_town.outside, "ann@pgp.test").data).data
        assert not _seen_outside(the_town, word)


class TestIn:
    def test_the_outside_target_gets_the_ciphertext(self, the_town: Town) -> None:
        """Encrypted mail from outside is opened for an alias's insiders alone; the others get it as it came."""
        word = canary()
        inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
        line, body = pgp_mime(the_town.gpg.encrypt(inner, ["gatepost@hosp.test"]))
        message = letter(body, sender="ann@pgp.test", to="both@hosp.test", fields=[line])
        assert the_town.send_from_outside("ann@pgp.test", "both@hosp.test", message=message).ok

        assert word.encode() in _arrived(the_town.inside, "doc@hosp.test").body
        outside = _arrived(the_town.outside, "bob@pgp.test")
        assert "multipart/encrypted" in outside.values("Content-Type")[0]
        the_town.postfix.wait_queue_empty()
        assert not _seen_outside(the_town, word)

    def test_what_was_opened_is_not_sent_on(self, the_town: Town) -> None:
        """A mailbox that also forwards: its opened copy takes no alias a second time."""
        word = canary()
        inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
        line, body = pgp_mime(the_town.gpg.encrypt(inner, ["gatepost@hosp.test"]))
        message = letter(body, sender="ann@pgp.test", to="self@hosp.test", fields=[line])
        assert the_town.send_from_outside("ann@pgp.test", "self@hosp.test", message=message).ok

        assert word.encode() in _arrived(the_town.inside, "self@hosp.test").body
        the_town.outside.wait_for_recipients(["carl@plain.test"])
        the_town.postfix.wait_queue_empty()
        assert _addresses(the_town.outside) == ["carl@plain.test"]
        assert not _seen_outside(the_town, word)

    def test_a_client_that_is_not_ours_asks_for_nothing(self, the_town: Town) -> None:
        """A client that is not in our networks counts as outside, and its tag asks for nothing."""
        word = canary()
        message = letter(word, sender="mallory@plain.test", to="away@hosp.test", subject="*secure* x")
        with Client(the_town.postfix.inside_port) as client:
            client.xclient(ADDR="192.0.2.7", NAME="mx.plain.test")
            assert client.send(Envelope.of("mallory@plain.test", "away@hosp.test"), message).ok

        assert word.encode() in _arrived(the_town.outside, "ann@pgp.test").body


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
            word = _tagged(the_town, "away@hosp.test")
            assert the_town.postfix.queue()
        finally:
            the_town.site.start()
        the_town.postfix.flush()

        assert word.encode() in the_town.gpg.decrypt(_arrived(the_town.outside, "ann@pgp.test").data).data
        assert not _seen_outside(the_town, word)
