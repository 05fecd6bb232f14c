"""The messages that stand in another one: found where people attach them, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.letter import multipart, part

from gatepost.gateway.forwarded import attached
from gatepost.message.field import Field, named

INNER = b"From: kim@partner.test\r\nSubject: one\r\n\r\nbody\r\n"


def in_mail(*parts: bytes, kind: str = "mixed", boundary: str = "outer") -> tuple[tuple[Field, ...], bytes]:
    line, body = multipart(kind, *parts, boundary=boundary)
    name, _, value = line.partition(":")
    return (Field(name.encode(), value.encode()),), body


def nested(levels: int) -> bytes:
    """Give an entity with a message so many multiparts deep."""
    entity = b"Content-Type: message/rfc822\r\n\r\n" + INNER
    for level in range(levels):
        line, body = multipart("mixed", entity, boundary=f"level{level}")
        entity = line.encode() + b"\r\n\r\n" + body
    return entity


@pytest.mark.parametrize(
    "entity",
    [
        b"Content-Type: message/rfc822\r\n\r\n" + INNER,
        b"Content-Type: message/global\r\nContent-Disposition: attachment\r\n\r\n" + INNER,
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + INNER.replace(b"kim", b"=6Bim"),
        part(INNER, "message/rfc822"),
        part(INNER.replace(b"\r\n", b"\n"), 'application/octet-stream; name="a message.eml"'),
        part(INNER, "application/octet-stream", "Content-Disposition: attachment;\r\n filename*=utf-8''m.EML"),
        part(INNER, "text/plain", 'Content-Disposition: attachment; filename="x.eml"; size=9'),
        nested(3),
    ],
)
def test_attached_in_every_way(entity: bytes) -> None:
    """As a message, as a file, encoded or not, with whatever line ends, some levels deep."""
    fields, body = in_mail(b"Content-Type: text/plain\r\n\r\nplease open\r\n", entity)
    ((found, text),) = attached(fields, body)

    assert [one.value for one in named(found, b"from")] == [b" kim@partner.test"]
    assert text.rstrip() == b"body"


def test_several_and_alone() -> None:
    """Several come in their order; a mail that is nothing but the message counts too."""
    first, second = (
        b"Content-Type: message/rfc822\r\n\r\n" + INNER.replace(b"one", word) for word in (b"1", b"2")
    )
    subjects = [named(fields, b"subject")[0].value for fields, _ in attached(*in_mail(first, second))]
    assert subjects == [b" 1", b" 2"]
    assert len(attached((Field(b"Content-Type", b" message/rfc822"),), INNER)) == 1


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ((), INNER),
        ((Field(b"Content-Type", b" text/plain"),), b"> " + INNER),
        in_mail(b"Content-Type: application/pgp-encrypted\r\n\r\n", part(INNER, "application/octet-stream")),
        in_mail(nested(5)),
        in_mail(*[nested(0)] * 101),
        ((Field(b"Content-Type", b" multipart/mixed"),), INNER),
    ],
)
def test_no_message(fields: tuple[Field, ...], body: bytes) -> None:
    """Quoted text, other files, what is too deep or too much: nothing is found."""
    assert attached(fields, body) == ()


def test_not_inside_one_another() -> None:
    """A message attached to an attached one stays where it is."""
    line, body = multipart("mixed", nested(0), boundary="inner")
    entity = b"Content-Type: message/rfc822\r\n\r\nFrom: a@b.test\r\n" + line.encode() + b"\r\n\r\n" + body
    assert len(attached(*in_mail(entity))) == 1


@given(st.binary(max_size=300))
def test_hostile_content(data: bytes) -> None:
    """Whatever is attached, it is taken apart or given whole, and no bare line end is left."""
    ((fields, body),) = attached(*in_mail(part(data, "message/rfc822")))
    assert b"\n" not in body.replace(b"\r\n", b"")
    assert b"\r" not in body.replace(b"\r\n", b"")
    assert all(b"\r" not in one.value for one in fields)
