"""
Whether authorities vouch for a certificate: a chain to a root that the site trusts, of which nothing is revoked.

What an authority that cannot be asked means is the site's choice: `hard` refuses until it can be, `soft` passes it
over with a line in the log.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from gatepost.crypto.chain import Chains, name_of
from gatepost.crypto.revocation import Revocation
from gatepost.log import logger

_KEPT = 300.0  # seconds for which an answer is given again
_KEPT_UNKNOWN = 30.0  # the same where an authority could not be asked
_MOST_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Certified:
    """
    What authorities say of a certificate.

    `refusal` is empty where a trusted root vouches for it now; `root` names that root; `temporary` tells that an
    authority could not be asked now.
    """

    refusal: str
    root: str = ""
    temporary: bool = False


class Certification(Protocol):
    """Tells whether authorities vouch for a certificate. Thread-safe; never raises for what any of them says."""

    def judge(
        self, certificate: bytes, beside: Sequence[bytes] = (), *, moment: datetime | None = None
    ) -> Certified:
        """
        Judge a certificate, in DER, with those that came beside it.

        At `moment`, none: now, it must be valid. Whether it is revoked is always judged by what is said now.
        """


class NoAuthorities:
    """The port `Certification` of a site that trusts no root: nobody vouches for anything."""

    def judge(
        self, certificate: bytes, beside: Sequence[bytes] = (), *, moment: datetime | None = None
    ) -> Certified:
        """Refuse it."""
        del certificate, beside, moment
        return Certified("no root is trusted here: [smime] roots names none")


NO_AUTHORITIES = NoAuthorities()


class CertifiedByRoots:
    """The port `Certification` over chains; what was judged for now is remembered for some minutes."""

    def __init__(
        self,
        chains: Chains,
        revocation: Revocation | None,
        *,
        hard: bool,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what builds chains and what asks authorities, none: nobody is asked."""
        self._chains = chains
        self._revocation = revocation
        self._hard = hard
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, tuple[float, Certified]] = OrderedDict()  # until when

    def judge(
        self, certificate: bytes, beside: Sequence[bytes] = (), *, moment: datetime | None = None
    ) -> Certified:
        """Judge a certificate; see `Certification`."""
        if moment is not None:
            return self._judge(certificate, beside, moment)[0]
        name = b"".join(hashlib.sha256(one).digest() for one in (certificate, *beside))
        with self._lock:
            until, known = self._kept.get(name, (0.0, None))
        if known is not None and self._monotonic() < until:
            return known
        judged, seconds = self._judge(certificate, beside, self._clock())
        with self._lock:
            self._kept.pop(name, None)
            self._kept[name] = (self._monotonic() + seconds, judged)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return judged

    def _judge(self, certificate: bytes, beside: Sequence[bytes], moment: datetime) -> tuple[Certified, float]:
        """Give what is said, and for how long it may be said again."""
        chain = self._chains.build(certificate, beside, moment)
        if chain.refusal:
            return Certified(chain.refusal), _KEPT
        root = name_of(chain.links[-1])
        if self._revocation is None:
            return Certified("", root), _KEPT
        standing = self._revocation.judge(chain.links)
        if standing.revoked:
            return Certified(standing.revoked, root), _KEPT
        if self._hard and standing.unknown:
            return Certified(standing.unknown, root, temporary=True), _KEPT_UNKNOWN
        if self._hard and standing.unasked:
            return Certified(standing.unasked, root), _KEPT
        if standing.unknown:
            logger.warning("an authority could not be asked and was passed over", cause=standing.unknown)
        return Certified("", root), _KEPT_UNKNOWN if standing.unknown else _KEPT
