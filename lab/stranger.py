"""
Another user of this host, who speaks to a listener by TLS as anybody could.
"""

import subprocess
from pathlib import Path

_WORDS = b"EHLO nobody.test\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nQUIT\r\n"


def speak(port: int, pem: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
    """Try to hand in mail as the user `nobody`, with the certificate in `pem` if one is named; needs root."""
    certificate = ["-cert", str(pem), "-key", str(pem)] if pem else []
    return subprocess.run(
        ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{port}", *certificate],
        input=_WORDS,
        capture_output=True,
        user="nobody",
        group="nogroup",
        extra_groups=[],
        check=False,
        timeout=60,
    )
