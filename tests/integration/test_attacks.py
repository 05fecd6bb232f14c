"""
Mails that attack a gateway, sent through a real Postfix: what each insider gets, judged from the octets received.

The mails, and what may come of them, lie in tests/golden/attacks; `lab/attacks` makes them.
"""

import email
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from lab.attacks.__main__ import mails
from lab.attacks.people import DOC, EVE, GOLDEN, KEYS, KIM, OWN, WARD
from lab.client import Envelope, send
from lab.gpg import Gpg
from lab.place import short_folder
from lab.postfix import Postfix
from lab.sink import Received, Sink
from lab.site import GatepostSite

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

KINDS = sorted(folder.name for folder in GOLDEN.iterdir() if folder != KEYS)
_LIVE = {"a", "base", "embed", "form", "iframe", "img", "link", "meta", "object", "script", "style", "svg"}
_INERT = {"text/plain", "text/html", "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Hospital:
    """The site under attack, and the mailboxes of insiders and outsiders."""

    postfix: Postfix
    inside: Sink
    outside: Sink

    def arrived(self, sender: str, recipients: list[str], message: bytes) -> dict[str, Received]:
        """Send a message from outside; gives what each recipient got."""
        self.inside.clear()
        assert send(self.postfix.outside_port, Envelope.of(sender, *recipients), message).ok
        self.inside.wait_for_recipients(recipients)
        return {address: one for one in self.inside.messages for address in one.addresses}


@pytest.fixture(scope="module")
def hospital() -> Iterator[Hospital]:
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        inside, outside = stack.enter_context(Sink(name="inside")), stack.enter_context(Sink(name="outside"))
        routes = {OWN: inside.port, WARD: inside.port, "partner.test": outside.port, "evil.test": outside.port}
        postfix = Postfix(folder / "p", hostname="mail.hosp.test", routes=routes, relay_domains=[OWN, WARD])
        site = GatepostSite(folder / "gatepost", postfix, domains=[OWN, WARD]).create()
        _give_keys(site, folder)
        stack.enter_context(postfix)
        stack.callback(site.stop)
        site.start()
        yield Hospital(postfix, inside, outside)


def _give_keys(site: GatepostSite, folder: Path) -> None:
    """Give the site its own keys, and those of kim and eve."""
    for name, options in ((DOC, ()), (OWN, ("--for", OWN))):
        both = folder / f"{name}.both"
        both.write_bytes((KEYS / f"{name}.key").read_bytes() + (KEYS / f"{name}.pem").read_bytes())
        for file in (both, KEYS / f"{name}.asc"):
            site.gatepost("key", "import", "--private", file, *options)
    gpg = Gpg(folder / "gpg")
    for name in (KIM, EVE):
        gpg.import_key((KEYS / f"{name}.asc").read_bytes())
        public = folder / f"{name}.public"
        public.write_bytes(gpg.run("--armor", "--export", name).stdout)
        site.gatepost("key", "import", public)
        site.gatepost("key", "import", KEYS / f"{name}.pem")
    gpg.close()


@pytest.mark.parametrize("kind", KINDS)
def test_attacks(hospital: Hospital, kind: str) -> None:
    """Nobody gets what is not theirs, nothing is called signed that is not, and no clear text leaves."""
    faults = [
        f"{folder.name}: {fault}"
        for folder in sorted((GOLDEN / kind).iterdir())
        for fault in _faults(hospital, folder)
    ]
    assert not faults, "\n".join(faults)


def _faults(hospital: Hospital, folder: Path) -> Iterator[str]:
    expected = json.loads((folder / "expected.json").read_text())
    recipients = list(expected["insiders"])
    message = (folder / "message.eml").read_bytes()
    if "first_sender" in expected:
        hospital.arrived(expected["first_sender"], recipients, (folder / "first.eml").read_bytes())
    got = hospital.arrived(expected["sender"], recipients, message)
    for address, gets in expected["insiders"].items():
        for fault in _differences(gets, message, got[address]):
            yield f"{address}: {fault}; {got[address].values('Gatepost-Result')}"
    yield from (f"went to {one.addresses}" for one in hospital.outside.messages)
    hospital.outside.clear()


def _differences(gets: dict[str, Any], message: bytes, received: Received) -> Iterator[str]:
    """Tell in what a message differs from what an insider may get."""
    (result,) = received.values("Gatepost-Result")
    said = dict(re.findall(r"(decrypted|signed|by|flag)=([^; ]+)", result))
    flags = set(said.get("flag", "").split(",")) - {""}
    content = email.message_from_bytes(received.data)
    words = b"\n".join((received.data, *map(_decoded, _leaves(content)))).decode("utf-8", "replace")
    yield from (f"{key}={said[key]}" for key in ("decrypted", "signed") if said[key] not in gets[key])
    yield from (f"lacks the flag {one}" for one in gets["flags"] if one not in flags)
    if gets["one_of"] and not flags & set(gets["one_of"]):
        yield f"lacks one of the flags {gets['one_of']}"
    if (said["decrypted"] != "no" and said["signed"] != "pass") is not ("unauthenticated" in flags):
        yield "the flag unauthenticated is wrong"
    if said.get("by") in gets["never_by"]:
        yield f"signed by {said['by']}"
    if gets["as_it_came"] and received.body != message.partition(b"\r\n\r\n")[2]:
        yield "not as it came"
    yield from (f"{word} cannot be read" for word in gets["clear"] if word not in words)
    yield from (f"{word} can be read" for word in gets["hidden"] if word in words)
    if gets["inert"] and said["decrypted"] != "no":
        yield from (f"{one.get_content_type()} is live" for one in _leaves(content) if not _is_inert(one))


def _leaves(message: Message) -> list[Message]:
    return [one for one in message.walk() if not one.is_multipart()]


def _decoded(leaf: Message) -> bytes:
    found = leaf.get_payload(decode=True)
    return found if isinstance(found, bytes) else b""


def _is_inert(leaf: Message) -> bool:
    kind = leaf.get_content_type()
    if kind == "application/octet-stream" and leaf.get_content_disposition() != "attachment":
        return False
    return kind in _INERT and (kind != "text/html" or _Tags.none_live(_decoded(leaf).decode("utf-8", "replace")))


class _Tags(HTMLParser):
    """Reads HTML as a mail program does, and notes what loads, runs or refers to something."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _LIVE or attrs:
            self.live.append(tag)

    @classmethod
    def none_live(cls, text: str) -> bool:
        """Tell whether there is nothing of that kind."""
        reader = cls()
        reader.feed(text)
        reader.close()
        return not reader.live


def test_every_attack_is_written(tmp_path: Path) -> None:
    """The golden files are what their makers write, at least eight of a kind."""
    counts: dict[str, int] = {}
    for mail in mails():
        counts[mail.kind] = counts.get(mail.kind, 0) + 1
        name = f"{counts[mail.kind]:02}-{mail.name}"
        mail.write(tmp_path / mail.kind / name)
        for file in (tmp_path / mail.kind / name).iterdir():
            assert file.read_bytes() == (GOLDEN / mail.kind / name / file.name).read_bytes()
    assert sorted(counts) == KINDS
    assert {kind: len(list((GOLDEN / kind).iterdir())) for kind in KINDS} == counts
    assert min(counts.values()) >= 8
