"""
What is encrypted under a passphrase, so that gpg alone opens it again: OpenPGP, AES-256 (RFC 4880 section 5.7).
"""

from pathlib import Path

from gatepost.crypto.gnupg_home import UNLOCKED, Home
from gatepost.errors import WorkerError

# The slowest derivation that RFC 4880 section 3.7.1.3 knows: whoever guesses pays for each guess.
_DERIVATION = ("--s2k-mode", "3", "--s2k-digest-algo", "SHA512", "--s2k-count", "65011712")
_PROMPTLESS = UNLOCKED[:2]


def encrypt(data: bytes, passphrase: str, program: str = "gpg") -> bytes:
    """Encrypt under a passphrase, as `gpg --decrypt` reads it; raises WorkerError."""
    home = Home(program)
    try:
        phrase = Path(home.path, "phrase")  # the home is in memory, and ours alone
        phrase.write_text(passphrase, encoding="utf-8")
        done = home.run(
            *("--symmetric", "--cipher-algo", "AES256", *_DERIVATION, *_PROMPTLESS),
            *("--passphrase-file", str(phrase)),
            data=data,
        )
    finally:
        home.close()
    if not done:
        raise WorkerError("gpg did not encrypt; does `gpg --symmetric` work on this host?")
    return done
