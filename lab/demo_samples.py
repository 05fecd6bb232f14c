"""
The demo's sample messages: what each is, who gets it, and what each of them must receive.

`introduce` enters what the samples need beyond the town.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from lab.demo_arrival import AS_WRITTEN, CLEAR, CLOSED, NOTHING, NOTICE, WAITING, Content, Form
from lab.letter import canary, letter, multipart, part, pgp_mime
from lab.smime import Smime
from lab.town import KEY_HOLDERS, OWN, Town

RULES = """\
[[rule]]
name = "plans of a merger never leave"
when = { direction = "out", subject = "merger" }
demand = "reject"
"""
HELD_NOTICE = Form(CLEAR, ("Your message waits in quarantine",), NOTICE)
_EXPIRED = ("--faked-system-time", "20240101T000000", "--passphrase", "", "--quick-generate-key")
_TEXT = "Content-Type: text/plain; charset=utf-8"
_QUESTION = "<question-1@plain.test>"
_UNSIGNED = "decrypted=no; signed=none; came=plain"


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One message, or the release of one that is held.

    `expected` gives each recipient's form, in order, and under the sender's address the gateway's notice, if any.
    `door` is where the message comes in. With `release` nothing is sent: that recipient's key is imported and its
    held copy released. `reply` is how the server's answer must begin. `about` tells what is special, for people.
    """

    title: str
    sender: str
    expected: Mapping[str, Form]
    message: bytes
    content: Content
    about: str = ""
    door: Literal["inside", "outside"] = "inside"
    reply: str = "250"
    release: str = ""
    why: Mapping[str, str] = field(default_factory=dict)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The envelope's recipients."""
        return tuple(address for address in self.expected if address != self.sender)

    @property
    def subject(self) -> str:
        """The subject as sent, the first if there are several."""
        head = self.message.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
        return next((line[9:] for line in head if line.startswith("Subject: ")), "")


def introduce(town: Town, smime: Smime) -> Mapping[str, str]:
    """Enter the demo's own partners, keys, certificates and rule; give the owner of each OpenPGP fingerprint."""
    site, gpg = town.site, town.gpg
    (site.folder / "rules" / "90-merger.toml").write_text(RULES)
    for domain in ("clinic.test", "smime.test"):
        town.postfix.route(domain, town.outside.port)
    site.gatepost("key", "import", smime.certificate("sam@smime.test", "rsa"))
    site.gatepost("key", "import", smime.certificate("smime.test"), "--for", "smime.test")
    gpg.run(*_EXPIRED, "Otto <otto@plain.test>", "future-default", "default", "1d")
    dora, clinic, new = "Dora <dora@clinic.test>", "Clinic <desk@clinic.test>", "New <new@plain.test>"
    theirs = town.folder / "demo.asc"
    theirs.write_bytes(gpg.export(dora) + gpg.run("--armor", "--export", "otto@plain.test").stdout)
    site.gatepost("key", "import", theirs)
    site.gatepost("key", "import", gpg.export_to(town.folder / "clinic.asc", clinic), "--for", "clinic.test")
    mia = site.json("key", "generate", "openpgp", "--for", f"mia@{OWN}")["keys"][0]["fingerprint"]
    gpg.import_key(site.gatepost("key", "export", mia).stdout.encode())
    owners = {gpg.fingerprint(f"<{address}>"): address for address in (*KEY_HOLDERS, "dora@clinic.test")}
    owners[gpg.fingerprint(f"gatepost@{OWN}")] = OWN
    return owners | {gpg.key(clinic): "clinic.test", gpg.key(new): "new@plain.test", mia: f"mia@{OWN}"}


def samples(town: Town) -> Iterator[Sample]:
    """Give every sample in the order in which they are sent; each is made when the one before has arrived."""
    yield from _plain()
    yield from _openpgp()
    yield from _smime()
    yield from _structured()
    yield from _held()
    yield from _inbound(town)
    yield from _tls()


def _plain() -> Iterator[Sample]:
    """Mail that needs no protection, or may have none."""
    yield _sample("internal, with a tag", "sue", {"doc@hosp.test": _form(CLEAR, "*secure* rota")}, "*secure* rota")
    yield _sample("outside, nothing asked", "sue", {"joe@plain.test": _form(CLEAR, "lunch")}, "lunch")


