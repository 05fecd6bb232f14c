"""Keys of contents, taken out of what another implementation wrote."""

from io import BytesIO
from pathlib import Path

import pytest

from gatepost.crypto.opened_envelope import SmimeDecryptor

X25519 = Path(__file__).parents[2] / "golden" / "x25519"


@pytest.mark.parametrize("file", sorted(X25519.glob("*.p7m")), ids=lambda file: file.stem)
def test_x25519_by_bouncy_castle(file: Path) -> None:
    """What Bouncy Castle writes to an X25519 key opens: HKDF and X9.63, with user keying material and without."""
    private = (X25519 / "certificate.der").read_bytes() + (X25519 / "key.der").read_bytes()
    target = BytesIO()

    done = SmimeDecryptor().decrypt(BytesIO(file.read_bytes()), target, private, [], most=1 << 16)

    assert target.getvalue() == (X25519 / "plain").read_bytes()
    assert done.intact
