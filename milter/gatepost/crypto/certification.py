"""
Certification: whether authorities vouch for a certificate, as a port.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Certified:
    """
    What authorities say of a certificate.

    `refusal` is empty where a trusted root vouches for it now; `root` names that root.
    """

    refusal: str
    root: str = ""
    temporary: bool = False  # could not be asked now


class Certification(Protocol):
    """
    Tells whether authorities vouch for a certificate.

    Thread-safe; never raises for what a certificate or network says.
    """

    def judge(
        self, certificate: bytes, beside: Sequence[bytes] = (), *, moment: datetime | None = None
    ) -> Certified:
        """Judge a certificate in DER by those `beside` it and the roots, at a moment or now."""


class NoAuthorities:
    """Vouches for no certificate."""

    def judge(
        self,
        certificate: bytes,  # noqa: ARG002 - the port's
        beside: Sequence[bytes] = (),  # noqa: ARG002 - the port's
        *,
        moment: datetime | None = None,  # noqa: ARG002 - the port's
    ) -> Certified:
        """Refuse it."""
        return Certified("no authority is trusted here")
