"""Content that nothing proves, made harmless before it is passed."""

import base64
import email
import email.policy
import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.letter import multipart, part

from gatepost.crypto import harmless as module
from gatepost.crypto.harmless import harmless
from gatepost.message.body import MemoryBody


def made(data: bytes) -> EmailMessage | None:
    """Make an entity harmless and read what comes out as mail programs do."""
    found = harmless(MemoryBody(data))
    if found is None:
        return None
    fields, body = found
    whole = b"".join(field.wire() for field in fields) + b"\r\n" + body
    return email.message_from_bytes(whole, policy=email.policy.default)  # type: ignore[return-value]


def leaves(message: EmailMessage) -> list[EmailMessage]:
    return [one for one in message.walk() if not one.is_multipart()]  # type: ignore[misc]


def test_plain_text_stays() -> None:
    """Plain text comes out octet for octet, with its charset and encoding and no other parameter or field."""
    data = (
        b"X-Evil: 1\r\nContent-ID: <x>\r\nContent-Type: text/plain; charset=iso-8859-1; x=y\r\n\r\nGr\xfc\xdfe\r\n"
    )
    found = harmless(MemoryBody(data))

    assert found is not None
    assert [(one.name, one.value) for one in found[0]] == [
        (b"Content-Type", b" text/plain; charset=iso-8859-1"),
        (b"Content-Transfer-Encoding", b" 7bit"),
    ]
    assert found[1] == b"Gr\xfc\xdfe\r\n"


@pytest.mark.parametrize("encoding", ["base64", "8bit", "quoted-printable"])
def test_html_loses_what_loads(encoding: str) -> None:
    """HTML in any transfer encoding comes out without links and images, in UTF-8."""
    html = '<p>Gr\u00fc\u00dfe</p><img src="http://evil.test/a">'.encode()
    body = {"base64": base64.encodebytes(html), "8bit": html}.get(
        encoding, b"<p>Gr=C3=BC=C3=9Fe</p><img src=3D=22x=22>"
    )
    head = f"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    message = made(head + body)

    assert message is not None
    assert message.get_content_type() == "text/html"
    assert message.get_content() == "<p>Gr\u00fc\u00dfe</p>"


def test_everything_else_becomes_a_file() -> None:
    """What is neither plain text nor HTML is a file to be saved, and none that loads others when it is opened."""
    parts = {
        "a.pdf": part(b"%PDF", "application/pdf", 'Content-Disposition: inline; filename="a.pdf"'),
        "x.svg.txt": part(b"<svg/>", 'image/svg+xml; name="x.svg"', "Content-ID: <x>"),
        "i.png": part(b"PNG", 'image/png; name="i.png"', "Content-Disposition: inline"),
        "m.eml.txt": part(b"From: x", 'message/rfc822; name="m.eml"'),
        "c.ics.txt": part(b"BEGIN:", "text/calendar; method=REQUEST", 'Content-Disposition: x; filename="c.ics"'),
        "attachment": part(b"x", 'message/external-body; access-type=URL; URL="http://evil.test/"'),
        "smime.p7m.txt": part(b"x", 'application/octet-stream; name="smime.p7m"'),
        "page.html.txt": part(b"<img>", "text/plain", 'Content-Disposition: attachment; filename="page.html"'),
        "\u00fcber.doc": part(
            b"x", "application/msword", "Content-Disposition: x; filename*=utf-8''%C3%BCber.doc"
        ),
        ".._.._x": part(b"x", "image/png", 'Content-Disposition: x; filename="../../x"'),
    }
    line, body = multipart("related", part(b"<p><img src=cid:x>", "text/html"), *parts.values())
    message = made(line.encode() + b"\r\n\r\n" + body)

    assert message is not None
    assert message.get_content_type() == "multipart/mixed"
    assert b"evil" not in bytes(message)
    files = leaves(message)[1:]
    assert {one.get_content_type() for one in files} == {"application/octet-stream"}
    assert {one.get_content_disposition() for one in files} == {"attachment"}
    assert not [one for one in files if one["Content-ID"]]
    assert [one.get_filename() for one in files] == [name.strip(" .") for name in parts]
    assert files[0].get_payload(decode=True) == b"%PDF"