def _openpgp() -> Iterator[Sample]:
    """Give what makes mail go out encrypted, and to whose key."""
    mark = "[-Encrypted-] results"
    yield _sample("sender's tag", "sue", {"kim@plain.test": _for("kim@plain.test", mark)}, "*secure* results")
    yield _sample("tag encrypt/", "sue", {"kim@plain.test": _for("kim@plain.test", mark)}, "encrypt/ results")
    fields = ("Sensitivity: Company-Confidential",)
    budget = {"kim@plain.test": _for("kim@plain.test", "budget [-Encrypted-]")}
    yield _sample("field Sensitivity", "sue", budget, "budget", fields=fields, about=fields[0])
    standing = {"ann@pgp.test": _for("ann@pgp.test", "minutes")}
    yield _sample("partner's standing demand", "sue", standing, "minutes", about="the subject stays as it is")
    clinic = {
        "dora@clinic.test": _signed_for("dora@clinic.test", mark),
        "fred@clinic.test": _signed_for("clinic.test", mark),
    }
    about = "dora has a key, fred has not, and is in Bcc"
    yield _sample("own key, domain's key", "sue", clinic, "*secure* results", to="dora@clinic.test", about=about)
    two = Form("OpenPGP for kim@plain.test", ("first [-Encrypted-]", "[-Encrypted-] second"), AS_WRITTEN)
    fields = ("Subject: *secure* second",)
    about = "the tag is in the second"
    yield _sample("two Subject fields", "sue", {"kim@plain.test": two}, "first", fields=fields, about=about)


def _smime() -> Iterator[Sample]:
    """Give what goes out as S/MIME: to a person's certificate, and to that of a gateway for a whole domain."""
    mark = "[-Encrypted-] results"
    both = {
        "sam@smime.test": _form("S/MIME for sam@smime.test", mark),
        "sid@smime.test": _form("S/MIME for smime.test", mark),
    }
    about = "sam has a certificate, sid has not, and is in Bcc"
    yield _sample(
        "certificate, domain's certificate", "sue", both, "*secure* results", to="sam@smime.test", about=about
    )


def _structured() -> Iterator[Sample]:
    """HTML with an inline image and an attachment, to one who gets it in clear and one who gets it encrypted."""
    word = canary()
    html = f'Content-Type: text/html\r\n\r\n<p>{word} <img src="cid:scan@hosp.test"></p>\r\n'.encode()
    inline = ("Content-ID: <scan@hosp.test>", "Content-Disposition: inline")
    line, related = multipart("related", html, part(os.urandom(20_000), "image/png", *inline), boundary="in")
    attached = part(os.urandom(50_000), "application/pdf", 'Content-Disposition: attachment; filename="scan.pdf"')
    entity = multipart("mixed", f"{line}\r\n\r\n".encode() + related, attached)
    expected = {
        "doc@hosp.test": _form(CLEAR, "[secure] scan"),
        "ann@pgp.test": _for("ann@pgp.test", "[-Encrypted-] scan"),
    }
    about = "HTML, image, 50 KB PDF"
    yield _sample(
        "inline image, attachment", "sue", expected, "[secure] scan", entity=(*entity, word), about=about
    )


def _held() -> Iterator[Sample]:
    """Give what may not leave: held with a notice to the sender, or refused; and let go once there is a key."""
    subject, mark = "*secure* all of you", "[-Encrypted-] all of you"
    mixed = {
        "lee@hosp.test": _form(CLEAR, subject),
        "bob@pgp.test": _for("bob@pgp.test", mark),
        "carol@tls.test": _form(f"{CLEAR} inside TLSv1.3", mark),
        "noel@plain.test": NOTHING,
        "mel@hosp.test": HELD_NOTICE,
    }
    yield _sample("four kinds in one message", "mel", mixed, subject, about="noel has no key: held")
    expired = {"otto@plain.test": NOTHING, "olga@hosp.test": HELD_NOTICE}
    yield _sample("expired key is not used", "olga", expired, "*secure* results", about="held, like no key at all")
    merger = {"joe@plain.test": NOTHING, "ann@pgp.test": NOTHING}
    yield _sample("a rule rejects", "sue", merger, "merger plan", reply="550 5.7.1", about="nobody gets anything")
    held = _sample(
        "no key: held", "nell", {"new@plain.test": NOTHING, "nell@hosp.test": HELD_NOTICE}, "*secure* x"
    )
    yield held
    released = {"new@plain.test": _signed_for("new@plain.test", "[-Encrypted-] x")}
    why = {"new@plain.test": "released: decided again, with the key imported meanwhile"}
    yield replace(
        held, title="key imported: released", expected=released, release="new@plain.test", about="", why=why
    )


