"""
Signatures as read from mail: the values that both kinds give, S/MIME and OpenPGP.
"""

from dataclasses import dataclass

from gatepost.errors import CryptoError


class SignatureError(CryptoError):
    """
    A signature is not good.

    The text says why, in plain words of ours: nothing of what the message says is in it, so it may be shown.
    """


@dataclass(frozen=True, slots=True)
class Signer:
    """
    Who made a good signature: the fingerprint in upper-case hexadecimal, and of S/MIME the certificate in DER.

    `beside` are the other certificates that came with the message; `capabilities` the value of the signed
    attribute smimeCapabilities (RFC 8551 section 2.5.2) in DER, empty where there is none.
    """

    fingerprint: str
    certificate: bytes = b""
    beside: tuple[bytes, ...] = ()
    capabilities: bytes = b""
