"""CMS signatures: what OpenSSL, gpgsm and Bouncy Castle make is verified, and nothing that only looks so."""

import base64
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import timedelta
from hashlib import sha256, sha512
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signers import BEGIN, END, Person, PrivateKey

from gatepost.crypto import cms, der, signed_data
from gatepost.crypto.signature import SignatureError, Signer
from gatepost.crypto.signing_certificate import signing_certificate
from gatepost.crypto.x509 import parsed

CONTENT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
SHA256, SHA512 = "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.3"
RSA, RSA_SHA256, ECDSA_SHA256, ED25519 = (
    "1.2.840.113549.1.1.1",
    "1.2.840.113549.1.1.11",
    "1.2.840.10045.4.3.2",
    "1.3.101.112",
)


# Made by Bouncy Castle 1.72 with Ed25519: signatures over CONTENT with signed attributes, and without
BOUNCY_CASTLE = (
    (
        "MIAGCSqGSIb3DQEHAqCAMIACAQExDTALBglghkgBZQMEAgMwCwYJKoZIhvcNAQcBoIAwgfEwgaSgAwIBAgICEmcwBQYDK2VwMA0x"
        "CzAJBgNVBAMMAmVkMCAXDTI2MDEwMTAwMDAwMFoYDzIxMjYwMTAxMDAwMDAwWjANMQswCQYDVQQDDAJlZDAqMAUGAytlcAMhANFi"
        "BfP9W8mXgks60kxncwwUkW5zECk8NcrWl1jDyUFSoyYwJDAUBgNVHREEDTALgQllZEB4LnRlc3QwDAYDVR0TAQH/BAIwADAFBgMr"
        "ZXADQQD8cSmbCUFqDx8AvkW91tqAZ0t2Ey8Lqj6QkhKV0jXtMQHGahfu5GVKSOBTe2CA9eqiFVwB6ijzthZnDnLSmeQMAAAxggEj"
        "MIIBHwIBATATMA0xCzAJBgNVBAMMAmVkAgISZzALBglghkgBZQMEAgOgga4wGAYJKoZIhvcNAQkDMQsGCSqGSIb3DQEHATAcBgkq"
        "hkiG9w0BCQUxDxcNMjYxMTI4MTgzNzEwWjAjBgkqhkiG9w0BCTQxFjAUMAsGCWCGSAFlAwQCA6EFBgMrZXAwTwYJKoZIhvcNAQkE"
        "MUIEQCFZukiWAWjXyKWBXoxHWwwzCr83PkobvUgUs0m56OXkVpwsopcJ9f2Wj339MQAf7DKsIC/5Umuya7d22CLSXb8wBQYDK2Vw"
        "BEDZRoGnRM78rItVzfyszww6XqJdZytFsnWRCxIXzhkBdCaVsRnUid2ALzOl6QayBAWOFoc3o0WaL0peBD3c2e4DAAAAAAAA"
    ),
    (
        "MIAGCSqGSIb3DQEHAqCAMIACAQExDTALBglghkgBZQMEAgMwCwYJKoZIhvcNAQcBoIAwgfEwgaSgAwIBAgICEmcwBQYDK2VwMA0x"
        "CzAJBgNVBAMMAmVkMCAXDTI2MDEwMTAwMDAwMFoYDzIxMjYwMTAxMDAwMDAwWjANMQswCQYDVQQDDAJlZDAqMAUGAytlcAMhANFi"
        "BfP9W8mXgks60kxncwwUkW5zECk8NcrWl1jDyUFSoyYwJDAUBgNVHREEDTALgQllZEB4LnRlc3QwDAYDVR0TAQH/BAIwADAFBgMr"
        "ZXADQQD8cSmbCUFqDx8AvkW91tqAZ0t2Ey8Lqj6QkhKV0jXtMQHGahfu5GVKSOBTe2CA9eqiFVwB6ijzthZnDnLSmeQMAAAxcDBu"
        "AgEBMBMwDTELMAkGA1UEAwwCZWQCAhJnMAsGCWCGSAFlAwQCAzAFBgMrZXAEQFNU5G9llSke5SkBeO/4eKj006mGvgVBg1AsMyyy"
        "72QhVz/sF2egycU5pacZApUMlwxKoN4pTJWRvXvN75CkjgkAAAAAAAA="
    ),
)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Person]:
    folder = tmp_path_factory.mktemp("signers")
    keys: dict[str, PrivateKey] = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "weak": rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is to be refused
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()),
        "k256": ec.generate_private_key(ec.SECP256K1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    return {name: Person(folder, name, key) for name, key in keys.items()}


@pytest.fixture(scope="module")
def ann(people: dict[str, Person]) -> Person:
    return people["p256"]


def openssl(*words: object, text: bytes = CONTENT) -> bytes:
    command = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", *map(str, words)]
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by(person: Person, *options: str, text: bytes = CONTENT) -> bytes:
    """Have OpenSSL sign as a person."""
    return openssl(*options, "-signer", person.pem, "-inkey", person.private, text=text)


def verified(data: bytes, content: bytes | None = CONTENT, known: Sequence[bytes] = ()) -> tuple[Signer, ...]:
    return signed_data.verify(signed_data.read(data), None if content is None else (content,), known)


def refused(data: bytes, content: bytes | None = CONTENT, known: Sequence[bytes] = ()) -> str:
    with pytest.raises(SignatureError) as error:
        verified(data, content, known)
    return str(error.value)


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl")


@pytest.mark.real
@needs_openssl
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("name", ["rsa", "p256", "p384", "p521"])
@pytest.mark.parametrize("form", [(), ("-nodetach",), ("-nodetach", "-stream"), ("-keyid",), ("-noattr",)])
def test_what_openssl_signs(people: dict[str, Person], name: str, digest: str, form: tuple[str, ...]) -> None:
    """Every algorithm and form that OpenSSL has is verified, and over these very octets only."""
    person = people[name]
    made = by(person, "-md", digest, *form)
    outside = None if "-nodetach" in form else CONTENT
    (signer,) = verified(made, outside)

    assert signer.fingerprint == sha256(person.der).hexdigest().upper()
    assert signer.certificate == person.der
    if outside is not None:
        assert refused(made, CONTENT + b"\r\n")
        assert refused(made, CONTENT.replace(b"hello", b"hello "))


@pytest.mark.real
@needs_openssl
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("salt", ["digest", "max", "0", "20"])
def test_pss_of_openssl(people: dict[str, Person], digest: str, salt: str) -> None:
    """RSASSA-PSS is verified with the salt that its parameters name."""
    options = ("-md", digest, "-keyopt", "rsa_padding_mode:pss", "-keyopt", f"rsa_pss_saltlen:{salt}")
    made = openssl("-md", digest, "-signer", people["rsa"].pem, "-inkey", people["rsa"].private, *options[2:])

    assert verified(made)
    assert refused(made, CONTENT + b"x") == "the content was changed after it was signed"


@pytest.mark.real
@needs_openssl
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-md", "sha1"), "SHA-1, which is too weak"),
        (("-md", "md5"), "MD5, which is too weak"),
        (("-md", "sha224"), "SHA-224, which is too weak"),
        (("-md", "sha3-256"), "not known here"),
    ],
)
def test_weak_digests_of_openssl(people: dict[str, Person], options: tuple[str, ...], reason: str) -> None:
    """What was signed with a digest that can be forged counts as not signed."""
    assert reason in refused(by(people["rsa"], *options))


