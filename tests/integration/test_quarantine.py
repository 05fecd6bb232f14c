"""
A message that may not leave is held, its sender told, and released once a key is there.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.client import Envelope, send
from lab.gpg import Gpg
from lab.place import short_folder
from lab.postfix import Postfix
from lab.sink import Sink
from lab.site import GatepostSite
from lab.wait import until

pytestmark = pytest.mark.real

_BODY = b"the patient is called Canary\r\n"
_MESSAGE = (
    b"From: Ann <ann@hosp.test>\r\nTo: <new@plain.test>\r\nSubject: *secure* results\r\n"
    b"Message-ID: <held-1@hosp.test>\r\n\r\n" + _BODY
)


@dataclass(frozen=True)
class Place:
    """A site, its Postfix, a mailbox inside and a receiver outside."""

    site: GatepostSite
    postfix: Postfix
    inside: Sink
    outside: Sink
    gpg: Gpg


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with short_folder() as folder, Sink() as inside, Sink() as outside, contextlib.ExitStack() as stack:
        gpg = Gpg(folder / "gpg")
        stack.callback(gpg.close)
        routes = {"hosp.test": inside.port, "plain.test": outside.port}
        postfix = Postfix(folder / "p", routes=routes, relay_domains=["hosp.test"])
        site = GatepostSite(folder / "gatepost", postfix, domains=["hosp.test"]).create()
        stack.enter_context(postfix)
        stack.callback(site.stop)
        site.start()
        yield Place(site, postfix, inside, outside, gpg)


def _held(place: Place) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(place.site.gatepost("quarantine", "list", "--json").stdout)["held"]
    return found


def test_held_told_and_released(place: Place) -> None:
    """
    Nothing leaves while there is no key; the sender learns it; with a key the release sends it encrypted.

    What is decrypted at the receiver is the body as it was sent.
    """
    envelope = Envelope.of("ann@hosp.test", "new@plain.test", "ben@hosp.test")
    assert send(place.postfix.inside_port, envelope, _MESSAGE).ok

    place.inside.wait_for_recipients({"ben@hosp.test", "ann@hosp.test"})
    notice = next(one for one in place.inside.messages if "ann@hosp.test" in one.addresses)
    assert notice.sender == ""
    assert b"new@plain.test" in notice.body
    assert b"Canary" not in notice.data
    assert place.outside.messages == []
    (held,) = _held(place)
    assert held["recipients"] == ["new@plain.test"]
    vault = place.site.folder / "vault"
    assert all(b"Canary" not in file.read_bytes() for file in vault.iterdir())

    keys = place.gpg.export_to(place.site.folder / "new.asc", "New <new@plain.test>")
    place.site.gatepost("key", "import", keys, "--for", "new@plain.test")
    place.site.gatepost("quarantine", "release", str(held["id"]))

    (copy,) = place.outside.wait_for(1)
    assert copy.addresses == ("new@plain.test",)
    assert b"Canary" not in copy.data
    assert _BODY.strip() in place.gpg.decrypt(copy.body).data
    assert _held(place) == []
    until(lambda: list(vault.iterdir()) == [], 30, "the vault is empty")
