"""How keys come into the table: under whom, and never a private one by accident."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pysequoia
import pytest
from lab.smime import Smime

from gatepost.crypto import seal
from gatepost.crypto.certificate import EitherReader
from gatepost.crypto.openpgp import private_context
from gatepost.crypto.private_certificate import SmimeKeys
from gatepost.crypto.sequoia import SequoiaEncryptor
from gatepost.crypto.x509 import X509Reader
from gatepost.directory.key import Key, Trust
from gatepost.errors import CryptoError, DirectoryError
from gatepost.gateway.keyring import Keyring, read_owner
from gatepost.message.direction import Site

PRIVATE, PUBLIC = seal.new_pair()


def made(*addresses: str) -> pysequoia.Tsk:
    return pysequoia.Tsk.generate(user_ids=[f"Test <{address}>" for address in addresses], validity_seconds=86400)


def public(key: pysequoia.Tsk) -> bytes:
    return bytes(key.extract_certificate())


class Table:
    """A key table in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Key] = {}
        self.sealed: dict[str, bytes] = {}

    def rows(self) -> tuple[Key, ...]:
        return tuple(self.kept.values())

    def put(self, keys: Sequence[Key], sealed: bytes | None = None) -> None:
        for key in keys:
            own = sealed is not None
            self.kept[key.fingerprint, key.owner] = replace(key, own=own)
            if sealed is not None:
                self.sealed[key.fingerprint] = sealed

    def trust(self, fingerprint: str, level: Trust) -> None:
        self.kept = {
            name: replace(key, trust=level) if name[0] == fingerprint else key for name, key in self.kept.items()
        }

    def remove(self, fingerprint: str, owner: str = "") -> None:
        self.kept = {
            name: key for name, key in self.kept.items() if name[0] != fingerprint or (owner and name[1] != owner)
        }


class Maker:
    """Makes one key; its private half is what the tests look for."""

    def generate(self, user_id: str, days: int) -> tuple[bytes, bytes]:
        assert days == 30
        key = pysequoia.Tsk.generate(user_id, validity_seconds=days * 86400)
        return public(key), b"private half"

    def read_private(self, data: bytes, passphrase: str) -> tuple[bytes, bytes]:
        assert passphrase in {"", "phrase"}
        return data, b"private half"


class Token:
    """Knows one key, by its URI."""

    def read_private(self, certificate: bytes, uri: str) -> bytes:
        if uri != "pkcs11:token=gw;object=smime":
            raise CryptoError("no such key")
        return certificate + b"where it is"


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def ring(table: Table) -> Keyring:
    return Keyring(
        table=table,
        reader=EitherReader(openpgp=SequoiaEncryptor(), smime=X509Reader()),
        maker=Maker(),
        smime=SmimeKeys(),
        tokens=Token,
        public=lambda: PUBLIC,
        site=Site(frozenset({"hosp.test", ".hosp.test"})),
    )


def test_without_owner_every_address_named_is_used(ring: Keyring) -> None:
    """A certificate is kept under each address of its user IDs, trusted as the admin's word."""
    keys = ring.read([("a.asc", public(made("anna@other.test", "a.b@other.test")))], "")

    assert {key.owner for key in keys} == {"anna@other.test", "a.b@other.test"}
    assert {(key.trust, key.own, key.source) for key in keys} == {(Trust.ADMIN, False, "file a.asc")}


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (("anna@other.test", "eve@third.test"), r"several domains.*other\.test, third\.test.*--for"),
        (("boss@hosp.test",), r"boss@hosp\.test, an address of ours.*--for"),
        (("boss@sub.hosp.test",), r"an address of ours.*--for"),
    ],
)
def test_a_file_does_not_choose_whose_key_it_is(ring: Keyring, addresses: tuple[str, ...], said: str) -> None:
    """Without --for a partner's key comes under no address of ours, and under those of one domain only."""
    data = public(made(*addresses))

    with pytest.raises(DirectoryError, match=said):
        ring.read([("a", data)], "")
    assert [key.owner for key in ring.read([("a", data)], addresses[0])] == [addresses[0]]


def test_an_address_must_be_named_by_the_certificate(ring: Keyring) -> None:
    """Under someone else's address a key is refused, with both remedies."""
    with pytest.raises(DirectoryError, match=r"no user ID with eve@other\.test.*--for other\.test"):
        ring.read([("a.asc", public(made("anna@other.test")))], "eve@other.test")


@pytest.mark.parametrize(("owner", "kept"), [("Anna@Other.TEST", "anna@other.test"), ("Other.TEST", "other.test")])
def test_owners_are_kept_in_lower_case(ring: Keyring, owner: str, kept: str) -> None:
    """An address or domain is kept as it will be looked up; a domain needs no matching user ID."""
    assert [key.owner for key in ring.read([("a", public(made("anna@other.test")))], owner)] == [kept]


def test_nothing_is_kept_if_one_file_is_wrong(ring: Keyring, table: Table) -> None:
    """Several files are taken whole or not at all."""
    with pytest.raises(CryptoError):
        ring.add(ring.read([("a", public(made("anna@other.test"))), ("b", b"rubbish")], ""))

    assert table.rows() == ()


