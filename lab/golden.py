"""
The oddities that mail brings: at least a hundred messages, as bytes, each with a name that says what is odd.

They are made, not stored: bare CR, LF and NUL would not survive an editor or a repository's line-end rules.
`tests/golden` keeps a digest of each, so that none changes unseen.
"""

import base64
import random
from collections.abc import Iterator, Mapping

CRLF = b"\r\n"
_HEAD = b"From: Ann <ann@hosp.test>\r\nTo: bob@b.test\r\nDate: Mon, 02 Nov 2026 10:00:00 +0100\r\n"
_MIME = b"MIME-Version: 1.0\r\n"


def _mail(*fields: bytes, body: bytes = b"Hello.\r\n", head: bytes = _HEAD) -> bytes:
    return head + b"".join(field + CRLF for field in fields) + CRLF + body


def _headers() -> Iterator[tuple[str, bytes]]:
    """Oddities of the header block."""
    fields: dict[str, tuple[bytes, ...]] = {
        "plain": (b"Subject: plain",),
        "subject-empty": (b"Subject:",),
        "subject-blank": (b"Subject: ",),
        "subject-blanks-at-end": (b"Subject: blanks   ",),
        "subject-tab-after-colon": (b"Subject:\ttab",),
        "subject-no-blank-after-colon": (b"Subject:none",),
        "subject-two-blanks": (b"Subject:  two",),
        "subject-obsolete-blank": (b"Subject : obsolete",),
        "subject-obsolete-tab": (b"Subject\t: obsolete",),
        "subject-twice": (b"Subject: one", b"Subject: two"),
        "subject-three-cases": (b"SUBJECT: one", b"subject: two", b"sUbJeCt: three"),
        "subject-folded": (b"Subject: folded\r\n over\r\n\tthree lines",),
        "subject-folded-first": (b"Subject:\r\n starts on the second line",),
        "subject-folded-blank-line": (b"Subject: a\r\n \r\n b",),
        "subject-folded-blank-end": (b"Subject: a\r\n ",),
        "subject-encoded-b": (b"Subject: =?utf-8?B?w6TDtsO8?=",),
        "subject-encoded-q": (b"Subject: =?iso-8859-1?Q?Gr=FC=DFe_aus?= Ulm",),
        "subject-encoded-split": (b"Subject: =?utf-8?B?w6Q=?=\r\n =?utf-8?B?w7Y=?=",),
        "subject-encoded-broken": (b"Subject: =?utf-8?B?w6T?= =?nothing?X?y?=",),
        "subject-encoded-unknown-charset": (b"Subject: =?x-none?Q?abc?=",),
        "subject-8bit-latin1": (b"Subject: Gr\xfc\xdfe",),
        "subject-8bit-utf8": ("Subject: Grüße".encode(),),
        "subject-8bit-broken-utf8": (b"Subject: \xc3\x28 \xff\xfe",),
        "subject-control": (b"Subject: a\x01b\x07c\x1b[31m",),
        "subject-del": (b"Subject: a\x7fb",),
        "subject-colons": (b"Subject: Re: Fwd: AW: a:b::c",),
        "subject-998": (b"Subject: " + b"x" * 989,),
        "subject-999-folded": (b"Subject: " + b"x" * 500 + b"\r\n " + b"y" * 900,),
        "subject-stars": (b"Subject: * secure",),
        "subject-how-to-encrypt": (b"Subject: how to encrypt/decrypt a file",),
        "name-long": (b"X-" + b"n" * 200 + b": value",),
        "name-odd": (b"X-!#$%&'*+-.^_`|~0: odd but allowed",),
        "name-one-letter": (b"X: y",),
        "fields-200": tuple(b"X-Number-%d: %d" % (n, n) for n in range(200)),
        "fields-same-100": tuple(b"X-Same: %d" % n for n in range(100)),
        "received-many": tuple(
            b"Received: from h%d.test by h%d.test; Mon, 02 Nov 2026 10:00:00 +0100" % (n, n + 1) for n in range(20)
        ),
        "from-twice": (b"From: other@hosp.test", b"Subject: x"),
        "from-group": (b"Cc: a group: b@b.test, c@b.test;",),
        "to-undisclosed": (b"Cc: undisclosed-recipients:;",),
        "to-long": (b"Cc: " + b",\r\n ".join(b"person%d@b.test" % n for n in range(200)),),
        "to-comment": (b"Cc: bob@b.test (a (nested) comment)",),
        "to-quoted": (b'Cc: "a \\"b\\" c" <"odd local"@b.test>',),
        "bcc-field": (b"Subject: x", b"Cc: c@b.test", b"Comments: no Bcc here"),
        "resent": (b"Resent-From: ann@hosp.test", b"Resent-To: bob@b.test", b"Resent-Message-ID: <r1@hosp.test>"),
        "dkim-signature": (
            b"DKIM-Signature: v=1; a=rsa-sha256; d=hosp.test; s=x;\r\n\th=from:to; bh=AAAA;\r\n\tb=BBBB",
        ),
        "list-fields": (b"List-Id: <a.hosp.test>", b"List-Unsubscribe: <mailto:u@hosp.test>"),
        "authentication-results-foreign": (b"Authentication-Results: other.test; spf=pass",),
        "references-long": (b"References: " + b"\r\n ".join(b"<%d@hosp.test>" % n for n in range(60)),),
        "priority": (b"X-Priority: 1", b"Importance: high", b"Sensitivity: Personal"),
        "return-receipt": (b"Disposition-Notification-To: ann@hosp.test",),
        "mime-version-comment": (b"MIME-Version: 1.0 (made by hand)", b"Content-Type: text/plain"),
        "mime-version-missing": (b"Content-Type: text/html",),
    }
    for name, values in fields.items():
        yield f"header-{name}", _mail(*values)


