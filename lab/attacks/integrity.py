"""OpenPGP messages whose protection against changes was taken away, or never there (EFAIL, CVE-2017-17688)."""

from collections.abc import Iterator
from dataclasses import replace

from lab.attacks import forms, openpgp
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import DOC, KIM, OWN

_CODE = 22  # octets of the packet with the modification detection code


def stripped() -> Iterator[Mail]:
    """Give mail that must not be opened: not one octet of plaintext may come out."""
    for name, about in (
        ("downgraded", "the protected packet made an unprotected one, its code cut off"),
        ("downgraded-aligned", "the same, so that the old kind decrypts to the stolen packets"),
        ("code-cut-off", "the code is cut off"),
        ("code-changed", "one bit of the code changed"),
        ("content-changed", "one bit of the content changed"),
        ("content-cut-off", "half of the content cut off"),
        ("never-protected", "encrypted in the old way, with no code at all"),
        ("never-protected-signed", "the same, signed by kim inside"),
        ("never-protected-domain", "the same, for the domain's key"),
        ("blocks-exchanged", "two blocks exchanged"),
    ):
        case = Case.of("mdc-stripped", name)
        message = _message(case, name)
        yield case.mail(about, case.letter(forms.pgp_encrypted(message.armor())), _left(case))
    case = Case.of("mdc-stripped", "in-base64")
    message = _message(case, "downgraded")
    control = forms.parts(
        'encrypted; protocol="application/pgp-encrypted"',
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n",
        forms.in_base64("application/octet-stream", message.octets()),
    )
    yield case.mail("downgraded, in binary and base64", case.letter(control), _left(case))
    case = Case.of("mdc-stripped", "two-packets")
    message = _message(case, "")
    stripped_one = replace(message, content=message.content[:-_CODE], tag=openpgp.SED)
    octets = message.octets() + openpgp.packet(openpgp.SED, stripped_one.content)
    armor = openpgp.armored("MESSAGE", octets)
    about = "behind the protected packet the same content, unprotected"
    gets = Gets(as_it_came=True, hidden=(case.secret,))
    yield case.mail(about, case.letter(forms.pgp_encrypted(armor)), gets)


def _message(case: Case, name: str) -> openpgp.Encrypted:
    content = forms.html(f"<p>{case.secret}</p>" + "<p>and more of it</p>" * 10)
    packets = openpgp.signed(KIM, content) if name.endswith("signed") else openpgp.literal(content)
    if name.startswith("never"):
        return openpgp.unprotected(case.chance, packets, OWN if name.endswith("domain") else DOC)
    whole = openpgp.encrypted(case.chance, packets, DOC)
    data = whole.content
    changed = {
        "downgraded": data[:-_CODE],
        "downgraded-aligned": _aligned(data)[:-_CODE],
        "code-cut-off": data[:-_CODE],
        "code-changed": data[:-1] + bytes([data[-1] ^ 1]),
        "content-changed": data[:100] + bytes([data[100] ^ 0x20]) + data[101:],
        "content-cut-off": data[: len(data) // 2],
        "blocks-exchanged": data[:112] + data[128:144] + data[112:128] + data[144:],
    }.get(name, data)
    return replace(whole, content=changed, tag=openpgp.SED if name.startswith("downgraded") else openpgp.SEIPD)


def _aligned(data: bytes) -> bytes:
    """
    Make protected ciphertext one that decrypts in the old way, in which the third block begins after 18 octets.

    A block whose plaintext is known (the content begins behind the literal packet's head, RFC 9580 section 5.9)
    gives one of any plaintext: the head of an experimental packet, in which the octets vanish that do not fit.
    """
    known = b"ntent-Type: text"
    head = bytes((0xC0 | 60, 32)) + b"from the attack"[:14]
    return b"\0\0" + data[16:32] + _xor(_xor(data[32:48], known), head) + data


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _left(case: Case) -> Gets:
    return Gets(flags=("undecryptable",), as_it_came=True, hidden=(case.secret,))
