"""The shape of encrypted mail: built, recognised and opened by bytes."""

import base64
import time
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto import packets, pgpmime
from gatepost.message.body import MemoryBody
from gatepost.message.field import Field

PACKETS = bytes((0xC1, 3)) + b"abc" + bytes((0xD2, 4)) + b"\x01xyz"
UNPROTECTED = bytes((0xC1, 3)) + b"abc" + bytes((0xC9, 4)) + b"\x01xyz"


def armored(data: bytes = PACKETS) -> bytes:
    return b"-----BEGIN PGP MESSAGE-----\n\n" + base64.encodebytes(data) + b"-----END PGP MESSAGE-----\n"


def message(armor: bytes | None = None) -> tuple[list[Field], bytes]:
    content_type, body = pgpmime.enclose(MemoryBody(armored() if armor is None else armor))
    return [Field(b"Content-Type", content_type)], body.read()


def test_what_is_built_is_recognised() -> None:
    """A message that the gateway built is truly encrypted, and its packets come out again."""
    fields, body = message()

    assert pgpmime.may_be_encrypted(fields, inline=False)
    assert pgpmime.is_encrypted(fields, MemoryBody(body))
    found = pgpmime.ciphertext(fields, MemoryBody(body), inline=False)
    assert found == packets.dearmor(armored())


def test_without_integrity() -> None:
    """An OpenPGP message in the old packet is known for what it is, and is not taken for an encrypted one."""
    fields, body = message(armored(UNPROTECTED))

    assert pgpmime.is_unprotected(fields, MemoryBody(body), inline=False)
    assert pgpmime.ciphertext(fields, MemoryBody(body), inline=False) is None
    fields, body = message()
    assert not pgpmime.is_unprotected(fields, MemoryBody(body), inline=False)


def test_body_has_only_clean_line_ends() -> None:
    """The body put in place holds CRLF and nothing else that ends a line."""
    _, body = message()

    rest = body.replace(b"\r\n", b"")
    assert b"\n" not in rest
    assert b"\r" not in rest


def _third(body: bytes) -> bytes:
    boundary = body.split(b"\r\n--")[1].split(b"\r\n")[0]
    return body.replace(
        b"\r\n--" + boundary + b"--", b"\r\n--" + boundary + b"\r\n\r\nsecret\r\n--" + boundary + b"--"
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a third part", _third),
        ("text before", lambda body: b"secret " * 60 + body),
        ("text behind", lambda body: body + b"secret\r\n"),
        ("text in the first part", lambda body: body.replace(b"Version: 1", b"Version: 1\r\nsecret")),
        ("text around the armor", lambda body: body.replace(b"-----BEGIN", b"secret\r\n-----BEGIN")),
        ("a label on plain text", lambda body: body.replace(b"-----BEGIN PGP MESSAGE-----", b"hello")),
        ("broken base64", lambda body: body.replace(b"-----END", b"!!!\r\n-----END")),
    ],
)
def test_text_beside_the_encrypted_part_is_not_encrypted(name: str, change) -> None:  # noqa: ANN001 - a lambda
    """A message that shows anything in clear beside its encrypted part does not count as encrypted."""
    fields, body = message()

    assert not pgpmime.is_encrypted(fields, MemoryBody(change(body))), name


@pytest.mark.parametrize(
    "data",
    [
        UNPROTECTED,
        PACKETS + b"trailing",
        PACKETS[:-1],
        PACKETS[5:],
        PACKETS + PACKETS,
        bytes((0xCB, 3)) + b"b\0\0",
        b"",
        b"\x80",
        bytes((0xC1, 0xFF)),
        bytes((0xD2, 0xE0)),
    ],
)
def test_only_whole_protected_messages_count(data: bytes) -> None:
    """Packets without integrity, cut off, doubled, or of another kind are no encrypted message."""
    fields, body = message(armored(data))

    assert not pgpmime.is_encrypted(fields, MemoryBody(body))


def test_partial_lengths_are_followed() -> None:
    """An encrypted packet written in partial lengths is recognised to its last octet."""
    data = bytes((0xC1, 3)) + b"abc" + bytes((0xD2, 0xE9)) + bytes(512) + bytes((3,)) + b"end"
    fields, body = message(armored(data))

    assert pgpmime.is_encrypted(fields, MemoryBody(body))


