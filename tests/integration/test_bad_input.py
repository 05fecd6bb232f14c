"""
Bad input gets an answer in bounded time and memory, no traceback, and does no harm to the mail after it.
"""

import time
from collections.abc import Callable

import pytest
from lab.client import Client, Envelope, send
from lab.letter import canary, letter
from lab.town import Town

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

_SECONDS = 60
_GROWTH = 600_000_000  # bytes of resident memory, of all processes together
_HEAD = b"From: sue@hosp.test\r\nTo: ann@pgp.test\r\nMIME-Version: 1.0\r\n"


def _levels(count: int) -> bytes:
    entity = b"Content-Type: text/plain\r\n\r\ndeep\r\n"
    opening = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(count)
    )
    closing = b"".join(b"--b%d--\r\n" % n for n in reversed(range(count)))
    return _HEAD + opening + entity + closing


def _parts(count: int) -> bytes:
    return (
        _HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * count + b"--b--\r\n"
    )


def _long(field: bytes, line: bytes, count: int) -> bytes:
    """Write a message with one field of `count` folded lines."""
    return _HEAD + field + b": " + b"\r\n ".join([line] * count) + b"\r\n\r\nx\r\n"


_INPUTS: dict[str, Callable[[], bytes]] = {
    "10 MB of header in many fields": lambda: _HEAD + (b"X: " + b"y" * 95 + b"\r\n") * 100_000 + b"\r\nx\r\n",
    "10 MB of header in one field": lambda: _long(b"X-Field", b"y" * 900, 11_000),
    "10 MB of header in one line": lambda: _long(b"X-Field", b"y" * 10_000_000, 1),
    "a subject of 10 MB": lambda: _long(b"Subject", b"*secure* " * 90, 12_000),
    "10,000 encoded words": lambda: _long(b"Subject", b"=?utf-8?Q?=C3?=", 10_000),
    "100,000 references": lambda: _long(b"References", b"<a@b>", 100_000),
    "10,000 MIME parts": lambda: _parts(10_000),
    "500 MIME levels": lambda: _levels(500),
    "NUL in header and body": lambda: _HEAD + b"Subject: a\0b *secure*\r\nX-\0: y\r\n\r\na\0b\r\n",
    "bare CR and LF": lambda: _HEAD + b"Subject: a\rb\nX: c\r\r\n\r\na\rb\nc\n\r\r\n",
    "no header": lambda: b"\r\nbody alone\r\n",
    "nothing at all": lambda: b"",
    "two subjects": lambda: _HEAD + b"Subject: one\r\nSubject: two\r\n\r\nx\r\n",
    "one line of 20 MB": lambda: _HEAD + b"\r\n" + b"z" * 20_000_000,
    "encrypted, but garbage": lambda: _HEAD
    + b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b\r\n\r\n'
    + b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\n\r\n"
    + b"-----BEGIN PGP MESSAGE-----\r\n\r\n" + b"QUFB" * 100_000 + b"\r\n-----END PGP MESSAGE-----\r\n--b--\r\n",
}  # fmt: skip


class TestBadInput:
    @pytest.mark.parametrize("name", _INPUTS)
    @pytest.mark.parametrize("way", ["out", "in"])
    def test_has_an_answer(self, the_town: Town, name: str, way: str) -> None:
        """An answer comes in time, memory stays bounded, the log has no traceback, and mail goes on."""
        message = _INPUTS[name]()
        outside = way == "in"
        port = the_town.postfix.outside_port if outside else the_town.postfix.inside_port
        recipients = ["doc@hosp.test"] if outside else ["ann@pgp.test", "bob@plain.test", "doc@hosp.test"]
        before, started = the_town.site.memory(), time.monotonic()
        outcome = send(port, Envelope.of("x@plain.test" if outside else "sue@hosp.test", *recipients), message)

        assert time.monotonic() - started < _SECONDS
        assert outcome.reply.code in {250, 451, 452, 550, 552, 554}
        assert the_town.site.memory() - before < _GROWTH
        assert "Traceback" not in the_town.site.log()
        _mail_goes_on(the_town)

    def test_bad_utf8_recipient_is_refused(self, the_town: Town) -> None:
        """A recipient that could not be given back byte for byte is refused at RCPT, the others go."""
        with Client(the_town.postfix.inside_port) as client:
            client.mail("sue@hosp.test SMTPUTF8")
            bad = client.command(b"RCPT TO:<b\xff\xfe@plain.test>")
            good = client.rcpt("bob@plain.test")
            taken = client.data(letter(canary()))

        assert not bad.ok
        assert good.ok
        assert taken.ok
        assert "Traceback" not in the_town.site.log()


def _mail_goes_on(town: Town) -> None:
    """Send an ordinary message to someone who got nothing of the bad one."""
    word = canary()
    assert town.send("sue@hosp.test", "eve@pgp.test", message=letter(word)).ok
    received = next(
        each for each in town.outside.wait_for_recipients(["eve@pgp.test"]) if "eve@pgp.test" in each.addresses
    )
    assert word.encode() in town.gpg.decrypt(received.data).data
