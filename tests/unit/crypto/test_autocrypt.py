"""Autocrypt fields: as short as may be, in lines that mail carries, and read back by gpg."""

import base64

import pytest
from lab.gpg import Gpg
from lab.place import short_folder

from gatepost.crypto import autocrypt
from gatepost.crypto.sequoia import SequoiaEncryptor, minimal


@pytest.mark.parametrize(
    ("address", "certificate"), [("é@hosp.test", b"x"), ('"a;b"@hosp.test', b"x"), ("a@hosp.test", bytes(8000))]
)
def test_what_cannot_be_written(address: str, certificate: bytes) -> None:
    """An address that the field cannot name, and a key that makes it too long, give none."""
    assert autocrypt.field(address, certificate) is None


@pytest.mark.real
@pytest.mark.parametrize("algorithm", ["future-default", "rsa3072"])
def test_gpg_encrypts_to_it(algorithm: str) -> None:
    """From the field another gpg takes a key with one user ID, to which it encrypts what its holder opens."""
    with short_folder() as folder:
        ours, theirs = Gpg(folder / "ours"), Gpg(folder / "theirs")
        fingerprint = ours.key("Other <other@hosp.test>", algorithm)
        ours.run("--quick-add-uid", fingerprint, "Anna <Anna@hosp.test>")
        ours.run("--passphrase", "", "--quick-add-key", fingerprint, "ed25519", "sign", "never")
        whole = ours.run("--export", fingerprint).stdout
        (certificate,) = SequoiaEncryptor().read(whole)

        found = autocrypt.field("anna@hosp.test", minimal(certificate.data, "anna@hosp.test"))
        assert found is not None
        assert max(map(len, found.value.split(b"\n"))) <= 78
        key = base64.b64decode(found.value.partition(b"keydata=")[2])
        theirs.import_key(key)
        listing = theirs.run("--with-colons", "--list-keys").stdout.decode()
        sealed = theirs.encrypt(b"answer", [fingerprint])

        assert len(key) < len(whole)
        assert [line.split(":")[9] for line in listing.splitlines() if line.startswith("uid:")] == [
            "Anna <Anna@hosp.test>"
        ]
        assert ours.decrypt(sealed).data == b"answer"
        ours.close()
        theirs.close()
