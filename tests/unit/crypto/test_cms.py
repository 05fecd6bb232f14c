"""Encrypted CMS, recognised by its whole structure."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto import ber, cms

_OID = bytes.fromhex("06092a864886f70d010703")
_AUTH_OID = bytes.fromhex("060b2a864886f70d0109100117")
_DATA = bytes.fromhex("06092a864886f70d010701")
_VERSION = b"\x02\x01\x00"


def tlv(tag: int, *parts: bytes) -> bytes:
    """Write one element with a definite length."""
    content = b"".join(parts)
    size = len(content)
    return bytes((tag, size)) + content if size < 128 else bytes((tag, 0x83)) + size.to_bytes(3, "big") + content


def endless(tag: int, *parts: bytes) -> bytes:
    """Write one element with an indefinite length."""
    return bytes((tag, 0x80)) + b"".join(parts) + b"\0\0"


ALGORITHM = tlv(0x30, b"\x06\x01\x2a", tlv(0x04, bytes(16)))
RECIPIENTS = tlv(0x31, tlv(0x30, _VERSION))
CONTENT = tlv(0x30, _DATA, ALGORITHM, tlv(0x80, bytes(200)))
MAC = tlv(0x04, bytes(16))


def with_parameter(parameter: bytes) -> bytes:
    """Write the content with another parameter of its algorithm."""
    return tlv(0x30, _DATA, tlv(0x30, b"\x06\x01\x2a", parameter), tlv(0x80, b"x"))


def message(*parts: bytes, oid: bytes = _OID) -> bytes:
    return tlv(0x30, oid, tlv(0xA0, tlv(0x30, *parts)))


WHOLE = message(_VERSION, RECIPIENTS, CONTENT)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cms")
    _openssl(
        folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", "-keyout", "k", "-out", "c"
    )
    return folder / "c"


def _openssl(folder: Path, *arguments: str, text: bytes = b"") -> bytes:
    command = ("openssl", *arguments)
    return subprocess.run(command, cwd=folder, input=text, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.real
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl")
@pytest.mark.parametrize(
    "options",
    [(), ("-stream",), ("-aes-256-gcm",), ("-stream", "-aes-256-gcm"), ("-keyopt", "rsa_padding_mode:oaep")],
)
@pytest.mark.parametrize("size", [1, 100_000])
def test_what_openssl_makes_is_accepted(certificate: Path, options: tuple[str, ...], size: int) -> None:
    """CMS encrypted by openssl counts, in every form; cut off or followed by anything it does not."""
    form = ("-recip", str(certificate)) if "-keyopt" in options else (str(certificate),)
    order = (*form, *options) if "-keyopt" in options else (*options, *form)
    made = _openssl(certificate.parent, "cms", "-encrypt", "-binary", "-outform", "DER", *order, text=b"x" * size)

    assert cms.is_enveloped(made)
    assert not cms.is_enveloped(made[:-1])
    assert not cms.is_enveloped(made + b"\n")
    assert not cms.is_enveloped(made[:40] + b"x" * size)


@pytest.mark.real
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl")
def test_signed_only_is_not(certificate: Path) -> None:
    """CMS that is signed, with its text inside, is not encrypted."""
    options = ("-sign", "-nodetach", "-signer", "c", "-inkey", "k", "-outform", "DER")

    assert not cms.is_enveloped(_openssl(certificate.parent, "cms", *options, text=b"x"))


@pytest.mark.parametrize(
    "data",
    [
        WHOLE,
        message(_VERSION, tlv(0xA0), RECIPIENTS, CONTENT),
        message(_VERSION, RECIPIENTS, CONTENT, tlv(0xA1)),
        message(_VERSION, RECIPIENTS, CONTENT, MAC, oid=_AUTH_OID),
        message(_VERSION, RECIPIENTS, with_parameter(tlv(0x03, b"any bits"))),
        message(_VERSION, RECIPIENTS, CONTENT, tlv(0xA1), MAC, oid=_AUTH_OID),
        message(_VERSION, RECIPIENTS, CONTENT, MAC, tlv(0xA2), oid=_AUTH_OID),
        message(_VERSION, RECIPIENTS, CONTENT, tlv(0xA1), MAC, tlv(0xA2), oid=_AUTH_OID),
        *(message(_VERSION, tlv(0x31, tlv(kind, _VERSION)), CONTENT) for kind in (0xA1, 0xA2, 0xA3, 0xA4)),
        endless(0x30, _OID, endless(0xA0, endless(0x30, _VERSION, RECIPIENTS, CONTENT))),
        message(_VERSION, RECIPIENTS, endless(0x30, _DATA, ALGORITHM, endless(0xA0, MAC, MAC))),
        message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, ALGORITHM, tlv(0xA0, MAC, tlv(0x04)))),
        message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, b"\x30\x03\x06\x01\x2a", b"\x80\x84\0\0\0\x01x")),
    ],
)
def test_each_form_of_the_structure_counts(data: bytes) -> None:
    """Optional fields, every recipient and parameter, both kinds of content and both ways to write lengths."""
    assert cms.is_enveloped(data)


@pytest.mark.parametrize(
    ("fault", "data"),
    [
        ("plain text behind the first octets", WHOLE[:19] + b"the secret text itself, all of it in clear"),
        ("no recipient", message(_VERSION, tlv(0x31), CONTENT)),
        ("a recipient of no kind", message(_VERSION, tlv(0x31, tlv(0xA5, _VERSION)), CONTENT)),
        ("text for a recipient", message(_VERSION, tlv(0x31, tlv(0x04, b"text")), CONTENT)),
        ("no content", message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, ALGORITHM))),
        ("empty content", message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, ALGORITHM, b"\x80\x00"))),
        ("no algorithm", message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, b"\x30\x00", b"\x80\x01x"))),
        ("other pieces", message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, ALGORITHM, tlv(0xA0, b"\x0c\x01x")))),
        ("other data", message(_VERSION, RECIPIENTS, tlv(0x30, _OID, ALGORITHM, b"\x80\x01x"))),
        ("more than the structure", message(_VERSION, RECIPIENTS, CONTENT, tlv(0x04, b"text"))),
        ("no mac", message(_VERSION, RECIPIENTS, CONTENT, oid=_AUTH_OID)),
        ("a mac too many", message(_VERSION, RECIPIENTS, CONTENT, MAC)),
        ("two contents", tlv(0x30, _OID, tlv(0xA0, tlv(0x30, _VERSION, RECIPIENTS, CONTENT), MAC))),
        ("doubled", WHOLE + WHOLE),
        ("no end", endless(0x30, _OID, tlv(0xA0, tlv(0x30, _VERSION, RECIPIENTS, CONTENT)))[:-1]),
        ("an end beyond", tlv(0x30, _OID, b"\xa0\x80" + tlv(0x30, _VERSION, RECIPIENTS, CONTENT)) + b"\0\0"),
        ("a set", b"\x31" + WHOLE[1:]),
        ("another tag around it", tlv(0x30, _OID, tlv(0xA1, tlv(0x30, _VERSION, RECIPIENTS, CONTENT)))),
        ("content in no pieces", message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, ALGORITHM, tlv(0xA0)))),
        ("an empty piece", message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, ALGORITHM, tlv(0xA0, tlv(0x04))))),
        (
            "an element beyond its whole",
            message(_VERSION, RECIPIENTS, tlv(0x30, _DATA, ALGORITHM, b"\x80\x06x"), b"a" * 5),
        ),
        ("tag 0", message(_VERSION, RECIPIENTS, with_parameter(tlv(0x00, b"x")))),
        ("a long tag", message(_VERSION, RECIPIENTS, with_parameter(tlv(0x1F, b"x")))),
        ("no length", message(_VERSION, RECIPIENTS, with_parameter(b"\x04\x80"))),
        ("a length of 5 octets", message(_VERSION, RECIPIENTS, with_parameter(b"\x04\x85\0\0\0\0\x01x"))),
        ("a giant length", b"\x30\x84\xff\xff\xff\xff" + WHOLE),
        ("nothing", b""),
    ],
)
def test_anything_else_does_not(fault: str, data: bytes) -> None:
    """What lacks a part, has one too many, or does not end where it says is not encrypted."""
    assert not cms.is_enveloped(data), fault


@given(st.binary())
def test_random_octets_are_not(data: bytes) -> None:
    """No random octets count, alone or behind the beginning of a true message."""
    assert not cms.is_enveloped(data)
    assert not cms.is_enveloped(WHOLE[:19] + data)
    assert not cms.is_enveloped(b"\x30\x80" + _OID + b"\xa0\x80" + data)


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1))
def test_a_cut_or_longer_message_is_not(end: int, more: bytes) -> None:
    """Every octet counts: none may be missing, none may follow."""
    assert not cms.is_enveloped(WHOLE[:end])
    assert not cms.is_enveloped(WHOLE + more)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\x80" * 1_000_000,
        b"\x30\x80" + b"\x04\x00" * 2_000_000,
        b"\x30\x84\x00\x7f\xff\xff" + b"\x31\x00" * 0x400000,
    ],
)
def test_hostile_structures_cost_little(data: bytes) -> None:
    """Millions of levels or elements are answered at once."""
    start = time.process_time()

    assert not cms.is_enveloped(data)
    assert time.process_time() - start < 10


@pytest.mark.parametrize(("levels", "counts"), [(28, True), (29, False)])
def test_levels_are_limited(levels: int, counts: bool) -> None:
    """The 33rd level, and what is deeper, is not read."""
    parameter = b""
    for _ in range(levels):
        parameter = tlv(0x30, parameter)

    assert cms.is_enveloped(message(_VERSION, RECIPIENTS, with_parameter(parameter))) is counts


@pytest.mark.parametrize(("most", "counts"), [(14, True), (13, False)])
def test_elements_are_limited(monkeypatch: pytest.MonkeyPatch, most: int, counts: bool) -> None:
    """More elements than the limit are not read."""
    monkeypatch.setattr(ber, "_MAX_ELEMENTS", most)

    assert cms.is_enveloped(WHOLE) is counts
