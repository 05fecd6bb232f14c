"""
Whether an authority has revoked a certificate of a chain: OCSP is asked first, then revocation lists.

Every link is judged but the root, which nobody but the site's admin can revoke. A link is good as soon as one of
the places that it names says so; revoked as soon as one says that.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice, pairwise
from time import monotonic
from typing import Protocol, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from gatepost.crypto import ocsp_answer, revocation_list
from gatepost.crypto.chain import name_of
from gatepost.crypto.ocsp_answer import OcspAnswer
from gatepost.crypto.revocation_list import RevocationList
from gatepost.errors import GatepostError

Value = TypeVar("Value")

_MOST_PLACES = 4  # that are asked about one certificate


class Statements(Protocol):
    """Fetches what authorities state, and keeps it until it ends. Thread-safe."""

    def get(
        self,
        url: str,
        read: Callable[[bytes], tuple[Value, datetime]],
        *,
        posted: bytes = b"",
        mark: bytes = b"",
        most: int,
        seconds: float,
    ) -> Value:
        """
        Give what `read` makes of the answer, of at most `most` octets, waiting `seconds` at most.

        `read` gives a value and when it ends, or raises GatepostError; `mark` names all that it depends on beside
        the answer. Raises GatepostError.
        """


@dataclass(frozen=True, slots=True)
class Standing:
    """
    How a chain stands with its authorities.

    `revoked` tells which link was revoked; `unknown` of which link nothing could be learned. Empty: none.
    """

    revoked: str = ""
    unknown: str = ""
    unasked: str = ""  # a link that names no place to ask


class Revocation:
    """Asks the authorities of chains. Thread-safe."""

    def __init__(
        self, statements: Statements, seconds: float, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Take the seconds that one chain may take in all."""
        self._statements = statements
        self._seconds = seconds
        self._clock = clock

    def judge(self, links: Sequence[x509.Certificate]) -> Standing:
        """Tell how the links of a chain, the root last, stand now."""
        ends = monotonic() + self._seconds
        judged = []
        for number, (certificate, authority) in enumerate(pairwise(links), 1):
            left = ends - monotonic()
            judged.append(self._judge(certificate, authority, left / (len(links) - number)))
        return Standing(
            revoked=next((one.revoked for one in judged if one.revoked), ""),
            unknown=next((one.unknown for one in judged if one.unknown), ""),
            unasked=next((one.unasked for one in judged if one.unasked), ""),
        )

    def _judge(self, certificate: x509.Certificate, authority: x509.Certificate, seconds: float) -> Standing:
        """Tell how one certificate stands with its authority; each place gets its share of the time."""
        ends = monotonic() + seconds
        whose = f"the certificate {name_of(certificate)}"
        places = list(islice(self._places(certificate, authority), _MOST_PLACES))
        faults = []
        for tried, ask in enumerate(places):
            try:
                revoked = ask((ends - monotonic()) / (len(places) - tried))
            except GatepostError as error:
                faults.append(str(error))
                continue
            return Standing(revoked=f"{whose} was {revoked}" if revoked else "")
        if not places:
            return Standing(unasked=f"{whose} does not tell where to ask whether it is revoked")
        return Standing(unknown=f"whether {whose} is revoked is not known: {'; '.join(faults)}")

    def _places(
        self, certificate: x509.Certificate, authority: x509.Certificate
    ) -> Iterator[Callable[[float], str]]:
        """Give what asks each place that a certificate names, within some seconds."""
        for url in ocsp_answer.responders_of(certificate):
            yield partial(self._ask_responder, url, certificate, authority)
        for url in revocation_list.lists_of(certificate):
            yield partial(self._ask_list, url, certificate, authority)

    def _ask_responder(
        self, url: str, certificate: x509.Certificate, authority: x509.Certificate, seconds: float
    ) -> str:
        def read(data: bytes) -> tuple[OcspAnswer, datetime]:
            answer = ocsp_answer.read_answer(data, certificate, authority, self._clock())
            return answer, answer.ends

        posted = ocsp_answer.question(certificate, authority)
        mark = _mark(authority)
        return self._statements.get(
            url, read, posted=posted, mark=mark, most=ocsp_answer.MOST, seconds=seconds
        ).revoked

    def _ask_list(
        self, url: str, certificate: x509.Certificate, authority: x509.Certificate, seconds: float
    ) -> str:
        def read(data: bytes) -> tuple[RevocationList, datetime]:
            found = revocation_list.read_list(data, authority, self._clock())
            return found, found.ends

        found = self._statements.get(url, read, mark=_mark(authority), most=revocation_list.MOST, seconds=seconds)
        return found.revoked(certificate)


def _mark(authority: x509.Certificate) -> bytes:
    return authority.fingerprint(hashes.SHA256())