def test_a_private_key_is_not_stored_by_accident(ring: Keyring, table: Table) -> None:
    """A private key without --private is refused, naming the option."""
    with pytest.raises(CryptoError, match="--private"):
        ring.read([("a", bytes(made("anna@other.test")))], "")

    assert table.rows() == ()


def test_a_generated_key_is_sealed_to_the_key_worker(ring: Keyring, table: Table) -> None:
    """What is stored of the private half opens with the worker's key, and only under its own fingerprint."""
    (key,) = ring.generate("Hosp.TEST", 30)

    assert (key.owner, key.own) == ("hosp.test", True)
    sealed = table.sealed[key.fingerprint]
    assert b"private half" not in sealed
    assert seal.unwrap(PRIVATE, sealed, private_context(key.fingerprint)) == b"private half"
    with pytest.raises(CryptoError):
        seal.unwrap(PRIVATE, sealed, private_context("OTHER"))


def test_a_private_key_is_bound_like_a_public_one(ring: Keyring, table: Table) -> None:
    """Our own key, too, is kept only under an address that it names."""
    data = public(made("anna@hosp.test"))

    with pytest.raises(DirectoryError):
        ring.add_private("a", data, "eve@hosp.test", "phrase")
    assert table.sealed == {}
    assert [key.owner for key in ring.add_private("a", data, "", "phrase")] == ["anna@hosp.test"]


def test_keys_are_found_by_either_end_of_the_fingerprint(ring: Keyring) -> None:
    """Beginning or end is enough if it is unique, in any case and with blanks."""
    ring.add(ring.read([("a", public(made("a@x.test"))), ("b", public(made("b@x.test")))], ""))
    name = ring.rows()[0].fingerprint

    assert ring.find(name[:16].lower())[0].fingerprint == name
    assert ring.find(f"{name[-16:-8]} {name[-8:]}")[0].fingerprint == name
    for wrong in ("", "XYZ"):
        with pytest.raises(DirectoryError, match="no key"):
            ring.find(wrong)


def test_removing_under_one_owner_leaves_the_others(ring: Keyring) -> None:
    """A key under two owners loses one, or all."""
    data = public(made("a@x.test"))
    ring.add([*ring.read([("a", data)], ""), *ring.read([("a", data)], "x.test")])
    name = ring.rows()[0].fingerprint

    ring.remove(name, "X.test")
    assert [key.owner for key in ring.rows()] == ["a@x.test"]
    ring.remove(name, "")
    assert ring.rows() == ()


@pytest.mark.parametrize("text", ["", "@x.test", "a@", ".x.test", "a b@x.test", "a@x .test"])
def test_what_is_no_owner_is_refused(text: str) -> None:
    """Anything but an address or a domain is an error that shows how to write one."""
    with pytest.raises(DirectoryError, match="example"):
        read_owner(text)


@pytest.mark.real
def test_a_private_key_of_smime_is_sealed_with_its_certificate(
    ring: Keyring, table: Table, tmp_path: Path
) -> None:
    """It comes under an address that its certificate names, or by --for under a domain, and is not readable."""
    people = Smime(tmp_path / "smime")
    data = people.certificate("anna@hosp.test").read_bytes() + (people.folder / "anna@hosp.test.key").read_bytes()

    with pytest.raises(DirectoryError, match="no user ID with eve"):
        ring.add_private("a.pem", data, "eve@hosp.test", "")
    assert table.sealed == {}
    (key,) = ring.add_private("a.pem", data, "", "")
    owners = {one.owner for one in ring.add_private("a.pem", data, "hosp.test", "")}
    assert (key.owner, key.kind, key.own) == ("anna@hosp.test", "smime", True)
    assert owners == {"anna@hosp.test", "hosp.test"}
    sealed = table.sealed[key.fingerprint]
    assert key.certificate not in sealed
    assert seal.unwrap(PRIVATE, sealed, private_context(key.fingerprint)).startswith(key.certificate)


@pytest.mark.real
def test_a_key_on_a_token(ring: Keyring, table: Table, tmp_path: Path) -> None:
    """Its certificate comes in as ours, and where it is, is sealed; nothing is kept of a key that is not there."""
    people = Smime(tmp_path / "smime")
    data = people.certificate("anna@hosp.test").read_bytes()

    with pytest.raises(CryptoError, match="no such key"):
        ring.add_on_token("a.pem", data, "", "pkcs11:token=gw;object=other")
    for wrong in (data + people.certificate("bob@hosp.test").read_bytes(), public(made("anna@hosp.test"))):
        with pytest.raises(DirectoryError, match="one certificate"):
            ring.add_on_token("a.pem", wrong, "", "pkcs11:token=gw;object=smime")
    assert table.kept == {}
    (key,) = ring.add_on_token("a.pem", data, "", "pkcs11:token=gw;object=smime")
    assert (key.owner, key.own, key.source) == ("anna@hosp.test", True, "pkcs11:token=gw;object=smime")
    sealed = table.sealed[key.fingerprint]
    assert seal.unwrap(PRIVATE, sealed, private_context(key.fingerprint)) == key.certificate + b"where it is"
