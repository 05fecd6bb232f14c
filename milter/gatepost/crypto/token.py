"""
Private keys on tokens (HSM, card, SoftHSM) through PKCS #11, by python-pkcs11.

Rules:
  * A token's fault is never told as a message's: where the token cannot be reached, or a key is gone, the error is
    WorkerError, which is temporary, and the next operation opens the token anew.
  * Many tokens tell wrong padding as a general error. So after each decryption, good or bad, the same key decrypts
    something of ours: only if that succeeds was the input wrong. Both take the same steps.
  * Whether a public point is on its curve is seen here, before the token is asked.
  * Sessions are not thread-safe: one operation at a time.
  * A PIN that was refused is not tried again, before it locks the token.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import KDF, MGF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.types import DecryptMixin, DeriveMixin, Key, SignMixin

from gatepost.crypto import der, private_key
from gatepost.crypto.private_key import HASHES, Oaep, Scheme, Signing, belongs, hide
from gatepost.crypto.token_uri import TokenUri
from gatepost.crypto.x509 import Parsed, parsed
from gatepost.errors import CryptoError, WorkerError
from gatepost.log import logger

Ability = TypeVar("Ability", DecryptMixin, DeriveMixin, SignMixin)

_TRIAL = b"the token answers"
_PIN_FAULTS = (
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinExpired,
    pkcs11.PinLocked,
    pkcs11.UserPinNotInitialized,
)
_UNABLE = (
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.FunctionNotSupported,
    pkcs11.KeySizeRange,
)
_AWAY = (  # no octets of a message make a token say this
    pkcs11.DeviceMemory,
    pkcs11.DeviceRemoved,
    pkcs11.HostMemory,
    pkcs11.KeyHandleInvalid,
    pkcs11.OperationActive,
    pkcs11.SessionClosed,
    pkcs11.SessionHandleInvalid,
    pkcs11.TokenNotPresent,
    pkcs11.UserNotLoggedIn,
)
_MASKS = {digest: MGF[digest.upper()] for digest in HASHES}
_DIGESTS = {digest: Mechanism["SHA_1" if digest == "sha1" else digest.upper()] for digest in HASHES}
_PKCS1 = {digest: Mechanism[f"{digest.upper()}_RSA_PKCS"] for digest in HASHES}
_PSS = {digest: Mechanism[f"{digest.upper()}_RSA_PKCS_PSS"] for digest in HASHES}


class Tokens:
    """The tokens behind one PKCS #11 module. Thread-safe; opened at the first operation, so after any fork."""

    def __init__(self, module: str, pin: Callable[[], str]) -> None:
        """Take the module's file (a shared library), and who tells the PIN of the tokens' user."""
        self._module = module
        self._pin = pin
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, str], pkcs11.Session] = {}
        self._refused = False

    def load(self, private: bytes) -> tuple[Parsed, private_key.PrivateKey]:
        """Implement Load: for keys on a token, and for those in this process."""
        certificate, _, place = private_key.parts(private)
        if not place:
            return private_key.load(private)
        own = parsed(certificate)
        return own, TokenKey(self, TokenUri.parse(place), own)

    def read_private(self, certificate: bytes, uri: str) -> bytes:
        """
        Give what is kept of a private key on a token; the certificate is in DER.

        Raises CryptoError where it is not the certificate's, and WorkerError where the token cannot be used.
        """
        own, place = parsed(certificate), TokenUri.parse(uri)
        name = f"certificate {own.certificate.fingerprint}"
        if fault := own.fault or (own.encryption_fault and own.signature_fault):
            raise CryptoError(f"{name}: {fault}")
        if not isinstance(own.key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) and own.signature_fault:
            raise CryptoError(f"{name}: X25519 keys are not used on tokens")
        try:
            if not belongs(own, TokenKey(self, place, own)):
                raise CryptoError(f"{name}: the key {place} is another's")
        except ValueError:
            raise CryptoError(
                f"{name}: the key {place} is another's, or may not do what the certificate is for"
            ) from None
        return certificate + der.element(private_key.PLACE, str(place).encode())

    def labels(self) -> tuple[str, ...]:
        """Load the module, and name the tokens that are there; raises WorkerError."""
        with self._lock:
            try:
                return tuple(token.label for token in pkcs11.lib(self._module).get_tokens())
            except pkcs11.PKCS11Error as error:
                self._forget()
                raise WorkerError(f"its tokens cannot be listed: {_said(error)}") from None

    def check(self, uri: str) -> None:
        """Find one key, logging in; raises WorkerError, CryptoError."""
        self.run(TokenUri.parse(uri), lambda _: b"")

    def run(self, place: TokenUri, operation: Callable[[Key], bytes]) -> bytes:
        """
        Carry out one operation with a key.

        Raises WorkerError for whatever the token does not do; what else the operation raises goes through.
        """
        with self._lock:
            try:
                key = self._key(place)
            except pkcs11.PKCS11Error:
                self._forget()  # a session may have ended, or the token be back
                try:
                    key = self._key(place)
                except pkcs11.PKCS11Error as error:
                    self._forget()
                    raise WorkerError(f"the key {place} cannot be reached: {_said(error)}") from None
            try:
                return operation(key)
            except pkcs11.PKCS11Error as error:
                self._forget()
                raise WorkerError(f"the token of the key {place} failed: {_said(error)}") from None

    def close(self) -> None:
        """Log out, and let the module go."""
        with self._lock:
            self._forget()

    def _key(self, place: TokenUri) -> Key:
        session = self._session(place)
        label, octets = place.object or None, place.id or None
        return session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label, id=octets)

    def _session(self, place: TokenUri) -> pkcs11.Session:
        name = place.token, place.serial
        if name in self._sessions:
            return self._sessions[name]
        if self._refused:
            raise WorkerError(
                "the token refused the PIN; put the right one into the secret pkcs11-pin and restart"
            )
        serial = place.serial.encode() or None
        token = pkcs11.lib(self._module).get_token(token_label=place.token, token_serial=serial)
        try:
            session = token.open(user_pin=self._pin())
        except pkcs11.UserAlreadyLoggedIn:  # by another session of this process: that counts for all
            session = token.open()
        except _PIN_FAULTS:
            self._refused = True
            raise
        self._sessions[name] = session
        return session

    def _forget(self) -> None:
        """End everything: whatever was open is gone with the module's state."""
        self._sessions.clear()
        with suppress(pkcs11.PKCS11Error):
            pkcs11.lib(self._module).finalize()