@pytest.mark.real
@needs_openssl
def test_pss_with_another_mask_is_refused(people: dict[str, Person]) -> None:
    """The mask's digest must be the signature's: SHA-1, the default, is not taken even for the mask."""
    person = people["rsa"]
    for mask, reason in (("sha1", "SHA-1"), ("sha512", "the signature names two digests")):
        pss = ("-keyopt", "rsa_padding_mode:pss", "-keyopt", f"rsa_mgf1_md:{mask}")
        made = openssl("-md", "sha256", "-signer", person.pem, "-inkey", person.private, *pss)
        assert reason in refused(made)


@pytest.mark.real
@needs_openssl
def test_weak_keys(people: dict[str, Person]) -> None:
    """RSA below 2048 bits and curves that no mail program has sign nothing."""
    assert "too weak (RSA of 1024 bits)" in refused(by(people["weak"]))
    assert "its key is of the kind" in refused(by(people["k256"]))


@pytest.mark.real
@needs_openssl
def test_several_signers(people: dict[str, Person]) -> None:
    """With several signers every one must be good, and each is told."""
    one, other = people["rsa"], people["p384"]
    pairs = [word for who in (one, other) for word in ("-signer", who.pem, "-inkey", who.private)]
    signers = verified(openssl(*pairs))

    assert {signer.certificate for signer in signers} == {one.der, other.der}
    assert signers[0].beside == tuple({one.der, other.der} - {signers[0].certificate})
    assert refused(openssl("-nocerts", *pairs), known=[one.der])
    assert len(verified(openssl("-nocerts", *pairs), known=[one.der, other.der])) == 2


