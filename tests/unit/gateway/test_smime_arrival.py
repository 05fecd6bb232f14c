"""Mail that comes in as S/MIME: who gets it opened, and what of it where nothing proves it."""

import base64
from dataclasses import replace

import pytest
from tests.fakes import World, opened
from tests.gateways import OUTSIDE, gateway_over, message, processed

from gatepost.gateway.verdict import Accept
from gatepost.message.edit import apply
from gatepost.message.field import Field, named
from gatepost.message.transaction import Transaction

ANNA, CAROL = "anna@hosp.test", "carol@hosp.test"
HTML = b'Content-Type: text/html\r\n\r\n<p>x</p><img src="http://evil.test/">'
UNCLEAR = b"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
ENVELOPE = bytes.fromhex(
    "304306092a864886f70d010703a036303402010031053003020100302806092a864886f70d010701"
    "300906012a040400000000801000000000000000000000000000000000"
)


def incoming(*recipients: str, cms: bytes = ENVELOPE, kind: str = "enveloped-data") -> Transaction:
    fields = (
        Field(b"Content-Type", f" application/pkcs7-mime; smime-type={kind}".encode()),
        Field(b"Content-Transfer-Encoding", b" base64"),
    )
    body = base64.encodebytes(cms).replace(b"\n", b"\r\n")
    return message(*recipients, client=OUTSIDE, sender="bob@other.test", fields=fields, body=body)


def in_place(world: World, transaction: Transaction) -> tuple[str, bytes]:
    """Give the result and the body of the copy that stays."""
    verdict = processed(gateway_over(world), transaction)
    assert isinstance(verdict, Accept)
    (result,) = named(apply(transaction.fields, verdict.form.edits), b"gatepost-result")
    body = verdict.form.body or transaction.body
    return result.value.decode(), body.read()


@pytest.mark.parametrize("kind", ["enveloped-data", "authEnveloped-data", "signed-data"])
def test_what_is_proved_stays_as_it_was(kind: str) -> None:
    """Content that is proved is put in place as it is, whatever the label said."""
    world = World(opens={ANNA: replace(opened(HTML, "none"), kind="smime")})
    result, body = in_place(world, incoming(ANNA, kind=kind))

    assert body == HTML.partition(b"\r\n\r\n")[2]
    assert "decrypted=smime; signed=none; came=plain; flag=unauthenticated" in result
    assert "neutralised" not in result
    assert [row.cause for row in world.rows] == ["decrypted"]


def test_what_is_not_proved_is_made_harmless() -> None:
    """Content that nothing proves loses what loads, and says so; the conversation is protected all the same."""
    world = World(opens={ANNA: replace(opened(HTML, "none"), kind="smime", intact=False)})
    result, body = in_place(world, incoming(ANNA))

    assert base64.b64decode(body) == b"<p>x</p>"
    assert "decrypted=smime; signed=none; came=plain; flag=unauthenticated,neutralised" in result
    assert [row.cause for row in world.rows] == ["decrypted"]


def test_what_cannot_be_made_harmless_stays_encrypted() -> None:
    """Where it is not certain that nothing can send the text away, everybody gets what came, flagged."""
    transaction = incoming(ANNA, CAROL)
    world = World(opens={ANNA: replace(opened(UNCLEAR, "none"), kind="smime", intact=False)})
    result, body = in_place(world, transaction)

    assert body == transaction.body.read()
    assert "decrypted=no" in result
    assert "flag=undecryptable" in result
    assert world.rows == []
    assert world.submitted == []


@pytest.mark.parametrize(
    "cms", [b"", ENVELOPE[:-1], ENVELOPE + b"\0", b"\x30\x80\0\0", b"Hello, this is clear text."]
)
def test_what_is_no_envelope_is_not_asked_about(cms: bytes) -> None:
    """A label alone makes nothing encrypted: the key worker is not asked, and the message arrives as it came."""
    transaction = incoming(ANNA, cms=cms)
    world = World(opens={ANNA: opened(b"never", "none")})
    result, body = in_place(world, transaction)

    assert body == transaction.body.read()
    assert "decrypted=no" in result
    assert not [what for what in world.happened if what.startswith("open")]
