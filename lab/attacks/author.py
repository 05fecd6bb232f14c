"""Signed by one, shown as from another: two authors, Sender and display names (Johnny's classes I1 to I3)."""

from collections.abc import Iterator

from lab.attacks import cms, forms, ways
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import EVE, KIM, POSING

_OPENED = {"openpgp-encrypted": ("openpgp",), "aes256-gcm": ("smime",), "aes256-cbc": ("smime",)}


def two_authors() -> Iterator[Mail]:
    """Give mail with more than one author, signed well by one of them: no signature is the author's."""
    one, other = f"From: {KIM}", f"From: {EVE}"
    for name, way, authors, signer in (
        ("fields-openpgp", "openpgp-encrypted", (one, other), EVE),
        ("fields-openpgp-turned", "openpgp-encrypted", (other, one), EVE),
        ("fields-openpgp-signed-by-kim", "openpgp-encrypted", (one, other), KIM),
        ("list-openpgp", "openpgp-encrypted", (f"From: {KIM}, {EVE}",), EVE),
        ("list-openpgp-turned", "openpgp-encrypted", (f"From: {EVE}, {KIM}",), EVE),
        ("blank-before-colon", "openpgp-encrypted", (other, f"From : {KIM}"), EVE),
        ("group", "openpgp-encrypted", (f"From: all: {KIM}, {EVE};",), EVE),
        ("fields-openpgp-clear", "openpgp", (one, other), EVE),
        ("fields-detached", "detached", (one, other), EVE),
        ("fields-detached-turned", "detached", (other, one), EVE),
        ("list-opaque", "opaque", (f"From: {KIM}, {EVE}",), EVE),
        ("fields-in-gcm", "aes256-gcm", (one, other), EVE),
        ("list-in-cbc", "aes256-cbc", (f"From: {EVE}, {KIM}",), EVE),
        ("capitals", "detached", (other, f"FROM: {KIM}"), EVE),
    ):
        case = Case.of("two-authors", name)
        entity = _signed(case, way, signer)
        about = f"{way}, signed by {signer}, {' and '.join(authors)}"
        gets = Gets(
            _OPENED.get(way, ("no",)), clear=(case.forged,) if way != "opaque" else (), never_by=(KIM, EVE)
        )
        yield case.mail(about, case.letter(entity, *authors), gets)


def another_sender() -> Iterator[Mail]:
    """Give mail from kim, as it says, that eve sends and signs: her signature is not the author's."""
    for name, way, authors in (
        ("openpgp", "openpgp-encrypted", (f"From: {KIM}", f"Sender: {EVE}")),
        ("openpgp-clear", "openpgp", (f"From: {KIM}", f"Sender: {EVE}")),
        ("detached", "detached", (f"From: {KIM}", f"Sender: {EVE}")),
        ("opaque", "opaque", (f"From: {KIM}", f"Sender: {EVE}")),
        ("in-gcm", "aes256-gcm", (f"From: {KIM}", f"Sender: {EVE}")),
        ("in-cbc", "aes256-cbc", (f"From: {KIM}", f"Sender: {EVE}")),
        ("sender-before-from", "openpgp-encrypted", (f"Sender: {EVE}", f"From: {KIM}")),
        ("reply-to", "openpgp-encrypted", (f"From: {KIM}", f"Reply-To: {EVE}", f"Resent-From: {EVE}")),
        ("name-with-her-address", "openpgp-encrypted", (f'From: "{EVE}" <{KIM}>', f"Sender: {EVE}")),
        ("comment-with-her-address", "detached", (f"From: {KIM} ({EVE})",)),
        ("two-in-brackets", "openpgp-encrypted", (f"From: <{EVE}> <{KIM}>",)),
    ):
        case = Case.of("another-sender", name)
        about = f"{way}, signed by eve, {' and '.join(authors)}"
        gets = Gets(_OPENED.get(way, ("no",)), never_by=(KIM, EVE))
        yield case.mail(about, case.letter(_signed(case, way, EVE), *authors), gets)
    yield from _names()


def _names() -> Iterator[Mail]:
    """Give mail that is truly from eve, under a display name, or by a certificate, that says kim."""
    case = Case.of("another-sender", "kim-for-a-name")
    gets = Gets(("openpgp",), ("pass", "fail", "none"))
    entity = _signed(case, "openpgp-encrypted", EVE)
    about = "eve's own mail under kim's address as display name: signed by eve, and called so or not at all"
    yield case.mail(about, case.letter(entity, f'From: "{KIM}" <{EVE}>'), gets)

    for way in ("detached", "opaque"):
        case = Case.of("another-sender", f"kim-in-common-name-{way}")
        content = forms.text(case.forged)
        data = cms.signed(POSING, content, inside=way == "opaque")
        entity = forms.cms_signed(content, data) if way == "detached" else forms.cms(data, "signed-data")
        about = "from kim, signed with eve's certificate whose common name is kim's address"
        yield case.mail(about, case.letter(entity), Gets(never_by=(KIM, EVE)))


def _signed(case: Case, way: str, signer: str) -> bytes:
    content = forms.text(case.forged)
    if way == "openpgp-encrypted":
        return ways.signed_and_encrypted("openpgp", case.chance, signer, content)
    if way.startswith("aes"):
        return ways.signed_and_encrypted(way, case.chance, signer, content)
    return ways.signed(way, signer, content)