@pytest.mark.real
@needs_openssl
def test_certificates_that_are_known(ann: Person) -> None:
    """A signer's certificate may come from the key table alone."""
    made = by(ann, "-nocerts")

    assert verified(made, known=[ann.der])
    assert refused(made) == "the signer's certificate is neither known nor in the message"


@pytest.mark.real
@needs_openssl
def test_capabilities_are_given_out(ann: Person) -> None:
    """What the signer's program can read stands in a signed attribute, and is told."""
    (with_them,), (without,) = verified(by(ann)), verified(by(ann, "-nosmimecap"))

    assert bytes.fromhex("0609608648016503040102") in with_them.capabilities.replace(b"\x2a", b"\x02")
    assert der.content(with_them.capabilities)
    assert without.capabilities == b""


@pytest.mark.real
@needs_openssl
def test_content_inside_and_outside(ann: Person) -> None:
    """A signature with content of its own says nothing of what stands beside it, even where both are the same."""
    made = by(ann, "-nodetach")

    assert "content of its own" in refused(made, CONTENT)
    assert refused(by(ann), None) == "the signed content is missing"


@pytest.mark.real
@pytest.mark.skipif(shutil.which("gpgsm") is None, reason="needs the command gpgsm")
def test_what_gpgsm_signs(tmp_path: Path, people: dict[str, Person]) -> None:
    """Signatures by gpgsm are verified."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "gpgsm.conf").write_text("disable-crl-checks\nbatch\n")
    (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
    person = people["rsa"]
    pkcs12 = tmp_path / "p12"
    old = ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1")  # what gpgsm 2.2 reads
    files = ("-inkey", person.private, "-in", person.pem, "-out", pkcs12)
    subprocess.run(
        ["openssl", "pkcs12", "-export", "-passout", "pass:x", *old, *files], check=True, capture_output=True
    )

    def gpgsm(*words: object, text: bytes = b"") -> bytes:
        command = ["gpgsm", "--homedir", str(home), "--pinentry-mode", "loopback", *map(str, words)]
        done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        gpgsm("--passphrase-fd", "0", "--import", pkcs12, text=b"x")
        fingerprint = x509.load_der_x509_certificate(person.der).fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303
        (home / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
        sign = ("--passphrase-fd", "0", "--include-certs", "-1", "-u", fingerprint)
        unsigned = tmp_path / "content"
        unsigned.write_bytes(CONTENT)
        for options, content in ((("--detach-sign",), CONTENT), (("--sign",), None)):
            made = gpgsm(*sign, *options, unsigned, text=b"x")
            assert [signer.certificate for signer in verified(made, content)] == [person.der], options
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def attribute(kind: str, *values: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.set_of(*values))


def content_type(value: str = "1.2.840.113549.1.7.1") -> bytes:
    return attribute("1.2.840.113549.1.9.3", der.oid(value))


def message_digest(content: bytes = CONTENT) -> bytes:
    return attribute("1.2.840.113549.1.9.4", der.octets(sha256(content).digest()))


def signer_info(
    person: Person,
    attributes: Sequence[bytes] | None = None,
    *,
    digest: str = SHA256,
    algorithm: bytes | None = None,
    identifier: bytes | None = None,
    signed: bytes | None = None,
    hashed: hashes.HashAlgorithm | None = None,
) -> bytes:
    """Write a SignerInfo of one's own; what is signed are the attributes as a SET OF, or something else."""
    attributes = (content_type(), message_digest()) if attributes is None else attributes
    kinds = {rsa.RSAPrivateKey: RSA_SHA256, ed25519.Ed25519PrivateKey: ED25519}
    name = next((oid for kind, oid in kinds.items() if isinstance(person.key, kind)), ECDSA_SHA256)
    message = der.set_of(*attributes) if signed is None else signed
    return der.sequence(
        der.integer(1),
        identifier or person.identifier,
        der.sequence(der.oid(digest)),
        der.explicit(0, b"".join(attributes)) if attributes else b"",
        algorithm or der.sequence(der.oid(name)),
        der.octets(person.raw_sign(message, hashed)),
    )


