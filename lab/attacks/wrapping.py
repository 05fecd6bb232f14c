"""
What is signed or encrypted is a part among the attacker's: referred to from HTML, or put away as an attachment.

Johnny's classes M1 to M4. What is encrypted stays so; what is signed says nothing of the whole.
"""

from collections.abc import Iterator

from lab.attacks import forms, ways
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import KIM

_SIGNED = ("openpgp", "detached", "opaque")
_REFERENCES = {
    "img": '<img src="cid:target">',
    "iframe": '<iframe src="cid:target"></iframe>',
    "object": '<object data="cid:target"></object><embed src="cid:target">',
    "style": '<style>body { background: url("cid:target") }</style>',
}
_PROMOTED = "Congratulations, you have been promoted!"


def referred_to() -> Iterator[Mail]:
    """Give multipart/related whose HTML refers to a part that is signed, or encrypted to doc."""
    kind = "cid-reference"
    for way, reference in zip(_SIGNED, _REFERENCES, strict=False):
        case = Case.of(kind, f"signed-{way}")
        inner = forms.with_fields(ways.signed(way, KIM, forms.text(_PROMOTED)), "Content-ID: <target>")
        entity = forms.parts("related", forms.html(case.forged + _REFERENCES[reference]), inner)
        gets = Gets(as_it_came=True, clear=(case.forged,))
        yield case.mail(f"HTML with a reference ({reference}) to a part signed by kim", case.letter(entity), gets)
    for way, reference in (
        ("openpgp", "iframe"),
        ("aes256-gcm", "object"),
        ("aes256-cbc", "img"),
        ("aes256-gcm+stream", "style"),
    ):
        case = Case.of(kind, f"encrypted-{way.replace('+', '-')}")
        inner = ways.encrypted(way, case.chance, forms.text(case.secret))
        inner = forms.with_fields(inner, "Content-ID: <target>")
        entity = forms.parts("related", forms.html(case.forged + _REFERENCES[reference]), inner)
        yield case.mail(
            f"HTML with a reference ({reference}) to a part encrypted to doc", case.letter(entity), _left(case)
        )
    for way in ("openpgp", "aes256-gcm", "aes256-cbc"):
        case = Case.of(kind, f"signed-inside-{way}")
        signed = forms.with_fields(ways.signed("detached", KIM, forms.text(_PROMOTED)), "Content-ID: <target>")
        inner = forms.parts("related", forms.html(case.forged + _REFERENCES["img"]), signed)
        entity = ways.encrypted(way, case.chance, inner)
        opened = "openpgp" if way == "openpgp" else "smime"
        gets = Gets((opened,), flags=("unauthenticated",), clear=(case.forged,), inert=way == "aes256-cbc")
        yield case.mail(
            "encrypted to doc: HTML with a reference to a part signed by kim", case.letter(entity), gets
        )


def put_away() -> Iterator[Mail]:
    """Give mail whose visible text is the attacker's, and what kim signed an attachment of it."""
    kind = "signed-attachment"
    away = 'Content-Disposition: attachment; filename="signature.asc"'
    for way in _SIGNED:
        case = Case.of(kind, f"mixed-{way}")
        inner = forms.with_fields(ways.signed(way, KIM, forms.text(_PROMOTED)), away)
        entity = forms.parts("mixed", forms.text(case.forged), inner)
        gets = Gets(as_it_came=True, clear=(case.forged,))
        yield case.mail("text, and a part signed by kim as attachment", case.letter(entity), gets)
    yield from _around()
    for way in ("openpgp", "aes256-gcm"):
        case = Case.of(kind, f"mixed-inside-{way}")
        inner = forms.with_fields(ways.signed("detached", KIM, forms.text(_PROMOTED)), away)
        both = forms.parts("mixed", forms.text(case.forged), inner)
        gets = Gets(
            ("openpgp" if way == "openpgp" else "smime",), flags=("unauthenticated",), clear=(case.forged,)
        )
        entity = ways.encrypted(way, case.chance, both)
        yield case.mail("encrypted to doc: text, and a part signed by kim", case.letter(entity), gets)


def _around() -> Iterator[Mail]:
    """Give text around, before and behind what kim signed."""
    signed = ways.signed("detached", KIM, forms.text(_PROMOTED))
    pgp = ways.signed("openpgp", KIM, forms.text(_PROMOTED))
    hiding = '<p>{words}</p><div style="display:none"><plaintext>'
    for name, about, make in (
        ("alternative", "the signed part is the poorer alternative", "alternative"),
        ("html-before", "HTML before it hides the signed part", "hiding"),
        ("preamble", "a letter before the first boundary of multipart/signed", "preamble"),
        ("third-part", "a third part in multipart/signed", "third"),
        ("forwarded", "what is signed is a forwarded message", "forwarded"),
    ):
        case = Case.of("signed-attachment", name)
        forged = forms.text(case.forged)
        entity = {
            "alternative": forms.parts("alternative", signed, forms.html(case.forged)),
            "hiding": forms.parts("mixed", forms.html(hiding.format(words=case.forged)), pgp),
            "preamble": _beside(signed, case.forged.encode() + b"\r\n\r\n"),
            "third": _third(signed, forged),
            "forwarded": forms.parts("mixed", forged, forms.forwarded(f"From: {KIM}\r\n".encode() + signed)),
        }[make]
        gets = Gets(as_it_came=True, clear=(case.forged,))
        yield case.mail(about, case.letter(entity), gets)


def _beside(signed: bytes, preamble: bytes) -> bytes:
    """Put text before the first boundary; the signature stays good, and nothing signed it."""
    head, blank, body = signed.partition(b"\r\n\r\n")
    return head + blank + preamble + body


def _third(signed: bytes, part: bytes) -> bytes:
    """Put a part in front of the two of multipart/signed."""
    head, blank, body = signed.partition(b"\r\n\r\n")
    return head + blank + b"--=signed=\r\n" + part + b"\r\n" + body


def _left(case: Case) -> Gets:
    return Gets(flags=("nested",), as_it_came=True, clear=(case.forged,), hidden=(case.secret,))