def test_inline_counts_only_when_switched_on() -> None:
    """Armor as the whole text is opened only if the site asked for that, but always counts as encrypted."""
    fields = [Field(b"Content-Type", b" text/plain")]
    body = MemoryBody(armored())

    assert pgpmime.ciphertext(fields, body, inline=False) is None
    assert pgpmime.ciphertext(fields, body, inline=True) is not None
    assert pgpmime.is_encrypted(fields, body)
    assert not pgpmime.is_encrypted(fields, MemoryBody(b"hello\r\n" + armored()))


CMS = (
    Field(b"Content-Type", b" application/pkcs7-mime; smime-type=enveloped-data"),
    Field(b"Content-Transfer-Encoding", b" base64"),
)


def enveloped() -> bytes:
    """Write an enveloped CMS of indefinite length."""
    oid, data = bytes.fromhex("06092a864886f70d010703"), bytes.fromhex("06092a864886f70d010701")
    content = b"\x30\x13" + data + b"\x30\x03\x06\x01\x00\x80\x01x"
    envelope = b"\x30\x80\x02\x01\x00\x31\x02\x30\x00" + content + b"\0\0"
    return b"\x30\x80" + oid + b"\xa0\x80" + envelope + b"\0\0" * 2


def test_enveloped_cms_counts_only_as_a_whole() -> None:
    """Enveloped CMS in base64 is encrypted; plain text with the label, or behind the first octets, is not."""
    der = enveloped()

    assert pgpmime.is_encrypted(CMS, MemoryBody(base64.encodebytes(der)))
    assert not pgpmime.is_encrypted(CMS, MemoryBody(base64.encodebytes(der + b"secret")))
    assert not pgpmime.is_encrypted(CMS, MemoryBody(base64.encodebytes(der[:15] + b"the secret text")))


def test_plaintext_is_content_fields_and_body() -> None:
    """What is encrypted is the content fields as received, with their folding, and the body byte for byte."""
    fields = [
        Field(b"Subject", b" secret"),
        Field(b"Content-Type", b" multipart/mixed;\n\tboundary=x"),
        Field(b"content-transfer-encoding", b"8bit"),
    ]

    made = b"".join(pgpmime.plaintext_of(fields, [b"a\xff", b"\r\nb"]))

    assert (
        made
        == b"Content-Type: multipart/mixed;\r\n\tboundary=x\r\ncontent-transfer-encoding:8bit\r\n\r\na\xff\r\nb"
    )


def _opened(plaintext: bytes) -> tuple[tuple[Field, ...], bytes]:
    fields, body = pgpmime.open_entity(MemoryBody(plaintext))
    return fields, body.read()


@given(st.binary())
def test_round_trip_keeps_the_body(body: bytes) -> None:
    """What was put in comes out: the fields and the body, bare CR and LF as CRLF."""
    fields = (Field(b"Content-Type", b" text/plain;\n charset=utf-8"),)

    found, opened = _opened(b"".join(pgpmime.plaintext_of(fields, [body])))

    assert found == fields
    assert opened == b"\r\n".join(body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"hello without a header",
        b"Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\n<script>",
        b"Subject: x\r\n\r\nno content field",
        b"Content-Type: text/html\0\r\n\r\n<b>",
        b" folded from nothing\r\n\r\n<b>",
    ],
)
def test_odd_entities_become_plain_text(plaintext: bytes) -> None:
    """An entity whose header is malformed or ambiguous is shown whole, as text that nothing interprets."""
    fields, body = _opened(plaintext)

    assert [field.value.strip()[:10] for field in fields] == [b"text/plain"]
    assert body == plaintext


def test_smuggling_does_not_survive() -> None:
    """A bare line end with a dot inside an encrypted mail cannot end the message at the next server."""
    _, body = _opened(b"Content-Type: text/plain\n\nhi\n.\nMAIL FROM:<a@b>\r")

    assert body == b"hi\r\n.\r\nMAIL FROM:<a@b>\r\n"