def message(
    *infos: bytes,
    content: bytes | None = None,
    certificates: Sequence[bytes] = (),
    kind: str = "1.2.840.113549.1.7.1",
) -> bytes:
    inside = der.oid(kind) + (b"" if content is None else der.explicit(0, der.octets(content)))
    return der.sequence(
        der.oid("1.2.840.113549.1.7.2"),
        der.explicit(
            0,
            der.sequence(
                der.integer(1),
                der.set_of(der.sequence(der.oid(SHA256))),
                der.sequence(inside),
                der.explicit(0, b"".join(certificates)) if certificates else b"",
                der.set_of(*infos),
            ),
        ),
    )


def test_one_made_by_hand_is_good(people: dict[str, Person]) -> None:
    """What the attacks below are made from is a good signature."""
    for name in ("rsa", "p256"):
        person = people[name]
        assert verified(message(signer_info(person), certificates=[person.der]))


@pytest.mark.parametrize("made", BOUNCY_CASTLE, ids=["attributes", "direct"])
def test_ed25519_of_bouncy_castle(made: str) -> None:
    """What Bouncy Castle signs with Ed25519, in BER, is verified."""
    (signer,) = verified(base64.b64decode(made))

    assert parsed(signer.certificate).certificate.addresses == ("ed@x.test",)
    assert refused(base64.b64decode(made), CONTENT + b"x")


def test_ed25519_by_hand(people: dict[str, Person]) -> None:
    """Ed25519 signs the attributes, or without any the content itself (RFC 8419)."""
    person = people["ed25519"]
    plain = signer_info(person, (), signed=CONTENT, digest=SHA512)

    assert verified(message(signer_info(person), certificates=[person.der]))
    assert verified(message(plain, certificates=[person.der]))
    assert refused(message(plain, certificates=[person.der]), CONTENT + b"x") == "the signature is wrong"


def test_no_signer_is_no_signature(ann: Person) -> None:
    """A message without any signer is invalid, whatever it holds."""
    for content in (None, CONTENT):
        outside = CONTENT if content is None else None
        assert "no signature" in refused(message(content=content, certificates=[ann.der]), outside)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ((message_digest(),), "missing or stands there twice"),
        ((content_type(),), "missing or stands there twice"),
        ((content_type(), message_digest(), message_digest(b"x")), "missing or stands there twice"),
        ((content_type(), content_type(), message_digest()), "missing or stands there twice"),
        ((content_type(), message_digest(b"other")), "changed after it was signed"),
        ((content_type("1.2.840.113549.1.7.3"), message_digest()), "another kind of content"),
        (
            (
                content_type(),
                attribute("1.2.840.113549.1.9.4", *(der.octets(sha256(one).digest()) for one in (CONTENT, b"x"))),
            ),
            "missing or stands there twice",
        ),
        ((content_type(), attribute("1.2.840.113549.1.9.4")), "missing or stands there twice"),
    ],
)
def test_attributes(ann: Person, attributes: tuple[bytes, ...], reason: str) -> None:
    """Both attributes stand there once, with one value, and are right; a good signature over others is none."""
    assert reason in refused(message(signer_info(ann, attributes), certificates=[ann.der]))


