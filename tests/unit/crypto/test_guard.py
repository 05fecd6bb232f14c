"""The guard, by table: what may be encrypted to, and for whom."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gatepost.crypto import guard
from gatepost.crypto.certificate import Certificate
from gatepost.crypto.guard import Component
from gatepost.errors import CryptoError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(days=1), NOW + timedelta(days=1)
PRIMARY = Component("AA", "EdDSA", 0, datetime(2020, 1, 1, tzinfo=UTC), None, revoked=False, encrypts=False)
SUBKEY = replace(PRIMARY, fingerprint="BB", algorithm="ECDH", encrypts=True)


@pytest.mark.parametrize(
    ("primary", "subkeys", "words"),
    [
        ({}, [{}], ""),
        ({"expires": FUTURE}, [{"expires": FUTURE}], ""),
        ({"expires": PAST}, [{}], "expired on 2026-05-31"),
        ({"expires": NOW}, [{}], "expired"),
        ({"revoked": True}, [{}], "revoked"),
        ({"created": FUTURE}, [{}], "not valid before"),
        ({"created": NOW}, [{"created": NOW}], ""),
        ({"algorithm": "DSA", "bits": 3072}, [{}], "too weak"),
        ({"algorithm": "RSA", "bits": 2047}, [{}], "too weak"),
        ({"algorithm": "RSA", "bits": 2048}, [{}], ""),
        ({}, [], "no subkey"),
        ({}, [{"encrypts": False}], "no subkey"),
        ({"encrypts": True}, [], ""),
        ({}, [{"expires": PAST}], "encryption subkey expired"),
        ({}, [{"revoked": True}], "encryption subkey revoked"),
        ({}, [{"algorithm": "ElGamal", "bits": 4096}], "encryption subkey too weak"),
        ({}, [{"expires": PAST}, {}], ""),
        ({}, [{"revoked": True}, {}], ""),
        ({}, [{}, {"algorithm": "RSA", "bits": 1024}], "encryption subkey too weak"),
        ({}, [{}, {"algorithm": "RSA", "bits": 1024, "expires": PAST}], ""),
    ],
)
def test_what_must_not_be_encrypted_to(
    primary: dict[str, object], subkeys: list[dict[str, object]], words: str
) -> None:
    """A sound primary key and a valid, strong encryption subkey are needed; a weak valid one spoils the rest."""
    found = guard.refusal(
        replace(PRIMARY, **primary),  # type: ignore[arg-type]
        [replace(SUBKEY, **one) for one in subkeys],  # type: ignore[arg-type]
        NOW,
    )

    assert found.startswith(words) if words else found == ""


@pytest.mark.parametrize(
    ("user_id", "address"),
    [
        ("Anna <Anna@Hosp.TEST>", "anna@hosp.test"),
        ("anna@hosp.test", "anna@hosp.test"),
        ("<anna@b\u00fccher.test>", "anna@xn--bcher-kva.test"),
        ("Anna", ""),
        ("Anna <anna>", ""),
        ("<eve@evil.test> <anna@hosp.test>", "anna@hosp.test"),
        ("anna@hosp.test <eve@evil.test>", "eve@evil.test"),
        ("Anna <anna@hosp.test> more", ""),
        ("a b@hosp.test", ""),
        ("Anna <@hosp.test>", ""),
        ("Anna <anna@>", ""),
        ("", ""),
    ],
)
def test_one_address_is_read_from_a_user_id(user_id: str, address: str) -> None:
    """The address is what stands in the last angle brackets, or the whole; anything else names nobody."""
    assert guard.address_in(user_id) == address


@pytest.mark.parametrize(
    ("owner", "bound"),
    [
        ("anna@hosp.test", True),
        ("ANNA@Hosp.Test", True),
        ("hosp.test", True),
        ("other.test", True),
        ("eve@hosp.test", False),
        ("anna@other.test", False),
    ],
)
def test_a_certificate_is_bound_by_its_user_ids(owner: str, bound: bool) -> None:
    """An address must be named by the certificate itself; a domain is vouched for by whoever puts it there."""
    certificate = Certificate("AA", ("Anna <anna@hosp.test>",), ("anna@hosp.test",), b"", PAST, None, "")

    assert guard.bound_to(certificate, owner) is bound


def test_usable_until_the_last_subkey_or_the_primary_ends() -> None:
    """The earlier counts of the primary key's end and the last used subkey's end."""
    late = FUTURE + timedelta(days=9)
    ends = [replace(SUBKEY, expires=FUTURE), replace(SUBKEY, expires=late), replace(SUBKEY, encrypts=False)]

    assert guard.usable_until(PRIMARY, ends) == late
    assert guard.usable_until(replace(PRIMARY, expires=FUTURE), ends) == FUTURE
    assert guard.usable_until(PRIMARY, [SUBKEY, *ends]) is None


def test_large_input_is_refused() -> None:
    """More octets than any honest sender needs are an error that tells how many are read."""
    guard.check_size(b"1234", 4, "the file")
    with pytest.raises(CryptoError, match="the file has 5 octets; more than 4"):
        guard.check_size(b"12345", 4, "the file")


@pytest.mark.parametrize(("limit", "mebibytes"), [(guard.MAX_CERTIFICATE, 0.25), (guard.MAX_KEYRING, 16)])
def test_what_is_larger_than_any_honest_certificate_is_refused(limit: int, mebibytes: float) -> None:
    """A certificate has 256 KiB at most, a file of many 16 MiB: nothing larger is given to an engine."""
    octets = int(mebibytes * 1024 * 1024)

    guard.check_size(bytes(octets), limit, "it")
    with pytest.raises(CryptoError):
        guard.check_size(bytes(octets + 1), limit, "it")