class TokenKey:
    """Implements PrivateKey with a key on a token."""

    def __init__(self, tokens: Tokens, place: TokenUri, own: Parsed) -> None:
        """Take the tokens, the key's place, and its certificate."""
        self._tokens = tokens
        self._place = place
        self._own = own
        self.abilities = private_key.abilities(own)

    def decrypt(self, hidden: bytes, oaep: Oaep | None) -> bytes:
        """Decrypt by RSA."""
        public = self._own.key
        if not self.abilities.decrypt or not isinstance(public, rsa.RSAPublicKey):
            raise ValueError("this key does not decrypt")
        if len(hidden) != (public.key_size + 7) // 8 or int.from_bytes(hidden, "big") >= public.public_numbers().n:
            raise ValueError("the octets are no ciphertext of this key")
        trial = hide(public, _TRIAL, oaep)
        return self._tokens.run(
            self._place, lambda key: _decrypted(_able(key, DecryptMixin), hidden, trial, oaep, self._place)
        )

    def exchange(self, public: bytes) -> bytes:
        """Agree on a secret."""
        own = self._own.key
        if not self.abilities.exchange or not isinstance(own, ec.EllipticCurvePublicKey):
            raise ValueError("this key does not agree on secrets")
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(own.curve, public)
        point = theirs.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        octets = (own.key_size + 7) // 8

        def derive(key: Key) -> bytes:
            secret = _able(key, DeriveMixin).derive_key(
                KeyType.GENERIC_SECRET,
                octets * 8,
                mechanism=Mechanism.ECDH1_DERIVE,
                mechanism_param=(KDF.NULL, None, point),
                template={Attribute.TOKEN: False, Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
            )
            try:
                return bytes(secret[Attribute.VALUE])
            finally:
                secret.destroy()

        return self._tokens.run(self._place, derive)

    def sign(self, data: bytes, how: Signing) -> bytes:
        """Sign data."""
        if how.scheme not in self.abilities.schemes:
            raise ValueError(f"this key does not sign by {how.scheme}")
        return self._tokens.run(self._place, lambda key: _signed(_able(key, SignMixin), data, how))


def _decrypted(key: DecryptMixin, hidden: bytes, trial: bytes, oaep: Oaep | None, place: TokenUri) -> bytes:
    """Decrypt, and a trial of ours after it; raises ValueError where only the trial succeeds."""
    mechanism, parameters = Mechanism.RSA_PKCS, None
    unable: tuple[type[pkcs11.PKCS11Error], ...] = _UNABLE
    if oaep is not None:
        mechanism, unable = Mechanism.RSA_PKCS_OAEP, (*_UNABLE, pkcs11.ArgumentsBad)  # so says SoftHSM
        parameters = (_DIGESTS[oaep.digest], _MASKS[oaep.mask], oaep.label or None)
    try:
        found = key.decrypt(hidden, mechanism=mechanism, mechanism_param=parameters)
    except _AWAY:
        raise
    except pkcs11.PKCS11Error:  # by which a token may tell wrong padding
        found = None
    try:
        ours = key.decrypt(trial, mechanism=mechanism, mechanism_param=parameters)
    except unable as error:
        how = str(oaep or "PKCS #1 v1.5")
        logger.warning("a token cannot decrypt this way", key=str(place), how=how, cause=_said(error))
        raise ValueError("the token does not decrypt this way") from None
    if ours != _TRIAL:
        raise WorkerError(f"the key {place} is not the certificate's any more")
    if not isinstance(found, bytes):
        raise ValueError("the octets are no ciphertext of this key")  # noqa: TRY004 - as for any other
    return found


def _signed(key: SignMixin, data: bytes, how: Signing) -> bytes:
    digest = how.digest
    match how.scheme:
        case Scheme.PKCS1:
            return bytes(key.sign(data, mechanism=_PKCS1[digest]))
        case Scheme.PSS:
            salted = (_DIGESTS[digest], _MASKS[digest], hashlib.new(digest).digest_size)
            return bytes(key.sign(data, mechanism=_PSS[digest], mechanism_param=salted))
        case Scheme.ECDSA:
            pair = bytes(key.sign(hashlib.new(digest, data).digest(), mechanism=Mechanism.ECDSA))
            half = len(pair) // 2
            r, s = (int.from_bytes(one, "big") for one in (pair[:half], pair[half:]))
            return utils.encode_dss_signature(r, s)
        case Scheme.ED25519:
            return bytes(key.sign(data, mechanism=Mechanism.EDDSA))


def _able(key: Key, ability: type[Ability]) -> Ability:
    """Give a key whose attributes allow an operation; raises WorkerError: that is a fault of the site."""
    if not isinstance(key, ability):
        operation = ability.__name__.removesuffix("Mixin").lower()
        raise WorkerError(
            f"the token does not let the key do this: {operation}; set the attribute CKA_{operation.upper()}"
        )
    return key


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
