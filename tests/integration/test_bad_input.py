"""
Bad input gets an answer in bounded time and memory, no traceback, and does no harm to the mail after it.

An answer may be any of SMTP's. What must be protected is not sent in clear, however the message is broken: a
canary in its body must not show at the receivers outside.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab.client import Client, Envelope, Outcome, send
from lab.gpg import Gpg
from lab.letter import canary, letter, multipart, part, pgp_mime
from lab.sink import Received
from lab.town import OWN, Town

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_SECONDS = 40.0
_GROWTH = 150 << 20  # octets that all processes of the site may take for one message, together
_GROWTH_OF_BOMBS = 700 << 20  # a message is unfolded up to 128 MiB before it is called a bomb
_SUE, _DOC, _ANN, _BOB = f"sue@{OWN}", f"doc@{OWN}", "ann@pgp.test", "bob@plain.test"
_HEAD = b"From: sue@hosp.test\r\nTo: ann@pgp.test\r\nSubject: bad\r\n"


def _headers(count: int, length: int, word: bytes) -> bytes:
    """Write a header of `count` fields of `length` octets, more or less."""
    return _HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"x" * length) for n in range(count)) + b"\r\n" + word + b"\r\n"


def _folded(field: bytes, line: bytes, count: int, word: bytes) -> bytes:
    """Write a message with one field of `count` folded lines."""
    return _HEAD + field + b": " + b"\r\n ".join([line] * count) + b"\r\n\r\n" + word + b"\r\n"


def _many_parts(word: bytes) -> bytes:
    line, body = multipart("mixed", *[b"Content-Type: text/plain\r\n\r\n" + word] * 10_000)
    return _HEAD + b"MIME-Version: 1.0\r\n" + line.encode() + b"\r\n\r\n" + body


def _nested(word: bytes) -> bytes:
    """500 multiparts, each inside the one before."""
    opened = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(500)
    )
    closed = b"".join(b"\r\n--b%d--\r\n" % n for n in reversed(range(500)))
    return _HEAD + b"MIME-Version: 1.0\r\n" + opened + b"Content-Type: text/plain\r\n\r\n" + word + closed


_BROKEN = {
    "10 MB of header in 100,000 fields": lambda word: _headers(100_000, 90, word),
    "10 MB of header in 100 fields": lambda word: _headers(100, 100_000, word),
    "10 MB of header in one field": lambda word: _folded(b"X-Field", b"y" * 900, 11_000, word),
    "10 MB of header in one line": lambda word: _folded(b"X-Field", b"y" * 10_000_000, 1, word),
    "a subject of 10 MB": lambda word: _folded(b"Subject", b"*secure* " * 90, 12_000, word),
    "10,000 encoded words": lambda word: _folded(b"Subject", b"=?utf-8?Q?=C3?=", 10_000, word),
    "100,000 references": lambda word: _folded(b"References", b"<a@b>", 100_000, word),
    "one line of 20 MB": lambda word: _HEAD + b"\r\n" + b"z" * 20_000_000 + word + b"\r\n",
    "10,000 parts": _many_parts,
    "500 levels": _nested,
    "NUL in the body": lambda word: letter(word + b"\0" + word + b"\r\n"),
    "NUL in the header": lambda word: letter(word, fields=[b"X-Nul: a\0b", b"Content-Type: text/\0plain"]),
    "NUL in the subject": lambda word: letter(word, subject=b"a\0*secure* b"),
    "bare CR": lambda word: letter(word + b"\r" + word + b"\rx\r\n"),
    "bare LF": lambda word: letter(word + b"\n" + word + b"\n.\n" + word + b"\r\n"),
    "bare CR and LF in the header": lambda word: letter(word, fields=[b"X-A: b\rX-B: c\nX-C: d"]),
    "no header": lambda word: b"\r\n" + word + b"\r\n",
    "no header, no empty line": lambda word: word + b"\r\n",
    "a header without an end": lambda _: _HEAD + b"X-Last: \r\n",
    "nothing at all": lambda _: b"",
    "8-bit field names": lambda word: letter(word, fields=[b"X-\xff\xfe: y", "Xü: z".encode()]),
    "a field without a name": lambda word: letter(word, fields=[b": nothing", b" folded from nowhere"]),
}  # fmt: skip


@contextmanager
def _bounded(town: Town, growth: int) -> Iterator[None]:
    """See that the site lives, says nothing unseemly, grows by no more than `growth` octets, and still works."""
    said = len(town.site.log())
    pids = {service: town.site.service_pids(service) for service in ("milter", "keys", "policy")}
    for pid in (pid for each in pids.values() for pid in each):
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from now on
    before = town.site.memory()
    yield
    assert "Traceback" not in town.site.log()[said:]
    assert town.site.memory() - before < growth
    assert pids == {service: town.site.service_pids(service) for service in pids}
    town.postfix.wait_queue_empty(60)
    town.clear()
    assert town.send(_SUE, _DOC, _ANN, message=letter("the next one\r\n")).ok
    town.inside.wait_for_recipients([_DOC])
    town.outside.wait_for_recipients([_ANN])


@pytest.fixture
def watched(the_town: Town) -> Iterator[Town]:
    """Give the town, watched."""
    with _bounded(the_town, _GROWTH):
        yield the_town


def _timed(port: int, sender: str, *recipients: str, message: bytes) -> Outcome:
    started = time.monotonic()
    outcome = send(port, Envelope(sender, recipients), message, timeout=_SECONDS * 2)
    assert time.monotonic() - started < _SECONDS
    assert 200 <= outcome.reply.code < 600
    return outcome


class TestOutgoing:
    @pytest.mark.parametrize("name", _BROKEN)
    def test_encrypted_or_refused(self, watched: Town, name: str) -> None:
        """A broken message to a partner with a key, and to an inside one, is refused, or protected and whole."""
        word = canary().encode()
        message = _BROKEN[name](word)
        outcome = _timed(watched.postfix.inside_port, _SUE, _DOC, _ANN, message=message)

        if outcome.ok:
            watched.postfix.wait_queue_empty(60)
            inside = [one for one in watched.inside.messages if _DOC in one.addresses]
            outside = [one for one in watched.outside.messages if _ANN in one.addresses]
            assert (len(inside), len(outside)) == (1, 1)
            assert word not in outside[0].data
            plain = watched.gpg.decrypt(outside[0].data).data
            assert plain.count(word) == inside[0].data.count(word)
        assert not [one for one in watched.outside.messages if word in one.data]

    @pytest.mark.parametrize(
        "subjects",
        [("hello", "*secure* x"), ("hello", "[secure]"), ("a", "b", "=?utf-8?q?*secure*?=")],
        ids=["second", "second, in brackets", "third, encoded"],
    )
    def test_tag_in_a_later_subject(self, watched: Town, subjects: tuple[str, ...]) -> None:
        """Whichever Subject field holds the tag, the message is not sent in clear."""
        word = canary().encode()
        more = [f"Subject: {subject}" for subject in subjects[1:]]
        assert _timed(
            watched.postfix.inside_port, _SUE, _BOB, message=letter(word, subject=subjects[0], fields=more)
        ).ok

        watched.postfix.wait_queue_empty(30)
        assert watched.outside.messages == []
        assert [one.addresses for one in watched.inside.messages] == [(_SUE,)]  # told that it is held


def _key(town: Town) -> str:
    """Give the fingerprint of the site's own domain key."""
    return town.gpg.fingerprint(OWN)


