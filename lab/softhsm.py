"""
A token in software: SoftHSM, with keys that a test put there; and the fault of taking it away.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "1234"
_LABEL = "gateway"
_CONFIG = "SOFTHSM2_CONF"


class SoftHsm:
    """One token, labelled `gateway`, in a folder; the module finds it by an environment variable."""

    def __init__(self, folder: Path) -> None:
        """Make the token in a folder, which is made too."""
        self._tokens = folder / "tokens"
        self._tokens.mkdir(parents=True)
        config = folder / "softhsm2.conf"
        config.write_text(f"directories.tokendir = {self._tokens}\nlog.level = ERROR\n", encoding="ascii")
        self.environment = {_CONFIG: str(config)}
        _run(
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            _LABEL,
            "--pin",
            PIN,
            "--so-pin",
            "5678",
            hsm=self,
        )

    def put(self, key: Path, label: str) -> str:
        """Put a private key in PEM onto the token; gives its URI."""
        octets = key.with_suffix(".octets")
        _run("openssl", "pkey", "-in", str(key), "-outform", "DER", "-out", str(octets), hsm=self)
        uses = ("--usage-sign", "--usage-decrypt", "--usage-derive")
        words = ("--module", MODULE, "--login", "--pin", PIN, "--type", "privkey", "--label", label, *uses)
        _run("pkcs11-tool", *words, "--write-object", str(octets), hsm=self)
        return f"pkcs11:token={_LABEL};object={label}"

    def put_signing(self, key: Path, label: str) -> str:
        """Put a private key in PEM onto the token, of any kind, that may only sign; gives its URI."""
        number = str(len(list(self._tokens.rglob("*.object"))) + 10)
        words = ("--token", _LABEL, "--pin", PIN, "--label", label, "--id", number)
        _run("softhsm2-util", "--import", str(key), *words, hsm=self)
        return f"pkcs11:token={_LABEL};object={label}"

    @contextmanager
    def taken_away(self) -> Iterator[None]:
        """Be gone, for as long as this lasts."""
        elsewhere = self._tokens.with_name("elsewhere")
        self._tokens.rename(elsewhere)
        try:
            yield
        finally:
            elsewhere.rename(self._tokens)


def _run(*words: str, hsm: SoftHsm) -> None:
    done = subprocess.run(
        words, env=os.environ | hsm.environment, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr.strip()}")
