"""
The key worker: the one process that uses private keys, asked over a UNIX socket.

Rules:
  * Each key opens mail for its own address or its own domain only; the recipient is asked with every message, and
    the worker looks the keys up itself.
  * A key signs for its own address or its own domain only: From and envelope sender are asked with every message.
  * Who may ask what is decided by the caller's user (SO_PEERCRED), never by what the caller says.
  * OpenPGP or CMS: which one a message is shows in its first octet.
  * What cannot be decrypted gets one answer, whatever the reason: nobody learns from the difference. Where a key
    could not be asked at all (a token is gone, or its private half is sealed to another secret), and no other
    opens the message, that is an error, for a later try.
  * Private halves are unsealed for one operation; nothing of a message is kept or logged.

Requests are frames (`workers.frames`); the head's `op` is `ping`, `open` (files: the encrypted message, and an
empty one for what comes of it), `sign` (files: the entity), `release` (payload: a held copy's wrapped data key) or
`prove` (payload: statements of stamps with their codes).
"""

import os
import socket
import socketserver
import stat
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from uuid import UUID

from gatepost.crypto import pgpmime
from gatepost.crypto.halves import Unsealer
from gatepost.crypto.openpgp import Decryptor, private_context
from gatepost.crypto.own_signature import MAX_SIGNED, SignatureMaker
from gatepost.crypto.proof import Prover
from gatepost.directory.key import Key, Keys, may_sign
from gatepost.errors import AddressError, CryptoError, GatepostError, WorkerError, cause
from gatepost.log import logger
from gatepost.message.address import Address, parse
from gatepost.vault.held import key_context
from gatepost.workers import frames, notify
from gatepost.workers.frames import Frame

_AT_ONCE = 4  # operations with private keys; others wait
LARGEST = 128 << 20  # octets of a plaintext, whatever the caller asks for
_IDLE_SECONDS = 600.0
_DER = b"\x30"  # a SEQUENCE; no OpenPGP packet and no armor begins so
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

Reply = tuple[dict[str, object], bytes]


class OwnKeys(Protocol):
    """Gives the site's own keys. Thread-safe; raises StorageError."""

    def sealed(self, address: Address, kind: str) -> tuple[tuple[Key, bytes], ...]:
        """Give our own keys for an address, best owner first, with their sealed private halves."""


@dataclass(frozen=True, slots=True)
class Callers:
    """Users, by number, who may ask for each operation; the worker's own user and root may ask for all."""

    open: frozenset[int] = frozenset()
    release: frozenset[int] = frozenset()

    def may(self, user: int, operation: str) -> bool:
        """Tell whether a user may ask for an operation."""
        if user in {0, os.geteuid()}:
            return True
        if operation in {"ping", "prove"}:
            return user in self.open | self.release
        return user in (self.open if operation in {"open", "sign"} else self.release)


