"""Stolen ciphertext sent to an insider other than its addressee: the accomplice must get it as it came."""

from collections.abc import Iterator
from dataclasses import replace

from lab.attacks import forms, ways
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import DOC, KIM, MAL, NURSE, OWN

_KIND = "accomplice"


def to_accomplices() -> Iterator[Mail]:
    """Give mail with ciphertext for doc's key, or the domain's, to whom that key does not belong."""
    for way in ("openpgp", "aes256-gcm", "aes256-cbc", "aes256-gcm+stream", "aes128-cbc+keyid"):
        case = Case.of(_KIND, way.replace("+", "-"))
        message = case.letter(_stolen(case, way), to=MAL)
        yield case.mail(f"by {way} for doc, sent to mal", message, _left(case), to=MAL)
    for name, fields in (
        ("to-says-doc", ()),
        ("resent-to", (f"Resent-To: {DOC}",)),
        ("delivered-to", (f"Delivered-To: {DOC}", f"X-Original-To: {DOC}")),
        ("forged-result", ("Gatepost-Result: gatepost.mail.hosp.test; decrypted=openpgp; signed=pass",)),
    ):
        case = Case.of(_KIND, name)
        message = case.letter(_stolen(case, "openpgp"), to=DOC, more=fields)
        yield case.mail(f"for doc, whom the header names; sent to mal ({name})", message, _left(case), to=MAL)
    for way in ("openpgp", "aes256-gcm"):
        case = Case.of(_KIND, f"domain-key-{way}")
        message = case.letter(_stolen(case, way, OWN), to=NURSE)
        yield case.mail("for the domain's key, sent to another domain of the site", message, _left(case), to=NURSE)
    case = Case.of(_KIND, "same-local-part")
    message = case.letter(_stolen(case, "aes256-gcm"), to=NURSE)
    yield case.mail("for doc, sent to doc of another domain", message, _left(case), to=NURSE)
    yield from _beside_doc()


def _beside_doc() -> Iterator[Mail]:
    """Give mail to doc and mal together: doc gets it opened, mal as it came."""
    for way in ("openpgp", "aes256-gcm", "aes256-cbc"):
        case = Case.of(_KIND, f"both-{way}")
        mail = case.mail(f"by {way} for doc, sent to doc and mal", case.letter(_stolen(case, way)), _left(case))
        opened = Gets(("openpgp" if way == "openpgp" else "smime",), clear=(case.secret,))
        yield replace(mail, sender=KIM, gets={DOC: opened, MAL: _left(case)})


def _stolen(case: Case, way: str, *names: str) -> bytes:
    return ways.encrypted(way, case.chance, forms.text(case.secret), *names)


def _left(case: Case) -> Gets:
    return Gets(as_it_came=True, hidden=(case.secret,))
