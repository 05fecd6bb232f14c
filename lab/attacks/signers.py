"""Signed by nobody, or what is not shown: zero SignerInfos, eContent confusion (CVE-2018-18509)."""

from collections.abc import Iterator

from lab.attacks import cms, forms, openpgp, ways
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import DOC, KIM


def zero_signers() -> Iterator[Mail]:
    """Give signed data that nobody signed: no signature in it is wrong, as there is none."""
    for name, about, pieces, names in (
        ("opaque", "SignedData without SignerInfo, with kim's certificate", False, (KIM,)),
        ("opaque-without-certificates", "SignedData without SignerInfo or certificate", False, ()),
        ("opaque-in-pieces", "SignedData without SignerInfo, its content in pieces", True, (KIM,)),
    ):
        case = Case.of("zero-signers", name)
        data = cms.signed_data([], forms.text(case.forged), *names, pieces=pieces)
        yield case.mail(about, case.letter(forms.cms(data, "signed-data")), Gets())
    for name, about, inside, names in (
        ("detached", "multipart/signed, SignedData without SignerInfo", False, (KIM,)),
        ("detached-without-certificates", "the same without a certificate", False, ()),
        ("detached-with-content", "the same, with the content inside once more", True, (KIM,)),
    ):
        case = Case.of("zero-signers", name)
        shown = forms.text(case.forged)
        data = cms.signed_data([], shown if inside else None, *names)
        gets = Gets(as_it_came=True, clear=(case.forged,))
        yield case.mail(about, case.letter(forms.cms_signed(shown, data)), gets)
    yield from _without_signer_inside()
    yield from _without_signature_in_openpgp()


def _without_signer_inside() -> Iterator[Mail]:
    for way, opaque in (("aes256-gcm", True), ("aes256-gcm", False), ("aes256-cbc", True), ("aes256-cbc", False)):
        case = Case.of("zero-signers", f"in-{way}-{'opaque' if opaque else 'detached'}")
        shown = forms.text(case.forged)
        data = cms.signed_data([], shown if opaque else None, KIM)
        inner = forms.cms(data, "signed-data") if opaque else forms.cms_signed(shown, data)
        flags = ("unauthenticated",) if way.endswith("gcm") else ("unauthenticated", "neutralised")
        gets = Gets(("smime",), flags=flags)
        about = f"encrypted to doc by {way}, inside SignedData without SignerInfo"
        yield case.mail(about, case.letter(ways.encrypted(way, case.chance, inner)), gets)


def _without_signature_in_openpgp() -> Iterator[Mail]:
    for name, about, packets in (
        ("openpgp-empty", "multipart/signed with empty armor", b""),
        ("openpgp-marker", "multipart/signed with a marker packet for a signature", openpgp.packet(10, b"PGP")),
    ):
        case = Case.of("zero-signers", name)
        shown = forms.text(case.forged)
        entity = forms.pgp_signed(shown, openpgp.armored("SIGNATURE", packets))
        yield case.mail(about, case.letter(entity), Gets(as_it_came=True, clear=(case.forged,)))
    case = Case.of("zero-signers", "openpgp-announced")
    packets = openpgp.one_pass(KIM) + openpgp.literal(forms.text(case.forged))
    entity = forms.pgp_encrypted(openpgp.encrypted(case.chance, packets, DOC).armor())
    about = "encrypted to doc, inside a one-pass packet that announces kim's signature, and none"
    yield case.mail(about, case.letter(entity), Gets(("openpgp", "no")))


def confused_content() -> Iterator[Mail]:
    """Give multipart/signed whose signature is good, of other content that it brings along."""
    for name, about in (
        ("with-attributes", "what kim signed stands in eContent, what is shown beside it"),
        ("without-attributes", "the same, signed without signed attributes"),
        ("in-pieces", "the same, eContent in pieces"),
        ("old-media-type", "the same, as application/x-pkcs7-signature"),
        ("another-kind", "the same, of a content type that is not data"),
        ("attributes-as-content", "kim's signed attributes themselves are eContent, so that her signature fits"),
    ):
        case = Case.of("econtent-confusion", name)
        shown = forms.text(case.forged)
        media = "application/x-pkcs7-signature" if name == "old-media-type" else "application/pkcs7-signature"
        entity = forms.cms_signed(shown, _confusing(name), media=media)
        gets = Gets(as_it_came=True, clear=(case.forged,))
        yield case.mail(about, case.letter(entity), gets)
    for way in ("aes256-gcm", "aes256-cbc"):
        case = Case.of("econtent-confusion", f"in-{way}")
        inner = forms.cms_signed(forms.text(case.forged), _confusing("with-attributes"))
        about = f"the confusion inside content encrypted to doc by {way}"
        gets = Gets(("smime",), flags=("unauthenticated",))
        yield case.mail(about, case.letter(ways.encrypted(way, case.chance, inner)), gets)
    yield from _other_confusions()


def _confusing(name: str) -> bytes:
    """Sign harmless words in one of the ways."""
    other = "1.2.840.113549.1.9.16.1.2"  # id-ct-authData
    kind = other if name == "another-kind" else cms.DATA
    content = forms.text("Congratulations, you have been promoted!")
    attributes = name not in {"without-attributes", "attributes-as-content"}
    if name == "attributes-as-content":
        content = cms.signed_attributes(content)
    info = cms.signer_info(KIM, content, attributes=attributes, kind=kind)
    return cms.signed_data([info], content, KIM, kind=kind, pieces=name == "in-pieces")


def _other_confusions() -> Iterator[Mail]:
    case = Case.of("econtent-confusion", "no-content")
    info = cms.signer_info(KIM, forms.text(case.forged))
    entity = forms.cms(cms.signed_data([info], None, KIM), "signed-data")
    yield case.mail("opaque, but what was signed is not there", case.letter(entity), Gets())

    case = Case.of("econtent-confusion", "openpgp-message-for-signature")
    message = openpgp.signed(KIM, forms.text("Congratulations, you have been promoted!"))
    entity = forms.pgp_signed(forms.text(case.forged), openpgp.armored("MESSAGE", message))
    gets = Gets(as_it_came=True, clear=(case.forged,))
    about = "multipart/signed, a signed message with its own content in the place of the signature"
    yield case.mail(about, case.letter(entity), gets)

    case = Case.of("econtent-confusion", "openpgp-packets-for-signature")
    entity = forms.pgp_signed(forms.text(case.forged), openpgp.armored("SIGNATURE", message))
    about = "the same, labelled as a signature"
    gets = Gets(as_it_came=True, clear=(case.forged,))
    yield case.mail(about, case.letter(entity), gets)
