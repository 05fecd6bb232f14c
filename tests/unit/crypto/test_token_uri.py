"""URIs of keys on tokens (RFC 7512): what is read, what is refused, and that writing gives back what was read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.crypto.token_uri import TokenUri
from gatepost.errors import CryptoError

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pkcs11:token=gw;object=smime", TokenUri("gw", object="smime")),
        ("pkcs11:id=%01%FF;token=My%20token", TokenUri("My token", id=b"\x01\xff")),
        ("pkcs11:token=gw;serial=12ab;object=a;id=%00;type=private", TokenUri("gw", "12ab", "a", b"\0")),
        ("pkcs11:token=%C3%A4;object=%3B", TokenUri("ä", object=";")),
    ],
)
def test_what_is_read(text: str, found: TokenUri) -> None:
    """Token, serial, object and id are read, octets by percent-encoding."""
    assert TokenUri.parse(text) == found
    assert TokenUri.parse(str(found)) == found


@given(WORDS, st.just("") | WORDS, st.just("") | WORDS, st.binary(max_size=20))
def test_written_is_read(token: str, serial: str, label: str, octets: bytes) -> None:
    """What is written is read back, whatever stands in it."""
    place = TokenUri(token, serial, label, octets)
    if label or octets:
        assert TokenUri.parse(str(place)) == place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("token=gw;object=a", "names no key"),
        ("pkcs11:token=gw", "must name the token and the key"),
        ("pkcs11:object=a", "must name the token and the key"),
        ("pkcs11:token=gw;object=a;object=b", "twice"),
        ("pkcs11:token=gw;colour=red", "colour"),
        ("pkcs11:token=gw;object=a?pin-value=1234", "come from the site"),
        ("pkcs11:token=gw;object=a;type=cert", "another object"),
        ("pkcs11:token=gw;object=%FF", "UTF-8"),
        ("pkcs11:token=gw;;object=a", "not understood"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    """What is unclear, or would hold a PIN, is refused with the reason; a PIN is not repeated."""
    with pytest.raises(CryptoError, match=said) as refusal:
        TokenUri.parse(text)
    assert "1234" not in str(refusal.value)