def test_attributes_in_any_order_and_in_ber(ann: Person) -> None:
    """The signature is over the attributes in DER, in whatever order and form they came."""
    sorted_ones = sorted((content_type(), message_digest()))
    in_order, backwards = (
        signer_info(ann, attributes, signed=der.set_of(*attributes))
        for attributes in (sorted_ones, sorted_ones[::-1])
    )
    as_it_stands = signer_info(ann, sorted_ones[::-1], signed=der.element(0x31, b"".join(sorted_ones[::-1])))
    parts = [whole for _, whole, _ in der.parts(der.content(in_order))]
    parts[3] = b"\xa0\x80" + b"".join(sorted_ones) + b"\0\0"
    endless = der.sequence(*parts)
    for info in (in_order, backwards, as_it_stands, endless):
        assert verified(message(info, certificates=[ann.der]))


def test_attributes_taken_for_content(ann: Person) -> None:
    """Signed attributes given out as content, with the signature that was over them, prove nothing."""
    attributes = der.set_of(content_type(), message_digest())
    info = signer_info(ann, (), signed=attributes)

    assert refused(message(info, certificates=[ann.der]), attributes) == "what is signed is no mail"
    inside = message(info, content=attributes, certificates=[ann.der])
    assert refused(inside, None) == "what is signed is no mail"
    whole, pieces = der.octets(attributes), der.octets(b"") + der.octets(attributes)
    parted = der.element(0x24, pieces)
    longer = len(parted) - len(whole)
    data = inside.replace(der.explicit(0, whole), der.explicit(0, parted))
    assert longer == len(data) - len(inside)
    assert refused(_mended(data), None) == "what is signed is no mail"


def _mended(data: bytes) -> bytes:
    """Write the lengths around changed content as indefinite ones."""
    kind = der.oid("1.2.840.113549.1.7.2")
    start = data.index(kind) + len(kind)
    signed = data.index(der.integer(1), start)
    return b"\x30\x80" + kind + b"\xa0\x80\x30\x80" + _info(data[signed:]) + b"\0\0" * 3


def _info(parts: bytes) -> bytes:
    """Write the SEQUENCE of the content with an indefinite length."""
    info = parts.index(b"\x30", parts.index(der.oid(SHA256)))
    start = parts.index(der.oid("1.2.840.113549.1.7.1"), info)
    explicit = start + len(der.oid("1.2.840.113549.1.7.1"))
    size = parts[explicit + 1] + 2
    assert parts[explicit] == 0xA0
    return parts[:info] + b"\x30\x80" + parts[start : explicit + size] + b"\0\0" + parts[explicit + size :]


def test_one_bad_signer_among_good_ones(people: dict[str, Person]) -> None:
    """One wrong signature spoils all."""
    one, other = people["p256"], people["rsa"]
    good, bad = signer_info(one), signer_info(other, signed=b"something else")
    certificates = [one.der, other.der]

    assert verified(message(good, certificates=certificates))
    assert refused(message(good, bad, certificates=certificates)) == "the signature is wrong"