def _entity(word: bytes) -> bytes:
    """Write an entity of which much could be read before its end is missed."""
    return part(os.urandom(100_000), "text/plain").replace(b"\r\n\r\n", b"\r\n\r\n" + word + b"\r\n")


def _arrives(town: Town, line: str, body: bytes) -> list[Received]:
    """Send from outside with this content and give what the inside recipient received."""
    message = letter(body, sender="x@plain.test", to=_DOC, fields=["MIME-Version: 1.0", line])
    outcome = _timed(town.postfix.outside_port, "x@plain.test", _DOC, message=message)
    town.postfix.wait_queue_empty(60)
    assert len(town.inside.messages) == outcome.ok
    return town.inside.messages


def _damaged(gpg: Gpg, fingerprint: str, entity: bytes) -> dict[str, tuple[str, bytes]]:
    armor = gpg.encrypt(entity, [fingerprint])
    line, body = pgp_mime(armor)
    middle = len(armor) // 2
    flipped = bytes([armor[middle] ^ 1 if chr(armor[middle] ^ 1).isalnum() else ord("A")])
    return {
        "truncated armor": pgp_mime(armor[:middle]),
        "armor without an end": pgp_mime(armor.replace(b"-----END PGP MESSAGE-----", b"")),
        "one octet changed": pgp_mime(armor[:middle] + flipped + armor[middle + 1 :]),
        "no closing boundary": (line, body.rpartition(b"--lab=_pgp--")[0]),
        "boundary that never comes": (line.replace("lab=_pgp", "elsewhere"), body),
        "no boundary": ('Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"', body),
        "empty": (line, b""),
        "only boundaries": (line, b"--lab=_pgp\r\n" * 10_000),
        "one part": (line, body.partition(b"--lab=_pgp\r\n")[2]),
        "random octets": pgp_mime(b"\n".join(os.urandom(300).translate(None, b"\r\n\0.") for _ in range(300))),
        "text before and after": (line, b"before\r\n" + body + b"after\r\n"),
    }


