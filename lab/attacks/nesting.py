"""Stolen ciphertext as a message inside a message, or as a part of what is itself encrypted."""

from collections.abc import Iterator

from lab.attacks import forms, ways
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import KIM, OWN

_KIND = "nested-message"


def nested() -> Iterator[Mail]:
    """Give mail with a message for doc inside, which stays encrypted and is flagged."""
    for way in ("openpgp", "aes256-gcm", "aes256-cbc", "aes256-gcm+stream"):
        case = Case.of(_KIND, f"attached-{way.replace('+', '-')}")
        entity = forms.parts("mixed", forms.text(case.forged), forms.forwarded(_stolen(case, way)))
        yield case.mail(f"a message encrypted by {way} as attachment", case.letter(entity), _left(case))
    for name, about in (
        ("alone", "the message is all there is: the root is message/rfc822"),
        ("base64", "attached in base64"),
        ("digest", "in multipart/digest"),
        ("twice", "a message in a message in a message"),
        ("global", "as message/global"),
        ("part", "not a message, but a part beside text"),
        ("domain-key", "attached, for the domain's key"),
    ):
        case = Case.of(_KIND, name)
        # in base64, which RFC 2046 section 5.2.1 does not allow, it is not looked for
        flags = () if name == "base64" else ("nested",)
        gets = Gets(flags=flags, as_it_came=True, hidden=(case.secret,))
        yield case.mail(about, case.letter(_around(case, name)), gets)
    for way in ("openpgp", "aes256-gcm", "aes256-cbc"):
        case = Case.of(_KIND, f"inside-{way}")
        both = forms.parts("mixed", forms.text(case.forged), forms.forwarded(_stolen(case, "openpgp")))
        opened = ("openpgp",) if way == "openpgp" else ("smime", "no")
        gets = Gets(opened, hidden=(case.secret,), inert=way.endswith("cbc"))
        about = f"encrypted to doc by {way}: text, and a stolen message as attachment"
        yield case.mail(about, case.letter(ways.encrypted(way, case.chance, both)), gets)


def _around(case: Case, name: str) -> bytes:
    stolen = _stolen(case, "aes256-gcm", OWN) if name == "domain-key" else _stolen(case, "openpgp")
    text = forms.text(case.forged)
    inner = forms.parts("mixed", text, forms.forwarded(stolen), name="inner")
    return {
        "alone": forms.forwarded(stolen),
        "base64": forms.parts("mixed", text, forms.in_base64("message/rfc822", stolen)),
        "digest": forms.parts("digest", b"\r\n" + stolen),
        "twice": forms.parts("mixed", text, forms.forwarded(f"From: {KIM}\r\n".encode() + inner)),
        "global": forms.parts("mixed", text, forms.forwarded(stolen, kind="message/global")),
        "part": forms.parts("mixed", text, ways.encrypted("openpgp", case.chance, forms.text(case.secret))),
        "domain-key": forms.parts("mixed", text, forms.forwarded(stolen)),
    }[name]


def _stolen(case: Case, way: str, *names: str) -> bytes:
    return case.letter(ways.encrypted(way, case.chance, forms.text(case.secret), *names), number=".stolen")


def _left(case: Case) -> Gets:
    return Gets(flags=("nested",), as_it_came=True, hidden=(case.secret,))