def _inbound(town: Town) -> Iterator[Sample]:
    """Give mail from outside: encrypted to mia, the answer to it, and what outsiders may not pretend."""
    word, key = canary(), town.gpg.fingerprint("<kim@plain.test>")
    body = f"{word}: for mia alone.\r\n".encode()
    line, outer = pgp_mime(town.gpg.encrypt(f"{_TEXT}\r\n\r\n".encode() + body, ["<mia@hosp.test>"], signer=key))
    opened = Content(_TEXT.partition(": ")[2], body, word.encode())
    signed = f"decrypted=openpgp; signed=pass by=kim@plain.test key={key} trust=admin; came=plain"
    expected = {"mia@hosp.test": _form(CLEAR, "a question", signed)}
    asked = _sample(
        "encrypted to mia, for mia",
        "kim@plain.test",
        expected,
        "a question",
        entity=(line, outer, word),
        message_id=_QUESTION,
        door="outside",
    )
    yield replace(asked, content=opened)
    fields = (f"In-Reply-To: {_QUESTION}",)
    answer = {"kim@plain.test": _for("kim@plain.test", "Re: a question [-Encrypted-]")}
    about = "no tag: the conversation is protected"
    yield _sample("mia's answer", "mia", answer, "Re: a question", fields=fields, about=about)
    yield from _captured(town, (line, outer, word))
    claim = f"Gatepost-Result: gatepost.{town.postfix.hostname}; decrypted=openpgp; signed=pass by=ceo@hosp.test"
    yield _sample(
        "forged Gatepost-Result and mark",
        "mal@plain.test",
        {"ida@hosp.test": _form(CLEAR, "pay this", _UNSIGNED)},
        "pay this [-Encrypted-]",
        fields=(claim,),
        door="outside",
        about="claims: decrypted, signed by the boss",
    )


def _captured(town: Town, captured: tuple[str, bytes, str]) -> Iterator[Sample]:
    """Give what is sent by somebody who wants it opened: captured mail, and mail to another's key."""
    yield _sample(
        "kim's message again",
        "mal@plain.test",
        {"mia@hosp.test": _form(CLOSED, "open this", f"{_UNSIGNED}; flag=replayed")},
        "open this",
        entity=captured,
        door="outside",
        about="captured: it belongs to kim",
    )
    word = canary()
    cipher = town.gpg.encrypt(f"{_TEXT}\r\n\r\n{word}\r\n".encode(), ["<mia@hosp.test>"])
    yield _sample(
        "encrypted to mia, for an accomplice",
        "mal@plain.test",
        {"moe@hosp.test": _form(CLOSED, "open this too", f"{_UNSIGNED}; flag=undecryptable")},
        "open this too",
        entity=(*pgp_mime(cipher), word),
        door="outside",
        about="mia's key opens mail for mia only",
    )


def _tls() -> Iterator[Sample]:
    """TLS that is checked at delivery; the one that must wait comes last, as it stays in the queue."""
    inside_tls = f"{CLEAR} inside TLSv1.3"
    yield _sample("TLS by name and CA", "sue", {"carol@tls.test": _form(inside_tls, "offer")}, "offer")
    yield _sample("TLS by fingerprint", "sue", {"carl@pin.test": _form(inside_tls, "offer")}, "offer")
    about = "the server's CA is unknown"
    yield _sample("TLS, wrong certificate", "sue", {"walt@wrong.test": WAITING}, "offer", about=about)


def _form(way: str, subject: str, *results: str) -> Form:
    return Form(way, (subject,), AS_WRITTEN, results)


def _for(owner: str, subject: str) -> Form:
    return _form(f"OpenPGP for {owner}", subject)


def _sample(
    title: str,
    sender: str,
    expected: Mapping[str, Form],
    subject: str,
    *,
    fields: tuple[str, ...] = (),
    entity: tuple[str, bytes, str] | None = None,
    about: str = "",
    door: Literal["inside", "outside"] = "inside",
    reply: str = "250",
    to: str = "",
    message_id: str | None = None,
) -> Sample:
    """
    Write a sample of a text, or of `entity`: Content-Type line, body and the word in it.

    `to` goes into To: instead of all recipients.
    """
    sender = sender if "@" in sender else f"{sender}@{OWN}"
    if entity is None:
        word = canary()
        entity = (_TEXT, f"Hello,\r\n\r\n{word}\r\n.\r\n-- \r\n{sender}\r\n".encode(), word)
    line, body, word = entity
    to = to or ", ".join(address for address in expected if address != sender)
    all_fields = (line, "MIME-Version: 1.0", *fields)
    message = letter(body, sender=sender, to=to, subject=subject, message_id=message_id, fields=all_fields)
    content = Content(line.partition(": ")[2], body, word.encode())
    return Sample(title, sender, expected, message, content, about, door, reply)


def _signed_for(owner: str, subject: str) -> Form:
    """Give the form of what is encrypted to an owner's key, and signed with our domain's."""
    return _form(f"OpenPGP for {owner}, signed by {OWN}", subject)