def test_digests_must_agree(people: dict[str, Person]) -> None:
    """The signature's algorithm and the digest of its SignerInfo name the same one."""
    ann, bob = people["p256"], people["rsa"]
    for person in (ann, bob):
        digest = attribute("1.2.840.113549.1.9.4", der.octets(sha512(CONTENT).digest()))
        attributes = (content_type(), digest)
        info = signer_info(person, attributes, digest=SHA512)
        other = signer_info(person, attributes, digest=SHA512, hashed=hashes.SHA512())
        for one in (info, other):
            assert refused(message(one, certificates=[person.der])) == "the signature names two digests"
    only_named = signer_info(bob, algorithm=der.sequence(der.oid(RSA)))
    assert verified(message(only_named, certificates=[bob.der]))


def test_the_key_fits_the_algorithm(people: dict[str, Person]) -> None:
    """An algorithm for another kind of key is not tried."""
    info = signer_info(people["p256"], algorithm=der.sequence(der.oid(RSA_SHA256)))
    assert "not known" in refused(message(info, certificates=[people["p256"].der]))


def test_a_certificate_of_the_same_name(people: dict[str, Person], tmp_path: Path) -> None:
    """Another certificate with the same issuer and number neither hides the true one nor passes for it."""
    ann = people["p256"]
    false = Person(tmp_path, "p256", ec.generate_private_key(ec.SECP256R1()))
    info = signer_info(ann)
    for certificates in ([ann.der, false.der], [false.der, ann.der]):
        (signer,) = verified(message(info, certificates=certificates))
        assert signer.certificate == ann.der
    assert refused(message(info, certificates=[false.der])) == "the signature is wrong"


def test_other_kinds_of_content(ann: Person) -> None:
    """What is signed must be plain data: with or without attributes nothing else is mail."""
    attributes = (content_type("1.2.840.113549.1.9.16.1.4"), message_digest())
    for info in (signer_info(ann, attributes), signer_info(ann, (), signed=CONTENT)):
        data = message(info, content=CONTENT, certificates=[ann.der], kind="1.2.840.113549.1.9.16.1.4")
        assert refused(data, None) == "what is signed is no mail"


def test_a_key_that_is_not_for_signatures(tmp_path: Path) -> None:
    """A certificate for encryption is told as such; its signatures are judged by who uses them."""
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    rest = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    usage = x509.KeyUsage(**{name: name == "key_agreement" for name in (*names, *rest)})
    person = Person(tmp_path, "enc", ec.generate_private_key(ec.SECP256R1()), usage)
    found = signing_certificate(person.der)

    assert found.refusal() == (
        "the signer's certificate: its key usage does not allow it to sign (it is for encryption)"
    )
    assert "expired on 2126-01-01" in found.refusal(END + timedelta(days=1))
    assert "not valid before" in found.refusal(BEGIN - timedelta(days=1))


def test_numbers_are_bounded(ann: Person) -> None:
    """More signers, certificates or attributes than honest mail has are not read."""
    info = signer_info(ann)
    many = (content_type(), message_digest(), *(attribute("1.2.3", der.integer(one)) for one in range(70)))

    assert "more signers" in refused(message(*[info] * 9, certificates=[ann.der]))
    assert "more signers or certificates" in refused(message(info, certificates=[ann.der] * 33))
    assert "more attributes" in refused(message(signer_info(ann, many), certificates=[ann.der]))


def test_as_many_as_are_read(ann: Person) -> None:
    """Eight signers and thirty-two certificates are read."""
    found = verified(message(*[signer_info(ann)] * 8, certificates=[ann.der] * 32))

    assert len(found) == 8


def test_unsigned_attributes_are_passed_over(ann: Person) -> None:
    """A time stamp beside the signature, say, changes nothing."""
    info = der.content(signer_info(ann))
    stamped = der.sequence(info, der.explicit(1, attribute("1.2.3", der.integer(1))))

    assert verified(message(stamped, certificates=[ann.der]))


