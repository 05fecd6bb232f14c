"""Entities that attacks are made of, each with its header fields in front."""

import base64
import quopri


def text(words: str, *fields: str) -> bytes:
    """Write plain text."""
    return _entity("text/plain; charset=utf-8", words.encode() + b"\r\n", *fields)


def html(words: str, *fields: str) -> bytes:
    """Write HTML as it stands."""
    return _entity("text/html; charset=utf-8", words.encode() + b"\r\n", *fields)


def in_base64(kind: str, content: bytes, *fields: str) -> bytes:
    """Write content of a kind in base64."""
    body = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return _entity(kind, body, "Content-Transfer-Encoding: base64", *fields)


def quoted(kind: str, content: bytes, *fields: str) -> bytes:
    """Write content of a kind as quoted-printable."""
    lines = quopri.encodestring(content).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return _entity(kind, lines, "Content-Transfer-Encoding: quoted-printable", *fields)


def parts(kind: str, *entities: bytes, preamble: bytes = b"", epilogue: bytes = b"", name: str = "outer") -> bytes:
    """Write a multipart: `kind` is a subtype, with parameters behind it; `name` makes its boundary."""
    boundary = f"={name}=".encode()
    body = preamble + b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in entities)
    subtype, _, parameters = kind.partition(";")
    more = f";{parameters}" if parameters else ""
    head = f'multipart/{subtype}; boundary="{boundary.decode()}"{more}'
    return _entity(head, body + b"--" + boundary + b"--\r\n" + epilogue)


def pgp_encrypted(armor: bytes, *more: bytes, preamble: bytes = b"", epilogue: bytes = b"") -> bytes:
    """Write PGP/MIME around an encrypted message (RFC 3156 section 4); `more` are parts that do not belong."""
    control = _entity("application/pgp-encrypted", b"Version: 1\r\n")
    message = _entity("application/octet-stream; name=encrypted.asc", armor)
    kind = 'encrypted; protocol="application/pgp-encrypted"'
    return parts(kind, control, message, *more, preamble=preamble, epilogue=epilogue, name="pgp")


def pgp_signed(signed: bytes, armor: bytes) -> bytes:
    """Write PGP/MIME around signed content (RFC 3156 section 5)."""
    signature = _entity("application/pgp-signature; name=signature.asc", armor)
    kind = 'signed; protocol="application/pgp-signature"; micalg=pgp-sha256'
    return parts(kind, signed, signature, name="signed")


def cms(data: bytes, kind: str, *fields: str) -> bytes:
    """Write CMS, by its smime-type (RFC 8551 section 3.2.2)."""
    return in_base64(f"application/pkcs7-mime; smime-type={kind}; name=smime.p7m", data, *fields)


def cms_signed(signed: bytes, data: bytes, *, media: str = "application/pkcs7-signature") -> bytes:
    """Write signed content with CMS beside it (RFC 8551 section 3.5.3)."""
    signature = in_base64(f"{media}; name=smime.p7s", data)
    return parts(f'signed; protocol="{media}"; micalg=sha-256', signed, signature, name="signed")


def forwarded(message: bytes, *fields: str, kind: str = "message/rfc822") -> bytes:
    """Write a message as a part of another."""
    return _entity(kind, message, *fields)


def with_fields(entity: bytes, *fields: str) -> bytes:
    """Put more fields in front of an entity."""
    return b"".join(f"{field}\r\n".encode() for field in fields) + entity


def _entity(kind: str, body: bytes, *fields: str) -> bytes:
    head = (f"Content-Type: {kind}", *fields)
    return b"".join(f"{line}\r\n".encode() for line in head) + b"\r\n" + body