def _shapes() -> Iterator[tuple[str, bytes]]:
    """Messages whose header and body do not part as usual."""
    yield "shape-no-header", CRLF + b"only a body\r\n"
    yield "shape-no-body", _HEAD
    yield "shape-no-body-empty-line", _HEAD + CRLF
    yield "shape-empty", b""
    yield "shape-one-empty-line", CRLF
    yield "shape-one-line", b"hello\r\n"
    yield "shape-no-empty-line", _HEAD + b"this is no header field\r\nnor this\r\n"
    yield "shape-starts-with-blank", b" folded from nowhere\r\n" + _mail(b"Subject: x")
    yield "shape-from-line", b"From ann@hosp.test Mon Nov  2 10:00:00 2026\r\n" + _mail(b"Subject: mbox")
    yield "shape-quoted-from-line", b">From ann@hosp.test Mon Nov  2 10:00:00 2026\r\n" + _mail(b"Subject: mbox")
    yield "shape-8bit-field-name", _HEAD + b"X-\xfcber: x\r\nSubject: behind\r\n\r\nbody\r\n"
    yield "shape-bad-field-in-the-middle", _HEAD + b"not a field\r\nSubject: in the body now\r\n\r\nbody\r\n"
    yield "shape-body-empty-lines-only", _mail(b"Subject: x", body=CRLF * 10)
    yield "shape-no-final-line-end", _mail(b"Subject: x", body=b"no line end here")
    yield "shape-no-from", b"Subject: no From\r\n\r\nbody\r\n"
    yield "shape-no-date", b"From: ann@hosp.test\r\nSubject: no Date\r\n\r\nbody\r\n"
    yield "shape-message-id-twice", _mail(b"Message-ID: <1@hosp.test>", b"Message-ID: <2@hosp.test>")
    yield "shape-date-broken", b"From: ann@hosp.test\r\nDate: yesterday\r\n\r\nbody\r\n"


