"""Whose certificates are believed."""

import ssl
from pathlib import Path

import pytest
from lab.certificate import Authority

from gatepost.errors import ConfigError
from gatepost.transport import trust


def test_what_is_checked() -> None:
    """A certificate is demanded, with the host's name in subjectAltName, under TLS 1.2 or later."""
    made = trust.context("")
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname
    assert not made.hostname_checks_common_name
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2


def test_further_authorities(tmp_path: Path) -> None:
    """The admin's authorities come on top of the system's."""
    before = trust.context("").cert_store_stats()["x509_ca"]
    assert trust.context(str(Authority(tmp_path).file)).cert_store_stats()["x509_ca"] == before + 1


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_authorities_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """A wrong dns.https_ca_file is told with its name."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^dns\.https_ca_file: .*/ca\.pem: "):
        trust.context(str(file))