class _Pieces:
    """A body that is read in the pieces given."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.size = sum(map(len, pieces))

    def chunks(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def read(self) -> bytes:
        return b"".join(self._pieces)


_SNIPPETS = st.sampled_from(
    [b"", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"Content-Type: text/html", b"To: x", b" x", b"."]
)


@given(st.lists(_SNIPPETS | st.binary(max_size=4), max_size=12), st.integers(0, 30))
def test_a_large_entity_is_opened_like_a_small_one(pieces: list[bytes], header: int) -> None:
    """However it is cut in pieces, and where its header does not reach past what is kept in memory."""
    small = _opened(b"".join(pieces))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pgpmime, "_MAX_HEADER", header)
        fields, body = pgpmime.open_entity(_Pieces(pieces))

    whole = b"\r\n".join(b"".join(pieces).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    assert (fields, body.read()) in {small, ((pgpmime._UNKNOWN,), whole)}
    if whole.find(b"\r\n\r\n") + 4 <= header or len(whole) <= header:
        assert (fields, body.read()) == small


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n--x\r\n\r\npart" * 10_000,
        b"--x\r\n" * 500_000,
        b"\r\n" * 2_000_000,
        b"--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" * 500,
        b"--" + b"x" * 4_000_000,
    ],
)
def test_hostile_bodies_cost_little(body: bytes) -> None:
    """Thousands of parts, hundreds of levels and giant lines are answered at once."""
    fields = [
        Field(b"Content-Type", b' multipart/encrypted; protocol="application/pgp-encrypted"; boundary=x'),
    ]
    start = time.process_time()

    assert not pgpmime.is_encrypted(fields, MemoryBody(body))
    assert time.process_time() - start < 5


@given(st.binary(), st.binary(max_size=200))
def test_any_bytes_are_answered(body: bytes, value: bytes) -> None:
    """No header value and no body makes the reader fail."""
    fields = [Field(b"Content-Type", value)]

    pgpmime.is_encrypted(fields, MemoryBody(body))
    pgpmime.is_encrypted(message()[0], MemoryBody(body))
    _opened(value + b"\r\n\r\n" + body)


def test_nothing_is_added_to_what_is_encrypted() -> None:
    """A message without content fields is a blank line and its body: it decrypts to exactly what was sent."""
    assert b"\r\nbody\r\n" == b"".join(pgpmime.plaintext_of((Field(b"Subject", b" x"),), [b"body\r\n"]))


@pytest.mark.parametrize(
    ("value", "plain", "inline"),
    [
        (b"multipart/encrypted; boundary=x", True, True),
        (b"application/pkcs7-mime", True, True),
        (b"application/x-pkcs7-mime", True, True),
        (b"text/plain", False, True),
        (b"text/html", False, False),
        (b"multipart/mixed; boundary=x", False, False),
        (None, False, True),
    ],
)
def test_what_may_be_encrypted(value: bytes | None, plain: bool, inline: bool) -> None:
    """The label tells which bodies must be looked at; text only where armor in it counts."""
    fields = [] if value is None else [Field(b"Content-Type", b" " + value)]

    assert pgpmime.may_be_encrypted(fields, inline=False) is plain
    assert pgpmime.may_be_encrypted(fields, inline=True) is inline


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_armor_of_either_line_end_is_enclosed(line_end: bytes) -> None:
    """An engine may write CRLF or LF: what is built is the same."""
    _, body = message(armored().replace(b"\n", line_end))

    assert armored().replace(b"\n", b"\r\n") in body


@pytest.mark.parametrize(("octets", "counts"), [(64 * 1024 * 1024, True), (64 * 1024 * 1024 + 1, False)])
def test_a_message_above_the_limit_is_not_looked_at(octets: int, counts: bool) -> None:
    """What is larger than 64 MiB counts as not encrypted, whatever it is."""
    fields, body = message()
    for header, data in ((fields, body), (CMS, base64.encodebytes(enveloped()))):
        large = _Pieces([data])
        large.size = octets

        assert pgpmime.is_encrypted(header, large) is counts


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        (b"7bit", armored()),
        (b"8BIT", armored()),
        (b"binary", armored()),
        (b"quoted-printable", armored().replace(b"=", b"=3D")),
        (b"base64", base64.encodebytes(armored())),
        (b"base64", base64.encodebytes(PACKETS)),
    ],
)
def test_transfer_encodings_are_undone(encoding: bytes, written: bytes) -> None:
    """A server on the way may put any encoding on; an unknown one hides what is in it."""
    kind = Field(b"Content-Type", b" text/plain")

    assert pgpmime.is_encrypted([kind, Field(b"Content-Transfer-Encoding", encoding)], MemoryBody(written))
    assert not pgpmime.is_encrypted([kind, Field(b"Content-Transfer-Encoding", b"x-uue")], MemoryBody(written))


@pytest.mark.parametrize(
    "value",
    [
        b" multipart/encrypted; boundary=BOUNDARY",
        b" multipart/encrypted; boundary=BOUNDARY; protocol=application/pgp-signature",
        b" multipart/encrypted; protocol=application/pgp-encrypted",
        b" multipart/mixed; boundary=BOUNDARY; protocol=application/pgp-encrypted",
    ],
)
def test_another_label_is_no_encrypted_message(value: bytes) -> None:
    """Type, protocol and boundary must be those of RFC 3156 section 4, or programs show the parts as they are."""
    fields, body = message()
    boundary = fields[0].value.partition(b'boundary="')[2].rstrip(b'"')

    assert boundary
    assert not pgpmime.is_encrypted(
        [Field(b"Content-Type", value.replace(b"BOUNDARY", boundary))], MemoryBody(body)
    )


@pytest.mark.parametrize(("size", "counts"), [(256, True), (257, False)])
def test_a_short_note_may_stand_before_the_parts(size: int, counts: bool) -> None:
    """A note for old mail programs has room; a letter has not."""
    fields, body = message()
    noted = b"x" * size + body[body.index(b"\r\n--") :]

    assert pgpmime.is_encrypted(fields, MemoryBody(noted)) is counts


def _opened_pieces(*pieces: bytes) -> tuple[bytes, bytes]:
    fields, body = pgpmime.open_entity(_Pieces(pieces))
    return b"".join(field.wire() for field in fields), body.read()


HTML = b"Content-Type: text/html\r\n"


def test_a_line_end_between_two_pieces_is_one() -> None:
    """CR at the end of a piece and LF at the beginning of the next are one line end."""
    assert _opened_pieces(HTML + b"\r\na\r", b"\nb\r", b"c\r") == (HTML, b"a\r\nb\r\nc\r\n")


def test_an_entity_may_be_a_header_alone() -> None:
    """An entity without body ends behind its last field, also without a blank line."""
    assert _opened_pieces(HTML) == (HTML, b"")


@pytest.mark.parametrize(("size", "is_read"), [(1 << 19, True), (1_200_000, False)])
def test_a_header_may_have_a_mebibyte(size: int, is_read: bool) -> None:
    """What an honest program writes is read, whatever the pieces in which it comes; more is not looked through."""
    line = b"X-Filling: " + b"x" * 987 + b"\r\n"
    whole = HTML + line * (size // len(line)) + b"\r\n<b>"

    header, body = _opened_pieces(*(whole[start : start + 65_536] for start in range(0, len(whole), 65_536)))

    assert ((header, body) == (HTML, b"<b>")) is is_read
    assert ((header, body) == (pgpmime._UNKNOWN.wire(), whole)) is not is_read


def test_headers_of_large_entities(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that ends within what is kept in memory is read; one that does not makes the whole plain text."""
    monkeypatch.setattr(pgpmime, "_MAX_HEADER", 40)
    unknown, default = pgpmime._UNKNOWN.wire(), pgpmime._DEFAULT.wire()

    assert _opened_pieces(HTML + b"\r\n" + b"x" * 40, b"more") == (HTML, b"x" * 40 + b"more")
    assert _opened_pieces(b"\r\n" + b"x" * 40, b"more") == (default, b"x" * 40 + b"more")
    assert _opened_pieces(HTML + HTML, b"\r\n" + b"<b>") == (unknown, HTML + HTML + b"\r\n<b>")
    assert _opened_pieces(HTML * 2 + b"X: ", b"y\r\n\r\n<b>") == (unknown, HTML * 2 + b"X: y\r\n\r\n<b>")
    assert _opened_pieces(HTML + b"X: " + b"x" * 20, b"x\r\n\r\n") == (
        unknown,
        HTML + b"X: " + b"x" * 21 + b"\r\n\r\n",
    )