def _bodies() -> Iterator[tuple[str, bytes]]:
    """Oddities of the body's bytes."""
    noise = random.Random(7)  # noqa: S311 - the same bytes each time
    bodies = {
        "dot": b".\r\nafter the dot\r\n",
        "dots": b"..\r\n...\r\n.x\r\n. \r\nx.\r\n",
        "dot-last": b"text\r\n.",
        "bare-cr": b"a\rb\r\rc\r\n",
        "bare-lf": b"a\nb\n\nc\r\n",
        "bare-cr-at-end": b"text\r",
        "lf-dot-lf": b"a\n.\nb\r\n",
        "lf-dot-crlf": b"a\n.\r\nb\r\n",
        "cr-dot-cr": b"a\r.\rb\r\n",
        "crcrlf": b"a\r\r\nb\r\r\n",
        "nul": b"a\x00b\r\n\x00\r\n",
        "control": bytes(range(1, 10)) + bytes(range(11, 13)) + bytes(range(14, 32)) + CRLF,
        "8bit": b"caf\xe9 \xa0\xff\r\n",
        "utf8": "Grüße, 日本語, 🦔\r\n".encode(),
        "utf8-cut": "🦔".encode()[:3] + CRLF,
        "utf16": "Hallo\r\n".encode("utf-16"),
        "trailing-blanks": b"blanks   \r\n\t\t\r\n   \r\n",
        "ff-vt": b"page\x0cbreak\x0b\r\n",
        "from-line": b"text\r\nFrom here on\r\n>From there\r\n",
        "looks-like-header": b"Subject: *secure* in the body\r\nX-Gatepost-Encrypt: yes\r\n",
        "empty-lines": b"\r\n\r\na\r\n\r\n\r\n",
        "line-998": b"x" * 998 + CRLF,
        "line-999": b"x" * 999 + CRLF,
        "line-2047": b"x" * 2047 + CRLF,
        "line-2048": b"x" * 2048 + CRLF,
        "line-2049": b"x" * 2049 + CRLF,
        "line-100k": b"x" * 100_000 + CRLF,
        "line-8bit-long": b"\xe4" * 5000 + CRLF,
        "one-byte": b"x",
        "one-line-end": CRLF,
        "chunk-65534": b"y" * 60 + CRLF + (b"z" * 62 + CRLF) * 1022 + b"ab\r\n",
        "chunk-65535": b"y" * 61 + CRLF + (b"z" * 62 + CRLF) * 1022 + b"ab\r\n",
        "chunk-65536": b"y" * 62 + CRLF + (b"z" * 62 + CRLF) * 1022 + b"ab\r\n",
        "chunk-crlf-split": b"q" * 65534 + CRLF + b"rest\r\n",
        "megabyte": base64.encodebytes(noise.randbytes(800_000)).replace(b"\n", CRLF),
        "spool-edge": (b"s" * 62 + CRLF) * 16384,
        "noise": noise.randbytes(20_000).replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"") + CRLF,
        "armour": b"-----BEGIN PGP MESSAGE-----\r\n\r\nnot really\r\n-----END PGP MESSAGE-----\r\n",
        "clearsigned": b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\n- -- dashes\r\n",
        "uuencode": b"begin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n",
    }
    for name, body in bodies.items():
        yield f"body-{name}", _mail(b"Subject: body", body=body)


def _parts(boundary: bytes, *parts: bytes, end: bytes = b"--") -> bytes:
    return b"".join(b"--" + boundary + CRLF + part + CRLF for part in parts) + b"--" + boundary + end + CRLF


def _multipart(kind: bytes, boundary: bytes, body: bytes) -> bytes:
    field = b"Content-Type: multipart/" + kind + b"; boundary=" + boundary
    return _mail(_MIME.rstrip(), field, b"Subject: parts", body=body)