class KeyHolder:
    """What the key worker does, without its socket. Thread-safe."""

    def __init__(
        self,
        *,
        own: OwnKeys,
        partners: Keys,
        openpgp: Decryptor,
        smime: Decryptor,
        signers: Mapping[str, SignatureMaker],
        keys: Unsealer,
        vault: Unsealer,
        prover: Prover,
        heads: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """
        Take what signs, by the kind of its keys, what opens what is sealed to the secrets `keys` and `vault`, and
        who proves and tells stamps.
        """
        self._own = own
        self._partners = partners
        self._decryptors = {"openpgp": openpgp, "smime": smime}
        self._signers_of = signers
        self._keys = keys
        self._vault = vault
        self._prover = prover
        self._heads = heads
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def perform(self, head: Mapping[str, Any], payload: bytes, files: Sequence[int] = ()) -> Reply:
        """Carry one request out; raises StorageError, and WorkerError for one that is not understood."""
        try:
            match head.get("op"):
                case "ping":
                    return {"status": "ok"}, b""
                case "open":
                    recipient = parse(str(head["recipient"]).encode())
                    source, target = files
                    with _read_from(source) as encrypted, open(target, "wb", closefd=False) as opened:
                        most = min(int(str(head["most"])), LARGEST)
                        own_only = head.get("domain_keys") is False
                        claimed = str(head["sender"])
                        return self._open(recipient, claimed, encrypted, opened, most, own_only=own_only)
                case "sign":
                    author, sender = (parse(str(head[name]).encode()) for name in ("author", "sender"))
                    (source,) = files
                    with _read_from(source, MAX_SIGNED) as entity:
                        return self._sign(str(head["kind"]), author, sender, entity)
                case "release":
                    return self._release(UUID(str(head["held"])), payload)
                case "prove":
                    return {"status": "ok", "heads": dict(self._heads())}, self._prover.check(payload)
        except (KeyError, ValueError, AddressError) as error:
            raise WorkerError(f"the key worker does not understand the request: {type(error).__name__}") from error
        except OSError as error:
            raise WorkerError(f"the key worker could not read or write the message: {error.strerror}") from error
        raise WorkerError("the key worker does not know this operation")

    def _open(
        self,
        recipient: Address,
        sender: str,
        encrypted: IO[bytes],
        opened: IO[bytes],
        most: int,
        *,
        own_only: bool,
    ) -> Reply:
        encrypted.seek(0)
        kind = "smime" if encrypted.read(1) == _DER else "openpgp"
        signers = self._signers(sender, kind)
        fault: WorkerError | None = None
        for key, sealed in self._own.sealed(recipient, kind):
            if own_only and "@" not in key.owner:
                continue
            try:
                private = self._unsealed(key, sealed)
                with self._slots:
                    done = self._decryptors[kind].decrypt(encrypted, opened, private, signers, most=most)
            except CryptoError:
                continue
            except WorkerError as error:  # another key may open it
                fault = error
                continue
            found = {"status": done.verification.status, "fingerprint": done.verification.fingerprint}
            what = {"kind": kind, "intact": done.intact}
            answer = {"verification": found, "digest": done.digest.hex(), "key": key.fingerprint}
            return {"status": "ok", **what, **answer}, b""
        if fault is not None:
            raise fault
        return {"status": "undecryptable"}, b""

    def _sign(self, kind: str, author: Address, sender: Address, entity: IO[bytes]) -> Reply:
        """Sign with the first key that may and does; who gets none is told so, and not why."""
        signer = self._signers_of[kind]
        fault: WorkerError | None = None
        for key, sealed in self._own.sealed(author, kind):
            if not may_sign(key, author, sender):
                continue
            try:
                private = self._unsealed(key, sealed)
                with self._slots:
                    done = signer.sign(entity, private)
            except CryptoError:
                continue
            except WorkerError as error:  # another key may sign it
                fault = error
                continue
            return {"status": "ok", "micalg": done.micalg, "key": key.fingerprint}, done.data
        if fault is not None:
            raise fault
        return {"status": "unsigned"}, b""

    def _unsealed(self, key: Key, sealed: bytes) -> bytes:
        """Unseal a private half; raises WorkerError, so that whatever needs it is tried again."""
        try:
            return self._keys.unwrap(sealed, private_context(key.fingerprint))
        except CryptoError:
            raise WorkerError(
                f"the private half of our key {key.fingerprint} does not open: if the secret `keys` was rotated,"
                " restart the key worker; else restore the secret"
            ) from None

    def _signers(self, sender: str, kind: str) -> list[bytes]:
        """Give the certificates under the author's address or domain; none where that cannot be told."""
        try:
            address = parse(sender.encode())
        except (AddressError, UnicodeEncodeError):
            return []
        if not address.domain:
            return []
        return [key.certificate for key in self._partners.find(address, kind)]

    def _release(self, held: UUID, wrapped: bytes) -> Reply:
        try:
            data_key = self._vault.unwrap(wrapped, key_context(held))
        except CryptoError as error:
            return {"status": "refused", "text": str(error)}, b""
        logger.info("a held copy's data key was given out", held=str(held))
        return {"status": "ok"}, data_key


class KeyServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on a UNIX socket; a thread per connection, many requests over each."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, holder: KeyHolder, callers: Callers) -> None:
        """Bind the socket, in the place of one that nobody serves; raises WorkerError."""
        self._pulse = notify.Pulse()
        self.holder = holder
        self.callers = callers
        _make_room(path)
        try:
            super().__init__(str(path), _Connection)
        except OSError as error:
            raise WorkerError(f"the key worker cannot listen on {path}: {error.strerror or error}") from error
        path.chmod(0o660)

    def service_actions(self) -> None:
        """Give a sign of life: socketserver calls this at every turn of its loop."""
        self._pulse()

    def server_close(self) -> None:
        """Stop listening and take the socket away."""
        super().server_close()
        Path(str(self.server_address)).unlink(missing_ok=True)


class _Connection(socketserver.BaseRequestHandler):
    server: KeyServer
    request: socket.socket

    def handle(self) -> None:
        user = _peer(self.request)
        self.request.settimeout(_IDLE_SECONDS)
        try:
            while (frame := frames.receive(self.request)) is not None:
                try:
                    answer = self._answer(user, frame)
                finally:
                    frame.close()
                frames.send(self.request, *answer)
        except (OSError, WorkerError) as error:
            logger.warning("a connection to the key worker ended", user=user, cause=str(error))

    def _answer(self, user: int, frame: Frame) -> Reply:
        operation = str(frame.head.get("op"))
        if not self.server.callers.may(user, operation):
            logger.warning("the key worker refused a caller", user=user, operation=operation)
            return {"status": "refused", "text": f"user {user} may not ask the key worker for this"}, b""
        try:
            return self.server.holder.perform(frame.head, frame.payload, frame.files)
        except GatepostError as error:
            return {"status": "failed", "text": str(error)}, b""
        except Exception as error:  # noqa: BLE001 - the caller is told that it failed; the worker lives on
            logger.error("the key worker failed", operation=operation, cause=cause(error))
            return {"status": "failed", "text": "the key worker failed; its log tells more"}, b""


def _read_from(file: int, most: int = pgpmime.MAX_CIPHERTEXT) -> IO[bytes]:
    """Open what was handed over for reading; ValueError unless it is a regular file of a size that is taken."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_size > most:
        raise ValueError
    return open(file, "rb", closefd=False)


def _peer(connection: socket.socket) -> int:
    """Ask the kernel who is at the other end (unix(7), SO_PEERCRED)."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


def _make_room(path: Path) -> None:
    """Remove a socket that nobody serves; raises WorkerError where somebody does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise WorkerError(f"a key worker listens on {path} already")
