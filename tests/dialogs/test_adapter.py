"""
Dialogs with the milter adapter over its socket: what no real mail server would say, and the order of the answers.

Letters are the protocol's own (libmilter's mfdef.h): `a` accept, `c` continue, `y` a reply of our own, `s` skip,
`d` discard, `p` work goes on; `b` body, `m` change a field, `h` add one, `i` insert one, `-` delete a recipient,
`e` change the sender.
"""

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from lab.dialog import Answer, dialog
from lab.place import note, short_folder
from lab.wait import until
from miltertest.client import MilterError
from miltertest.codec import MilterProtoError

pytestmark = pytest.mark.real

_SCRIPT = Path(__file__).with_name("scripted.py")
_GONE = (OSError, MilterError, MilterProtoError)


class Milter:
    """The adapter in a process of its own, before a scripted gateway."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "milter.sock"
        with (folder / "log").open("wb") as log:
            command = [sys.executable, str(_SCRIPT), str(folder)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        note("group", self.process.pid)
        until((folder / "ready").exists, 30, self.log)

    def log(self) -> str:
        """Give what it has said."""
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(60)
        note("ended", self.process.pid)


@pytest.fixture(scope="module")
def shared() -> Iterator[Milter]:
    with short_folder() as folder:
        milter = Milter(folder)
        yield milter
        milter.stop()


@pytest.fixture
def milter(shared: Milter) -> Iterator[Milter]:
    """Give the adapter, and see that afterwards it serves as before and has said nothing it should not."""
    yield shared
    with dialog(shared.path) as talk:
        talk.connect()
        assert _saw(talk.message(b"after"))["fields"] == ["Subject"]
    assert "Traceback" not in shared.log()


@pytest.fixture
def own_milter() -> Iterator[Milter]:
    """Give an adapter that the test may end."""
    with short_folder() as folder:
        milter = Milter(folder)
        yield milter
        milter.stop()


def _letters(answers: list[Answer]) -> str:
    return "".join(letter for letter, _ in answers)


def _saw(answers: list[Answer]) -> dict[str, Any]:
    """Give what the gateway was told, which it must have accepted."""
    assert answers[-1][0] == "a"
    told = next(parts["value"] for letter, parts in answers if letter == "h" and parts["name"] == "X-Saw")
    found: dict[str, Any] = json.loads(told)
    return found


def _is_tempfail(answer: Answer) -> bool:
    return answer[0] == "y" and answer[1]["smtpcode"] == "451" and answer[1]["text"].startswith("4.7.1 ")


class TestOneMessage:
    def test_what_the_gateway_is_told(self, milter: Milter) -> None:
        """Envelope, header, body and macros reach the gateway as they were given."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.macros(b"M", **{"{auth_authen}": b"sue", "{daemon_name}": b"submission"})
            talk.mail(b"<Sue@hosp.test>", b"SIZE=100", b"BODY=8BITMIME")
            assert talk.rcpt(b'<"odd one"@plain.test>', b"NOTIFY=NEVER")[0] == "c"
            assert talk.rcpt("<jürgen@plain.test>".encode())[0] == "c"
            talk.header(Subject=b" x", Received=b" y")
            talk.body(b"one\r\n")
            talk.body(b"two\r\n")
            talk.macros(b"E", i=b"QUEUEID")
            saw = _saw(talk.end())

        assert saw["sender"] == "<Sue@hosp.test>"
        assert saw["parameters"] == ["SIZE=100", "BODY=8BITMIME"]
        assert saw["recipients"] == ['<"odd one"@plain.test>', "<jürgen@plain.test>"]
        assert saw["fields"] == ["Subject", "Received"]
        assert saw["body"] == hashlib.sha256(b"one\r\ntwo\r\n").hexdigest()
        assert (saw["queue_id"], saw["authenticated"], saw["address"]) == ("QUEUEID", "sue", "127.0.0.1")

    @pytest.mark.parametrize(
        ("macros", "came", "certificate"),
        [
            ({}, "plain", ""),
            ({"{cert_subject}": b"mx.test"}, "plain", ""),
            ({"{tls_version}": b"TLSv1.3"}, "tls", ""),
            ({"{tls_version}": b"TLSv1.3", "{cert_subject}": b"mx.test"}, "verified", "mx.test"),
            ({"{tls_version}": b"TLSv1.3", "{cert_issuer}": b"Lab CA"}, "verified", ""),
            ({"{tls_version}": b"TLSv1.3", "{cert_subject}": b"/CN=mx.test"}, "tls", ""),
            ({"{tls_version}": b"TLSv1.3", "{cert_subject}": b"/CN=x", "{verify}": b"FAIL"}, "tls", ""),
            ({"{tls_version}": b"TLSv1.3", "{cert_subject}": b"/CN=x", "{verify}": b"OK"}, "verified", "/CN=x"),
        ],
    )
    def test_how_the_client_came(
        self, milter: Milter, macros: dict[str, bytes], came: str, certificate: str
    ) -> None:
        """The macros of HELO tell, for every message of the connection; a certificate counts only if trusted."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.macros(b"H", **macros)
            for _ in range(2):
                saw = _saw(talk.message(b"x"))
                assert (saw["came"], saw["certificate"]) == (came, certificate)

    @pytest.mark.parametrize("bad", ["sender", "recipient"])
    def test_without_a_session_nothing_is_refused_before_the_end(self, milter: Milter, bad: str) -> None:
        """What has a queue ID at MAIL came without SMTP: its address is refused at the end of the message."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.macros(b"M", i=b"QUEUEID")
            talk.mail(b"<s\xff@hosp.test>" if bad == "sender" else b"<sue@hosp.test>")
            assert talk.rcpt(b"<r\xff@plain.test>" if bad == "recipient" else b"<ann@plain.test>")[0] == "c"
            assert talk.rcpt(b"<ann@plain.test>")[0] == "c"
            talk.header(Subject=b" x")
            talk.macros(b"E", i=b"QUEUEID")
            (answer,) = talk.end()

        assert (answer[0], answer[1]["smtpcode"]) == ("y", "553")
        assert answer[1]["text"].startswith("5.1.7 Sender" if bad == "sender" else "5.1.3 Recipient")

    def test_edits_in_order(self, milter: Milter) -> None:
        """Header and envelope are edited first; the new body comes last, with nothing between its pieces."""
        exact = (b"<a@plain.test>", b"<Bob.B@Plain.TEST>", b'<"b\\ c"@plain.test>', "<jürgen@plain.test>".encode())
        with dialog(milter.path) as talk:
            talk.connect()
            answers = talk.message(b"edit", *exact)

        letters = _letters(answers)
        assert sorted(letters.partition("b")[0]) == sorted("hmmi" + "e" + "---")
        assert re.fullmatch(r"[hmie-]+bbba", letters)
        body = "".join(parts["buf"] for letter, parts in answers if letter == "b")
        assert body == "0123456789abcdef" * 12_000 + "\r\n"
        deleted = [parts["rcpt"].encode() for letter, parts in answers if letter == "-"]
        assert deleted == list(exact[1:])
        assert next(parts for letter, parts in answers if letter == "e") == {
            "from": "<sue@hosp.test>",
            "args": ["RET=HDRS"],
        }

    def test_body_is_skipped_when_nobody_needs_it(self, milter: Milter) -> None:
        """Where the header decides, the mail server is told to keep the body to itself."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.mail(b"<sue@hosp.test>")
            talk.rcpt(b"<bob@plain.test>")
            talk.header(Subject=b" no body")
            assert talk.body(b"hello\r\n")[0] == "s"
            assert _saw(talk.end())["body"] == hashlib.sha256(b"").hexdigest()

    def test_discard(self, milter: Milter) -> None:
        """A message whose copies are all durable elsewhere is dropped without edits."""
        with dialog(milter.path) as talk:
            talk.connect()
            assert _letters(talk.message(b"discard")) == "d"

    def test_reject(self, milter: Milter) -> None:
        """A refusal is 550 in ASCII; percent signs are doubled, as the protocol asks; line breaks are gone."""
        with dialog(milter.path) as talk:
            talk.connect()
            answers = talk.message(b"reject")

        assert _letters(answers) == "y"
        assert answers[0][1]["smtpcode"] == "550"
        assert "5.7.1 100%% refused: Gr??e" in answers[0][1]["text"]
        assert "line  break" in answers[0][1]["text"]

    def test_put_off(self, milter: Milter) -> None:
        """What is put off is told by 451 4.4.3, each recipient and why, and in one line of the log."""
        with dialog(milter.path) as talk:
            talk.connect()
            answers = talk.message(b"later")

        assert _letters(answers) == "y"
        assert answers[0][1]["smtpcode"] == "451"
        assert "4.4.3 100%% later: bob@plain.test" in answers[0][1]["text"]
        assert "line  break" in answers[0][1]["text"]
        assert milter.log().count("100% later: bob@plain.test") == 1

    def test_sign_of_life(self, milter: Milter) -> None:
        """While a message takes long, the mail server is told that work goes on."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.mail(b"<sue@hosp.test>")
            talk.rcpt(b"<bob@plain.test>")
            talk.header(Subject=b" waits")
            talk.body(b"hello\r\n")
            assert _letters(talk.end()) == "pha"