def test_of_signed_mail_the_content_stays() -> None:
    """Of multipart/signed what is signed stays, made harmless as if it were unsigned."""
    text = part(b"Hello", "text/plain")
    line, body = multipart("signed", text, part(b"x", "application/pkcs7-signature"))
    message = made(line.encode() + b"\r\n\r\n" + body)

    assert message is not None
    assert (message.get_content_type(), message.get_payload(decode=True)) == ("text/plain", b"Hello")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\nno header",
        b"X: y\r\n\r\nno type",
        b"garbage \x00\xff",
        b"Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\nx",
        b"Content-Type: text/plain; charset=a; charset=b\r\n\r\nx",
        b"Content-Type: what\r\n\r\nx",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: uuencode\r\n\r\nx",
        b"Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\n<img src=x>",
        b"Content-Type: multipart/mixed\r\n\r\nx",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\nno part",
        b"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        b"Content-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: base64\r\n\r\nMAA=\r\n",
        b"Content-Type: text/plain\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx",
    ],
)
def test_what_is_unclear_is_not_passed(data: bytes) -> None:
    """A header that is ambiguous, broken or too long, and a structure that is not known, let nothing through."""
    assert harmless(MemoryBody(data)) is None


def nested(levels: int) -> bytes:
    entity = b"Content-Type: text/plain\r\n\r\nx"
    for level in range(levels):
        line, body = multipart("mixed", entity, boundary=f"b{level}")
        entity = line.encode() + b"\r\n\r\n" + body
    return entity


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth, parts and size are bounded."""
    many = [b"Content-Type: text/plain\r\n\r\nx"] * 101
    lines = [multipart("mixed", *many[:count]) for count in (100, 101)]

    assert [made(line.encode() + b"\r\n\r\n" + body) is None for line, body in lines] == [False, True]
    assert made(nested(6)) is not None
    assert made(nested(7)) is None
    monkeypatch.setattr(module, "_MAX_ENTITIES", 6)
    assert made(nested(5)) is not None
    assert made(nested(6)) is None
    html = multipart("mixed", *[b"Content-Type: text/html\r\n\r\n<p>"] * 3)
    for most in (9, 8):
        monkeypatch.setattr(module, "_MAX_HTML", most)
        assert (made(html[0].encode() + b"\r\n\r\n" + html[1]) is None) is (most == 8)
    monkeypatch.setattr(module, "_MAX_SIZE", 30)
    assert made(b"Content-Type: text/plain\r\n\r\nxyz") is None


@pytest.mark.parametrize("name", [b";" * 100_000, b"; filename*0*=x" * 10_000, b"; filename=" + b"x" * 100_000])
def test_hostile_names_cost_little(name: bytes) -> None:
    """A giant field that could name a file is not read for a name."""
    start = time.process_time()
    made(b"Content-Type: image/png\r\nContent-Disposition: inline" + name[:60_000] + b"\r\n\r\nx")

    assert time.process_time() - start < 10


_PIECES = st.sampled_from(
    [
        *(
            b"Content-Type: ",
            b"text/html",
            b"text/plain",
            b"multipart/mixed; boundary=b",
            b"image/svg+xml",
            b"\r\n",
        ),
        *(b"\r\n\r\n", b"--b\r\n", b"--b--", b"<img src=http://evil.test/>", b"\xff", b"\0", b"; charset=utf-16"),
        *(b"Content-Disposition: attachment; filename=", b"a.html", b"message/rfc822", b'"', b"\n", b"\r"),
        b"Content-Transfer-Encoding: quoted-printable",
    ]
)


@given(st.binary() | st.lists(_PIECES, max_size=20).map(b"".join).map(lambda data: b"Content-Type: " + data))
def test_nothing_live_whatever_comes(data: bytes) -> None:
    """Whatever a changed message decrypts to, what is passed has no HTML that loads anything."""
    message = made(data)

    for one in leaves(message) if message else ():
        assert one.get_content_type() in {"text/plain", "text/html", "application/octet-stream"}
        if one.get_content_type() == "text/html":
            assert b"<img" not in (one.get_payload(decode=True) or b"")  # type: ignore[operator]