def _structures() -> Iterator[tuple[str, bytes]]:
    """Oddities of MIME."""
    text = b"Content-Type: text/plain; charset=utf-8\r\n\r\ntext\r\n"
    html = b'Content-Type: text/html\r\n\r\n<p>text<img src="cid:1@x">\r\n'
    image = (
        b"Content-Type: image/png\r\nContent-ID: <1@x>\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0=\r\n"
    )
    inner = _parts(b"in", text, html)
    nested = b"Content-Type: multipart/alternative; boundary=in\r\n\r\n" + inner
    yield "mime-alternative", _multipart(b"alternative", b"b1", _parts(b"b1", text, html))
    yield "mime-related-inline-image", _multipart(b"related", b"b1", _parts(b"b1", html, image))
    yield "mime-mixed-nested", _multipart(b"mixed", b"out", _parts(b"out", nested, image))
    yield "mime-boundary-quoted-blank", _multipart(b"mixed", b'"a b"', _parts(b"a b", text))
    yield "mime-boundary-70", _multipart(b"mixed", b"b" * 70, _parts(b"b" * 70, text))
    yield "mime-boundary-prefix", _multipart(b"mixed", b"ab", _parts(b"ab", text, b"--abc no boundary\r\n"))
    yield "mime-boundary-missing", _multipart(b"mixed", b"nowhere", b"no boundary at all\r\n")
    yield "mime-boundary-empty", _multipart(b"mixed", b'""', _parts(b"", text))
    yield "mime-boundary-not-closed", _multipart(b"mixed", b"b1", _parts(b"b1", text, end=b""))
    yield (
        "mime-boundary-trailing-blanks",
        _multipart(b"mixed", b"b1", _parts(b"b1", text).replace(b"--b1\r", b"--b1  \r")),
    )
    yield "mime-preamble-epilogue", _multipart(b"mixed", b"b1", b"before\r\n" + _parts(b"b1", text) + b"after\r\n")
    yield "mime-no-parts", _multipart(b"mixed", b"b1", b"--b1--\r\n")
    yield "mime-empty-body", _multipart(b"mixed", b"b1", b"")
    yield "mime-part-without-header", _multipart(b"mixed", b"b1", _parts(b"b1", b"\r\nbare part\r\n"))
    yield "mime-part-empty", _multipart(b"mixed", b"b1", _parts(b"b1", b""))
    yield (
        "mime-signed",
        _multipart(
            b'signed; protocol="application/pgp-signature"; micalg=pgp-sha512',
            b"b1",
            _parts(b"b1", text, b"Content-Type: application/pgp-signature\r\n\r\nxx\r\n"),
        ),
    )
    yield (
        "mime-report",
        _multipart(
            b"report; report-type=delivery-status",
            b"b1",
            _parts(b"b1", text, b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n"),
        ),
    )
    yield "mime-digest", _multipart(b"digest", b"b1", _parts(b"b1", b"\r\n" + _mail(b"Subject: inner")))
    singles = {
        "rfc822": (b"Content-Type: message/rfc822", _mail(b"Subject: *secure* inner")),
        "partial": (b'Content-Type: message/partial; id="x"; number=1; total=2', b"half\r\n"),
        "external-body": (
            b"Content-Type: message/external-body; access-type=URL",
            b"Content-Type: text/plain\r\n\r\n",
        ),
        "type-garbage": (b"Content-Type: ;;;=/", b"x\r\n"),
        "type-twice": (b"Content-Type: text/plain\r\nContent-Type: text/html", b"<b>which?</b>\r\n"),
        "type-folded": (b'Content-Type:\r\n\ttext/plain;\r\n\tcharset=\r\n\t"utf-8"', b"x\r\n"),
        "type-rfc2231": (b"Content-Type: text/plain; name*0*=utf-8''%C3%A4; name*1=\"b.txt\"", b"x\r\n"),
        "cte-unknown": (b"Content-Transfer-Encoding: x-none", b"x\r\n"),
        "cte-twice": (b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit", b"aGVsbG8=\r\n"),
        "cte-base64-broken": (b"Content-Transfer-Encoding: base64", b"aGVs*bG8\r\n=\r\nmore\r\n"),
        "cte-qp-broken": (b"Content-Transfer-Encoding: quoted-printable", b"=ZZ=\r\n=\r\n=e4=\r\n"),
        "cte-8bit": (b"Content-Transfer-Encoding: 8bit", b"\xe4\xf6\xfc\r\n"),
        "tnef": (b"Content-Type: application/ms-tnef; name=winmail.dat", b"eJ8+Ig==\r\n"),
        "calendar": (b"Content-Type: text/calendar; method=REQUEST", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"),
        "format-flowed": (
            b"Content-Type: text/plain; format=flowed; delsp=yes",
            b"soft \r\nbreak\r\n-- \r\nsig\r\n",
        ),
    }
    for name, (field, body) in singles.items():
        yield f"mime-{name}", _mail(_MIME.rstrip(), field, body=body)
    deep = text
    for level in range(30):
        boundary = b"l%d" % level
        deep = b"Content-Type: multipart/mixed; boundary=" + boundary + CRLF * 2 + _parts(boundary, deep)
    yield "mime-30-levels", _mail(_MIME.rstrip(), deep.partition(CRLF)[0], body=deep.partition(CRLF * 2)[2])


def messages() -> Mapping[str, bytes]:
    """Give all golden messages by name."""
    return {name: message for group in (_headers, _shapes, _bodies, _structures) for name, message in group()}
