"""
A DKIM signer as sites run it: OpenDKIM as a milter of its own, and OpenDKIM again as the judge of signatures.

The judge reads the public key from a file, so that no DNS is needed; only the received bytes are believed.
"""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab.place import free_port, note
from lab.wait import until_port_answers

_SELECTOR = "lab"


class Signer:
    """
    OpenDKIM for one domain; `milter` is what Postfix calls it.

    It signs mail from loopback clients, strictly (`simple/simple`). Use it as a context manager.
    """

    def __init__(self, folder: Path, domain: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.milter = f"inet:127.0.0.1:{port}"
        self._port = port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = folder / "dkim.pem"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
        private.chmod(0o600)
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        record = f"v=DKIM1; k=rsa; p={''.join(pem.splitlines()[1:-1])}"
        public = folder / "public"
        public.write_text(f"{_SELECTOR}._domainkey.{domain} {record}\n")
        (folder / "sign.conf").write_text(
            f"Mode s\nDomain {domain}\nSelector {_SELECTOR}\nKeyFile {private}\nRequireSafeKeys no\n"
            f"Canonicalization simple/simple\nOversignHeaders From\nSocket inet:{port}@127.0.0.1\nUserID root\n"
        )
        (folder / "verify.conf").write_text(f"Mode v\nTestPublicKeys {public}\n")

    def judge(self, message: bytes) -> str:
        """Give what OpenDKIM says of a received message's signature, on one line."""
        file = self._folder / "message"
        file.write_bytes(message)
        command = ["opendkim", "-x", str(self._folder / "verify.conf"), "-t", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return " ".join((done.stdout + done.stderr).split())

    def valid(self, message: bytes) -> bool:
        """Tell whether the signature holds."""
        return self.judge(message).endswith("succeeded")

    def __enter__(self) -> Self:
        command = ["opendkim", "-f", "-x", str(self._folder / "sign.conf")]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        note("group", self._process.pid)
        until_port_answers(self._port, why=(self._folder / "log").read_text)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            note("ended", self._process.pid)