class TestIncoming:
    @pytest.mark.parametrize("name", _BROKEN)
    def test_has_an_answer(self, watched: Town, name: str) -> None:
        """A broken message from outside is delivered, once and marked, or refused."""
        message = _BROKEN[name](canary().encode())
        outcome = _timed(watched.postfix.outside_port, "x@plain.test", _DOC, message=message)

        watched.postfix.wait_queue_empty(60)
        assert [one.addresses for one in watched.inside.messages] == [(_DOC,)] * outcome.ok
        for one in watched.inside.messages:
            assert one.values("Gatepost-Result") == [
                "gatepost.mail.hosp.test; decrypted=no; signed=none; came=plain"
            ]

    @pytest.mark.parametrize("name", [
        "truncated armor", "armor without an end", "one octet changed", "no closing boundary",
        "boundary that never comes", "no boundary", "empty", "only boundaries", "one part", "random octets",
        "text before and after",
    ])  # fmt: skip
    def test_malformed_pgp_mime(self, watched: Town, name: str) -> None:
        """What cannot be opened arrives as it came, and nothing of it in clear."""
        word = canary().encode()
        entity = _entity(word)
        line, body = _damaged(watched.gpg, _key(watched), entity)[name]
        for one in _arrives(watched, line, body):
            if "decrypted=openpgp" in one.values("Gatepost-Result")[0]:
                assert one.body == entity.partition(b"\r\n\r\n")[2]
            else:
                assert one.body == (body if body.endswith(b"\r\n") or not body else body + b"\r\n")
                assert word not in one.data

    @pytest.mark.parametrize("size", [100_000_000, 200_000_000])
    def test_bomb(self, the_town: Town, size: int) -> None:
        """Little that would unfold into more than Postfix's queue takes is not unfolded: it arrives as it came."""
        bomb = b"Content-Type: text/plain\r\n\r\n" + bytes(size)
        line, body = pgp_mime(the_town.gpg.encrypt(bomb, [_key(the_town)]))
        assert len(body) < 2_000_000
        with _bounded(the_town, _GROWTH_OF_BOMBS):
            received = _arrives(the_town, line, body)
            assert [one.body for one in received] == [body]
            assert all("flag=undecryptable" in one.values("Gatepost-Result")[0] for one in received)


def test_recipient_that_is_not_utf8(watched: Town) -> None:
    """A recipient that could not be given back byte for byte is refused at RCPT, the others go."""
    with Client(watched.postfix.inside_port) as client:
        client.mail(f"{_SUE} SMTPUTF8")
        bad = client.command(b"RCPT TO:<b\xff\xfe@plain.test>")
        good = client.rcpt(_BOB)
        taken = client.data(letter("hello\r\n"))

    assert not bad.ok
    assert good.ok
    assert taken.ok


def test_8_bit_greeting(watched: Town) -> None:
    """A client that greets with octets outside ASCII, valid UTF-8 or not, gets its mail through."""
    for helo in (b"caf\xe9".decode("ascii", "surrogateescape"), "müller"):
        with Client(watched.postfix.inside_port, helo=helo) as client:
            assert client.send(Envelope.of(_SUE, _DOC, _BOB), letter("hello\r\n")).ok