def test_other_shapes(ann: Person) -> None:
    """What is not built as RFC 5652 says is malformed: parts that are missing, too many, or of other kinds."""
    info, inside = signer_info(ann), der.sequence(der.oid("1.2.840.113549.1.7.1"))
    head = der.integer(1) + der.set_of(der.sequence(der.oid(SHA256))) + inside
    signers = der.set_of(info)
    bodies = (
        head + signers + der.explicit(0, ann.der),
        head + der.explicit(1, b"") + der.explicit(0, ann.der) + signers,
        head + der.explicit(2, b"") + signers,
        head + der.set_of(der.content(info)),
        head + der.set_of(b"\x31" + info[1:]),
        head + der.set_of(der.sequence(der.integer(1))),
    )
    for body in bodies:
        data = der.sequence(der.oid("1.2.840.113549.1.7.2"), der.explicit(0, der.sequence(body)))
        assert refused(data, known=[ann.der]) == "the signature is malformed"
    number = der.sequence(der.oid("1.2.840.113549.1.7.1"), der.explicit(0, der.integer(1)))
    data = der.sequence(
        der.oid("1.2.840.113549.1.7.2"),
        der.explicit(0, der.sequence(head.removesuffix(inside) + number + signers)),
    )
    assert refused(data, None) == "the signature is malformed"


def test_malformed_attributes(ann: Person) -> None:
    """An attribute without its values makes all of them malformed, however well they are signed."""
    for odd in (der.sequence(der.oid("1.2.3")), der.set_of(der.oid("1.2.3"), der.set_of())):
        info = signer_info(ann, (content_type(), message_digest(), odd))
        assert refused(message(info, certificates=[ann.der])) == "the signature is malformed"


def test_nobody_to_ask(ann: Person) -> None:
    """A signature without its signer's certificate, or without content, says so."""
    assert "neither known nor in the message" in refused(message(signer_info(ann)))
    assert "content is missing" in refused(message(signer_info(ann), certificates=[ann.der]), None)


def test_large_certificates_are_passed_over(ann: Person) -> None:
    """What no honest certificate needs is not read, and so not remembered; the others beside it count."""
    large = der.sequence(der.octets(bytes(40_000)))
    data = message(signer_info(ann), certificates=[large, ann.der])

    assert signed_data.read(data).certificates == (ann.der,)
    assert verified(data)[0].beside == ()


def cuts(data: bytes) -> Iterator[bytes]:
    yield from (data[:end] for end in range(0, len(data), 7))
    yield data + b"\0"


def test_what_is_cut_off(ann: Person) -> None:
    """A message that is not whole is refused, and raises nothing else."""
    for data in cuts(message(signer_info(ann), certificates=[ann.der])):
        assert refused(data)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 1 << 16), octet=st.integers(1, 255))
def test_changed_anywhere(place: int, octet: int) -> None:
    """One changed octet gives a refusal, or the same signer over the same content; never another exception."""
    data = bytearray(_SAMPLE)
    data[place % len(data)] ^= octet
    try:
        (signer,) = verified(bytes(data))
    except SignatureError:
        return
    assert sha256(signer.certificate).hexdigest().upper() == signer.fingerprint


@given(st.binary(max_size=200))
def test_arbitrary_octets(data: bytes) -> None:
    """Whatever comes raises SignatureError and nothing else."""
    with pytest.raises(SignatureError):
        verified(data)
    assert not signed_data.is_signed(data)


def test_certificates_alone_are_no_signature(ann: Person) -> None:
    """A message that brings certificates only does not say that it is signed; any other SignedData does."""
    assert not signed_data.is_signed(message(certificates=[ann.der]))
    assert signed_data.is_signed(message(content=CONTENT))
    assert signed_data.is_signed(message(signer_info(ann)))
    assert signed_data.is_signed(message(*[signer_info(ann)] * 9))
    assert not signed_data.is_signed(cms.DATA)


def _sample() -> bytes:
    """Give one good message, made anew in each process."""
    import tempfile  # noqa: PLC0415 - for this alone

    with tempfile.TemporaryDirectory() as folder:
        person = Person(Path(folder), "sample", ec.generate_private_key(ec.SECP256R1()))
    return message(signer_info(person), certificates=[person.der])


_SAMPLE = _sample()