class TestFaults:
    @pytest.mark.parametrize("subject", [b"fail", b"the survey fails", b"exit"])
    def test_exception_is_a_tempfail(self, milter: Milter, subject: bytes) -> None:
        """Whatever the gateway raises, the message is put off, unedited, and the connection goes on."""
        with dialog(milter.path) as talk:
            talk.connect()
            answers = talk.message(subject)
            assert len(answers) == 1
            assert _is_tempfail(answers[0])
            assert _saw(talk.message(b"next"))["fields"] == ["Subject"]

    def test_recipient_that_is_not_utf8(self, milter: Milter) -> None:
        """A recipient that could not be deleted byte for byte is refused with 553; the others are served."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.mail(b"<sue@hosp.test>")
            letter, parts = talk.rcpt(b"<b\xff\xfe@plain.test>")
            assert (letter, parts["smtpcode"]) == ("y", "553")
            assert talk.rcpt(b"<bob@plain.test>")[0] == "c"
            talk.header(Subject=b" x")
            talk.body(b"hello\r\n")
            assert _saw(talk.end())["recipients"] == ["<bob@plain.test>"]

    def test_sender_that_is_not_utf8(self, milter: Milter) -> None:
        """A sender that cannot be given back is refused before the first recipient."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.mail(b"<s\xfc@hosp.test>")
            letter, parts = talk.rcpt(b"<bob@plain.test>")
            assert (letter, parts["smtpcode"]) == ("y", "553")

    def test_macro_that_is_not_utf8(self, milter: Milter) -> None:
        """A login that cannot be read puts the message off; it is not taken for no login."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.macros(b"M", **{"{auth_authen}": b"s\xfce"})
            answers = talk.message(b"x")
            assert _is_tempfail(answers[-1])

    def test_greeting_that_is_not_utf8(self, milter: Milter) -> None:
        """A greeting in 8 bits harms nothing, though it should not be passed on to us at all."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.say(b"H", b"caf\xe9")
            talk.answer()
            assert _saw(talk.message(b"x"))["fields"] == ["Subject"]


