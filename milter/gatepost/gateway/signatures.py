"""
Signatures of incoming mail: whether they are good, and whether they are the author's.

Rules:
  * `pass` needs all of it: every signature is good; each signer's certificate names the one address in the one
    From field; and it is pinned in the key table under that address or its domain, or authorities vouch for it.
  * Only a certificate that is pinned under the author's domain needs not name the author (RFC 3183).
  * A Sender field counts for nothing.
  * What a good signature's maker says to be able to read is kept with the key: answers are encrypted so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gatepost.crypto import guard, signed_data
from gatepost.crypto.certificate import Reader
from gatepost.crypto.certification import Certification
from gatepost.crypto.openpgp import Verification
from gatepost.crypto.signature import SignatureError, Signer
from gatepost.crypto.signed_mail import SignedMail
from gatepost.crypto.signing_certificate import signing_certificate
from gatepost.directory.key import Announced, Key, Keys, Trust
from gatepost.errors import AddressError, CryptoError
from gatepost.gateway.result import Signature
from gatepost.message import address

_OTHER = "the signer's key is not the author's"
_NO_AUTHOR = "the message has no author that can be told for certain"


class Detached(Protocol):
    """Verifies detached OpenPGP signatures. Thread-safe; raises SignatureError, WorkerError."""

    def verify(
        self, signed: bytes, signature: bytes, certificates: Sequence[bytes], on_wait: Callable[[], None]
    ) -> tuple[Signer, ...]:
        """Verify a signature with these certificates; gives who made it. Calls `on_wait` every few seconds."""


@dataclass(frozen=True, slots=True)
class Verified:
    """
    A signed entity whose signatures were looked at: who made them, or the `fault` of one.

    `content` is the entity that was signed, None where it cannot be told.
    """

    method: str
    content: bytes | None
    opaque: bool
    signers: tuple[Signer, ...] = ()
    fault: str = ""


class Signatures:
    """Verifies signatures, and judges whose they are. Thread-safe."""

    def __init__(
        self,
        *,
        keys: Keys,
        announced: Announced,
        reader: Reader,
        certification: Certification,
        openpgp: Detached,
    ) -> None:
        self._keys = keys
        self._announced = announced
        self._reader = reader
        self._certification = certification
        self._openpgp = openpgp

    def verify(self, mail: SignedMail, author: str, on_wait: Callable[[], None]) -> Verified:
        """Verify every signature of a signed entity; raises WorkerError where that cannot be done now."""
        opaque = mail.content is None
        content = mail.content
        try:
            if mail.method == "pgp":
                known = [key.certificate for key in self._pinned(author, "openpgp")]
                return Verified(
                    "pgp",
                    content,
                    opaque,
                    self._openpgp.verify(content or b"", mail.signature, known, on_wait),
                )
            signed = signed_data.read(mail.signature)
            if content is None and signed.content is not None:
                content = b"".join(signed.content)
            outside = None if mail.content is None else (mail.content,)
            known = [key.certificate for key in self._pinned(author, "smime")]
            return Verified("smime", content, opaque, signed_data.verify(signed, outside, known))
        except SignatureError as error:
            return Verified(mail.method, content, opaque, fault=str(error))

    def judge(self, verified: Verified, author: str) -> Signature:
        """Tell whose the signatures are; asks authorities about a certificate that is not pinned."""
        part = "1" if verified.opaque else "2"
        if verified.fault:
            return Signature("fail", verified.method, reason=verified.fault, part=part)
        kind = "smime" if verified.method == "smime" else "openpgp"
        judge = self._of_certificate if kind == "smime" else self._of_key
        pinned = self._pinned(author, kind)
        judged = [judge(one, pinned, author) for one in verified.signers]
        for signer, one in zip(verified.signers, judged, strict=True):
            if one.good and signer.capabilities:
                self._announced.note(signer.fingerprint, signer.capabilities)
        found = next((one for one in judged if not one.good), judged[0])
        return replace(found, part=part)

    def of_opened(self, found: Verification, author: str) -> Signature:
        """Judge the signature that an OpenPGP message brought inside, as the key worker found it."""
        if found.status == "none":
            return Signature()
        if found.status != "pass":
            return Signature("fail", reason="the signature is wrong, or by a key that is not the author's")
        return self._of_key(Signer(found.fingerprint), self._pinned(author, "openpgp"), author)

    def _of_key(self, signer: Signer, pinned: Sequence[Key], author: str) -> Signature:
        row = self._row(signer, pinned, author)
        if row is None:
            return Signature("fail", reason=_OTHER if author else _NO_AUTHOR)
        return Signature("pass", by=author, key=signer.fingerprint, trust=row.trust.name.lower())

    def _of_certificate(self, signer: Signer, pinned: Sequence[Key], author: str) -> Signature:
        if not author:
            return Signature("fail", "smime", reason=_NO_AUTHOR)
        certificate = signing_certificate(signer.certificate)
        if refusal := certificate.refusal():
            return Signature("fail", "smime", reason=refusal)
        row = self._row(signer, [one for one in pinned if one.trust is not Trust.CA], author)
        named = guard.normal_address(author) in certificate.addresses
        if row is not None:
            trust = row.trust.name.lower()
        elif not named:
            return Signature("fail", "smime", reason="the signer's certificate does not name the author")
        else:
            certified = self._certification.judge(signer.certificate, signer.beside)
            if certified.refusal:
                return Signature("fail", "smime", reason=certified.refusal, temporary=certified.temporary)
            trust = "ca"
        return Signature(
            "pass",
            "smime",
            by=author,
            key=signer.fingerprint,
            trust=trust,
            identifier=author if named else "",
            serial=certificate.serial,
            issuer=certificate.issuer,
        )

    def _row(self, signer: Signer, pinned: Sequence[Key], author: str) -> Key | None:
        """Find the row that pins a signer's key: under the author's domain, or under an address that it names."""
        rows = [one for one in pinned if one.fingerprint == signer.fingerprint]
        return next((one for one in rows if "@" not in one.owner or self._names(one, author)), None)

    def _names(self, key: Key, author: str) -> bool:
        try:
            return any(guard.bound_to(one, author) for one in self._reader.read(key.certificate))
        except (CryptoError, AddressError):
            return False

    def _pinned(self, author: str, kind: str) -> tuple[Key, ...]:
        """Give the keys under the author's address or domain; none where that cannot be told."""
        try:
            found = address.parse(author.encode())
        except (AddressError, UnicodeEncodeError):
            return ()
        return self._keys.find(found, kind) if found.domain else ()
