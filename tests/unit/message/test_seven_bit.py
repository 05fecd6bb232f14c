"""An entity is made safe for its way: what is safe stays to the last octet, all else keeps its content."""

import base64
import email
import email.policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.letter import multipart, part

from gatepost.message.body import Body, MemoryBody, Spool
from gatepost.message.field import Field
from gatepost.message.read import split
from gatepost.message.seven_bit import UnsafeError, safe

TEXT = (Field(b"Content-Type", b" text/plain; charset=utf-8"), Field(b"Content-Transfer-Encoding", b" 8bit"))
PLAIN = (Field(b"Content-Type", b" text/plain"),)


def _whole(fields: tuple[Field, ...], body: Body) -> bytes:
    return b"".join(field.wire() for field in fields) + b"\r\n" + body.read()


def _leaves(entity: bytes) -> list[tuple[str, bytes]]:
    """Give type and content of every leaf, as another parser reads them; line ends of text count as CRLF."""
    found = []
    for leaf in email.message_from_bytes(entity, policy=email.policy.compat32).walk():
        if not leaf.is_multipart():
            content = leaf.get_payload(decode=True)
            assert isinstance(content, bytes)
            if leaf.get_content_maintype() == "text":
                content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            found.append((leaf.get_content_type(), content))
    return found


def _is_safe(entity: bytes) -> bool:
    lines = entity.split(b"\r\n")
    return entity.isascii() and all(len(line) <= 998 and not {13, 10, 0} & {*line} for line in lines)


def _made_safe(head: str, body: bytes) -> tuple[bytes, bytes]:
    """Give an entity as it was and as it was made."""
    fields = split(head.encode() + b"\r\n\r\n")[0]
    before = _whole(fields, MemoryBody(body))
    after = _whole(*safe(fields, MemoryBody(body)))
    assert _is_safe(after)
    assert _leaves(before) == _leaves(after)
    return before, after


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello\r\n",
        b"no line end",
        b"x" * 998 + b"\r\n",
        b".\r\n..\r\n",
        b"Content-Type: 8bit\r\n",
        b"a\tb\r\n",
    ],
)
def test_what_is_safe_stays(body: bytes) -> None:
    """Safe entities are given back as they are, the very objects."""
    given_body = MemoryBody(body)
    fields, found = safe(PLAIN, given_body)

    assert found is given_body
    assert fields == PLAIN


@pytest.mark.parametrize(
    "body",
    [
        "Grüße\r\n".encode(),
        b"x" * 999 + b"\r\n",
        b"one\rtwo\r\n",
        b"one\ntwo\r\n",
        b"From here\r\n",
        b"so\r\nFrom here\r\n",
        b"-- \r\nsue\r\n",
        b"tab\t\r\n",
        b"at the end ",
        b"nul\0l\r\n",
    ],
)
def test_text_becomes_quoted_printable(body: bytes) -> None:
    """Text that a mail server might change is written anew, and says so."""
    fields, found = safe(TEXT, MemoryBody(body))
    text = found.read()

    name = b"base64" if b"\0" in body else b"quoted-printable"
    assert fields == (TEXT[0], Field(b"Content-Transfer-Encoding", b" " + name))
    assert _is_safe(text)
    decoded = base64.b64decode(text) if name == b"base64" else _leaves(_whole(fields, found))[0][1]
    assert decoded == body or b"\n" in body.replace(b"\r\n", b"")


def test_a_label_is_corrected() -> None:
    """What is called 8-bit and is not would be encoded by a mail server on its way: it is called 7-bit."""
    fields, body = safe(TEXT, MemoryBody(b"plain\r\n"))

    assert fields == (TEXT[0], Field(b"Content-Transfer-Encoding", b" 7bit"))
    assert body.read() == b"plain\r\n"


def test_only_what_must_be_is_written_anew() -> None:
    """In a message with parts, those that are safe stay as they are, each octet of them."""
    picture = part(b"\x89PNG" * 300, "image/png", "Content-ID: <a>")
    line, body = multipart(
        "related",
        b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>Gr\xc3\xbc\xc3\x9fe <img src='cid:a'>",
        picture,
    )
    before, after = _made_safe(line, body.encode() if isinstance(body, str) else body)

    assert b"Gr=C3=BC=C3=9Fe" in after
    assert bytes(picture) in before
    assert bytes(picture) in after


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        ("application/octet-stream", "8bit"),
        ("application/octet-stream", "binary"),
        ("text/plain", "binary"),
        ("image/png", "base64"),
        ("text/html", "quoted-printable"),
    ],
)
def test_parts_in_parts(kind: str, encoding: str) -> None:
    """Leaves of any kind, however deep and however labelled, keep their content."""
    content = bytes(range(256)) * 8 if "octet" in kind else "ü\r\n".encode() + b"y" * 3000
    if encoding == "base64":
        content = base64.b64encode(content)
    if encoding == "quoted-printable":
        content = b"=C3=BC" + b"y" * 3000
    leaf = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + content
    inner = b"Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n" + leaf + b"\r\n--in--\r\nend"
    forwarded = b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" + inner
    body = b"note\r\n--out\r\n\r\nshort\r\n--out\r\n" + forwarded + b"\r\n--out--\r\n"

    _, after = _made_safe("Content-Type: multipart/mixed; boundary=out\r\nContent-Transfer-Encoding: 8bit", body)

    assert b"8bit" not in after
    assert b"binary" not in after