class TestOrder:
    @pytest.mark.parametrize(
        "steps",
        [
            [(b"E", b"")],
            [(b"R", b"<bob@plain.test>\0"), (b"E", b"")],
            [(b"L", b"Subject\0 x\0"), (b"N", b""), (b"E", b"")],
            [(b"B", b"body\r\n"), (b"E", b"")],
            [(b"M", b"<sue@hosp.test>\0"), (b"E", b"")],
            [(b"M", b"<sue@hosp.test>\0"), (b"R", b"<bob@plain.test>\0"), (b"E", b"")],
            [(b"M", b"<sue@hosp.test>\0"), (b"R", b"<bob@plain.test>\0"), (b"B", b"body\r\n"), (b"E", b"")],
            [(b"M", b""), (b"E", b"")],
            [(b"L", b"\xff\0\xff"), (b"E", b"")],
        ],
    )
    def test_out_of_order(self, milter: Milter, steps: list[tuple[bytes, bytes]]) -> None:
        """Steps left out or in the wrong order never end in an accepted message."""
        with dialog(milter.path, patience=0.5) as talk, suppress(*_GONE):
            talk.connect()
            for letter, data in steps:
                talk.say(letter, data=data)
            while True:
                assert talk.answer()[0] not in "ad"

    def test_abort_in_the_middle(self, milter: Milter) -> None:
        """What an aborted message left behind does not show in the next one on the connection."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.mail(b"<eve@hosp.test>")
            talk.rcpt(b"<dropped@plain.test>")
            talk.header(Subject=b" edit", Secret=b" x")
            talk.body(b"of the first\r\n")
            talk.say(b"A")
            saw = _saw(talk.message(b"x", body=b"of the second\r\n"))

        assert saw["sender"] == "<sue@hosp.test>"
        assert saw["recipients"] == ["<bob@plain.test>"]
        assert saw["fields"] == ["Subject"]
        assert saw["body"] == hashlib.sha256(b"of the second\r\n").hexdigest()

    def test_mail_without_an_abort(self, milter: Milter) -> None:
        """A new MAIL begins anew even where the message before was never ended."""
        with dialog(milter.path) as talk:
            talk.connect()
            talk.mail(b"<eve@hosp.test>")
            talk.rcpt(b"<dropped@plain.test>")
            assert _saw(talk.message(b"x"))["recipients"] == ["<bob@plain.test>"]

    def test_many_messages_on_one_connection(self, milter: Milter) -> None:
        """Messages of one connection keep to themselves, whatever became of the one before."""
        with dialog(milter.path) as talk:
            talk.connect()
            for number in range(30):
                talk.message((b"edit", b"fail", b"discard", b"reject")[number % 4])
                recipient = b"<r%d@plain.test>" % number
                saw = _saw(talk.message(b"x", recipient, body=b"%d\r\n" % number))
                assert saw["recipients"] == [recipient.decode()]
                assert saw["body"] == hashlib.sha256(b"%d\r\n" % number).hexdigest()

    def test_lost_in_the_middle(self, milter: Milter) -> None:
        """A mail server that vanishes at any step takes nothing with it."""
        steps = ((b"M", b"<a@b.test>\0"), (b"R", b"<c@d.test>\0"), (b"N", b""), (b"B", b"x"), (b"E", b""))
        for count in range(len(steps) + 1):
            with dialog(milter.path) as talk:
                talk.connect()
                for letter, data in steps[:count]:
                    talk.say(letter, data=data)


class TestAtOneTime:
    @pytest.mark.parametrize("_round", range(5))
    def test_all_are_served(self, milter: Milter, _round: int) -> None:
        """However many messages are being processed, one more begins soon: each of 16 waits for all others."""
        with ExitStack() as stack:
            talks = [stack.enter_context(dialog(milter.path)) for _ in range(16)]
            for talk in talks:
                talk.connect()
                talk.mail(b"<sue@hosp.test>")
                talk.rcpt(b"<bob@plain.test>")
                talk.header(Subject=b" meet")
                talk.body(b"hello\r\n")
            for talk in talks:
                talk.say(b"E")
            for talk in talks:
                assert _saw(talk.verdict())["recipients"] == ["<bob@plain.test>"]


class TestStop:
    def test_sigterm_drains(self, own_milter: Milter) -> None:
        """SIGTERM lets the message under way be finished and answered, takes no new one, and ends with 0."""
        with dialog(own_milter.path) as talk:
            talk.connect()
            talk.mail(b"<sue@hosp.test>")
            talk.rcpt(b"<bob@plain.test>")
            talk.header(Subject=b" slow")
            talk.body(b"hello\r\n")
            talk.say(b"E")
            until((own_milter.folder / "slow").exists, 30, "the message is being processed")
            own_milter.process.send_signal(signal.SIGTERM)
            assert _saw(talk.verdict())["recipients"] == ["<bob@plain.test>"]
        assert own_milter.process.wait(60) == 0
        with pytest.raises(OSError, match=r"refused|No such file"), dialog(own_milter.path):
            pass

    def test_sigterm_with_an_idle_mail_server(self, own_milter: Milter) -> None:
        """A connection on which nothing happens does not hold up the end."""
        with dialog(own_milter.path) as talk:
            talk.connect()
            talk.message(b"x")
            own_milter.process.send_signal(signal.SIGTERM)
            assert own_milter.process.wait(60) == 0


def test_one_session_too_many_is_refused(own_milter: Milter) -> None:
    """Beyond max_sessions a connection is closed and logged; where one ends another may begin."""
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(dialog(own_milter.path)).connect()
        with pytest.raises(_GONE), dialog(own_milter.path) as talk:
            talk.connect()
        assert own_milter.log().count("a session was refused") == 1

    until(lambda: _serves(own_milter), 60, own_milter.log)


def _serves(milter: Milter) -> bool:
    try:
        with dialog(milter.path) as talk:
            talk.connect()
            return _saw(talk.message(b"again"))["fields"] == ["Subject"]
    except _GONE:
        return False
