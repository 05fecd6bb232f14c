"""No attacks: mail of the same making that is opened, and called signed. Without it, refusing all would pass."""

from collections.abc import Iterator
from dataclasses import replace

from lab.attacks import forms, ways
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import DOC, EVE, KIM, OWN

_KIND = "valid"


def valid() -> Iterator[Mail]:
    """Give mail that kim sends, encrypted, signed, or both."""
    for way in (
        "openpgp",
        "aes256-gcm",
        "aes256-gcm+stream",
        "aes256-gcm+keyid",
        "aes128-cbc",
        "aes256-cbc+stream",
    ):
        for whom in (DOC, OWN):
            case = Case.of(_KIND, f"{way.replace('+', '-')}-{'domain' if whom == OWN else 'doc'}")
            entity = ways.encrypted(way, case.chance, forms.text(case.secret), whom)
            flags = ("unauthenticated", "neutralised") if "cbc" in way else ("unauthenticated",)
            opened = "openpgp" if way == "openpgp" else "smime"
            gets = Gets((opened,), ("none",), flags, clear=(case.secret,))
            yield case.mail(f"encrypted by {way} to {whom}", case.letter(entity), gets, sender=KIM)
    for way in ("openpgp", "aes256-gcm"):
        case = Case.of(_KIND, f"signed-and-encrypted-{way}")
        entity = ways.signed_and_encrypted(way, case.chance, KIM, forms.text(case.secret))
        gets = Gets(("openpgp" if way == "openpgp" else "smime",), ("pass",), clear=(case.secret,), never_by=())
        yield case.mail("signed by kim, and encrypted to doc", case.letter(entity), gets, sender=KIM)
    for way in ("openpgp", "detached", "opaque"):
        case = Case.of(_KIND, f"signed-{way}")
        entity = ways.signed(way, KIM, forms.text(case.forged))
        gets = Gets(signed=("pass",), never_by=())
        yield case.mail("signed by kim", case.letter(entity), gets, sender=KIM)
    for way in ("openpgp", "aes256-gcm"):
        case = Case.of(_KIND, f"two-recipients-{way}")
        entity = ways.encrypted(way, case.chance, forms.text(case.secret), EVE, DOC)
        gets = Gets(("openpgp" if way == "openpgp" else "smime",), ("none",), clear=(case.secret,))
        yield case.mail("encrypted to an outsider and to doc", case.letter(entity), gets, sender=KIM)
    for way in ("openpgp", "aes256-gcm"):
        case = Case.of(_KIND, f"again-{way}")
        entity = ways.encrypted(way, case.chance, forms.text(case.secret))
        gets = Gets(("openpgp" if way == "openpgp" else "smime",), ("none",), clear=(case.secret,))
        mail = case.mail(
            "the same twice from kim", case.letter(entity, "From: KIM@partner.test"), gets, sender=KIM
        )
        yield replace(mail, first=case.letter(entity, number=".first"))