@pytest.mark.parametrize(
    ("head", "body", "why"),
    [
        ("Content-Type: multipart/signed; boundary=x", "--x\r\n\r\nü\r\n--x--\r\n", "must not be changed"),
        ("Content-Type: message/partial; id=1", "ü", "must not be changed"),
        ("Content-Type: multipart/mixed", "ü", "must not be changed"),
        (
            "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64",
            "ü",
            "must not be changed",
        ),
        ("Content-Type: text/plain\r\nContent-Transfer-Encoding: x-own", "ü", "not known"),
        ("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", "ü" + "A" * 1001, "no base64"),
        ("Content-Type: text/plain\r\nContent-Type: text/html", "ü", "cannot be read"),
        ("Content-Type: text/plain; name=ü", "x", "not plain ASCII"),
        (
            "Content-Type: multipart/mixed; boundary=x",
            "--x\r\nContent-Type: a/b; c=ü\r\n\r\n\r\n--x--\r\n",
            "header",
        ),
        ("Content-Type: multipart/mixed; boundary=x", "ü\r\n--x\r\n\r\nx\r\n--x--\r\n", "not well-formed"),
    ],
)
def test_what_must_not_be_changed(head: str, body: str, why: str) -> None:
    """What cannot be written anew without harm is refused, and told."""
    fields = split(head.encode() + b"\r\n\r\n")[0]
    with pytest.raises(UnsafeError, match=why):
        safe(fields, MemoryBody(body.encode()))


def test_what_is_signed_inside_stays() -> None:
    """A forwarded signature in safe lines stays, though blanks stand at the ends of its lines."""
    sealed = b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\nhello \r\n--s--\r\n"
    body = b"--x\r\nContent-Type: text/plain\r\n\r\n\xc3\xbc\r\n--x\r\n" + sealed + b"\r\n--x--\r\n"

    _, after = _made_safe("Content-Type: multipart/mixed; boundary=x", body)

    assert sealed in after


def test_too_deep() -> None:
    """Hundreds of levels end in a refusal, not in exhaustion."""
    body = b"\xff"
    for level in range(100):
        mark = b"b%d" % level
        body = b"Content-Type: multipart/mixed; boundary=" + mark + b"\r\n\r\n--" + mark + b"\r\n" + body
        body += b"\r\n--" + mark + b"--\r\n"
    head, _, inner = body.partition(b"\r\n\r\n")

    with pytest.raises(UnsafeError, match="too many"):
        safe(split(head + b"\r\n\r\n")[0], MemoryBody(inner))


def test_a_large_body_is_read_where_it_lies(tmp_path: Path) -> None:
    """A body in a file is made safe by the same rules."""
    spool = Spool(tmp_path)
    spool.write(b"--x\r\nContent-Type: text/plain\r\n\r\n")
    for _ in range(40):
        spool.write("Grüße \r\n".encode() * 4000)
    spool.write(b"\r\n--x--\r\n")
    assert spool.file is not None
    fields = (Field(b"Content-Type", b" multipart/mixed; boundary=x"),)

    found_fields, found = safe(fields, spool, tmp_path)

    assert isinstance(found, Spool)
    assert found.file is not None
    assert _leaves(_whole(found_fields, found)) == _leaves(_whole(fields, spool))
    assert safe(found_fields, found, tmp_path) == (found_fields, found)


@given(st.lists(st.binary(max_size=200) | st.text(max_size=100), min_size=1, max_size=5), st.booleans())
def test_messages_of_another_maker(contents: list[bytes | str], quoted: bool) -> None:
    """Whatever a mail library writes comes out safe, with the same leaves; what came out stays from then on."""
    message = EmailMessage(policy=email.policy.SMTPUTF8.clone(cte_type="8bit"))
    message.set_content("first\n", cte="quoted-printable" if quoted else "8bit")
    for content in contents:
        if isinstance(content, str):
            message.add_attachment(content.replace("\r", "").replace("\0", ""), cte="8bit", filename="a.txt")
        else:
            message.add_attachment(content, maintype="application", subtype="x", cte="base64")
    header, body = split(message.as_bytes())
    fields = tuple(field for field in header if field.key.startswith(b"content-"))

    made = safe(fields, MemoryBody(body))
    after = _whole(*made)

    assert _is_safe(after)
    assert _leaves(after) == _leaves(_whole(fields, MemoryBody(body)))
    assert safe(*made)[1] is made[1]
