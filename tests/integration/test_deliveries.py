"""
What became of protected copies, as a real Postfix logged it: recorded once, shown by `why`, told to who must know.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from lab.letter import letter
from lab.place import short_folder
from lab.sink import Received
from lab.town import Town, build
from lab.wait import until

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """Give a town whose Gatepost follows Postfix's log and tells of every delay."""
    with short_folder() as folder, ExitStack() as stack:
        log = folder / "p" / "maillog"
        settings = {"postfix.log": str(log), "gateway.deferral_minutes": 0}
        built = build(folder, stack, settings=settings)
        stack.enter_context(built.postfix)
        stack.callback(built.site.stop)
        built.site.start()
        until(lambda: _has_begun(built), 60, "the follower has begun")
        yield built


def _has_begun(town: Town) -> bool:
    """Tell whether the follower has noted where it began."""
    with closing(sqlite3.connect(town.site.folder / "gatepost.db")) as connection:
        return bool(connection.execute("SELECT count(*) FROM log_position").fetchone()[0])


def mail(town: Town, sender: str, *recipients: str) -> str:
    """Send a message, and give its Message-ID."""
    message_id = f"<{sender}.{recipients[0]}>"
    message = letter(b"Canary\r\n", sender=sender, to=recipients[0], subject="x", message_id=message_id)
    assert town.send(sender, *recipients, message=message).ok
    return message_id


def deliveries(town: Town, message_id: str) -> dict[str, list[dict[str, Any]]]:
    """Give what `why` says of each recipient's copy."""
    done = town.site.gatepost("--json", "why", message_id, check=False)
    events = json.loads(done.stdout)["events"] if done.returncode == 0 else []
    return {one["recipient"]: one["deliveries"] for one in events}


def until_told(town: Town, message_id: str, recipient: str, status: str) -> dict[str, Any]:
    """Wait until `why` says so of a recipient's copy, and give it."""

    def found() -> list[dict[str, Any]]:
        return [one for one in deliveries(town, message_id).get(recipient, []) if one["status"] == status]

    until(found, 60, lambda: f"{recipient}: {status}; {town.site.log()[-2000:]}\n{town.postfix.log()[-3000:]}")
    return found()[0]


def notices(town: Town, sender: str) -> list[Received]:
    return [one for one in town.inside.messages if one.sender == "" and one.addresses == (sender,)]


def test_how_copies_went(town: Town) -> None:
    """TLS with version, cipher and Verified; OpenPGP to a server without TLS; `why` tells people as well."""
    message_id = mail(town, "kay@hosp.test", "b@tls.test", "ann@pgp.test", "in@hosp.test")
    by_tls = until_told(town, message_id, "b@tls.test", "sent")
    encrypted = until_told(town, message_id, "ann@pgp.test", "sent")

    assert (by_tls["peer"], by_tls["tls"]) == ("Verified", "TLSv1.3")
    received = next(one for one in town.tls.messages if one.addresses == ("b@tls.test",))
    assert received.tls is not None
    assert by_tls["cipher"] == received.tls.cipher
    assert by_tls["relay"] == f"127.0.0.1[127.0.0.1]:{town.tls.port}"
    assert "tls" not in encrypted
    assert encrypted["reply"] == "250 2.0.0 kept"
    assert deliveries(town, message_id)["in@hosp.test"] == []
    text = town.site.gatepost("why", message_id).stdout
    assert "sent over TLSv1.3 (Verified, " in text
    assert "sent without TLS, as far as the log tells" in text
    copy = by_tls["queue_id"]
    assert message_id in town.site.gatepost("why", copy).stdout


def test_the_sender_of_a_deferred_copy_is_told_once(town: Town) -> None:
    """One notice however often Postfix tries, also while others get theirs; `why` tells what became of it."""
    first = mail(town, "ida@hosp.test", "c@wrong.test")
    until(lambda: notices(town, "ida@hosp.test"), 60, lambda: f"a notice; {town.site.log()[-2000:]}")
    until_told(town, first, "c@wrong.test", "deferred")
    mail(town, "joe@hosp.test", "d@wrong.test")
    until(lambda: notices(town, "joe@hosp.test"), 60, lambda: f"a notice; {town.site.log()[-2000:]}")

    (notice,) = notices(town, "ida@hosp.test")
    assert b"c@wrong.test: the server's certificate could not be verified (4.7.5)" in notice.body
    assert b"with *secure* in the subject" in notice.body
    assert notice.values("In-Reply-To") == [first]
    waiting = deliveries(town, first)["c@wrong.test"]
    assert [one["status"] for one in waiting] == ["deferred"]
    town.postfix.delete(waiting[0]["queue_id"])
    until_told(town, first, "c@wrong.test", "deleted")


def test_rotation(town: Town) -> None:
    """The log is renamed and made anew, then copied and cut: what is delivered before and after is recorded."""
    log = town.postfix.maillog
    before = mail(town, "lea@hosp.test", "1@tls.test")
    log.rename(log.with_name("maillog.1"))
    town.postfix.reload()
    between = mail(town, "lea@hosp.test", "2@tls.test")
    for message_id, recipient in ((before, "1@tls.test"), (between, "2@tls.test")):
        until_told(town, message_id, recipient, "sent")
    log.with_name("maillog.2").write_bytes(log.read_bytes())
    log.write_bytes(b"")
    after = mail(town, "lea@hosp.test", "3@tls.test")
    until_told(town, after, "3@tls.test", "sent")


def test_killed_again_and_again(town: Town) -> None:
    """However often the follower is killed while mail flows, each delivery is recorded once; the chain holds."""
    message_ids = []
    for number in range(9):
        message_ids.append(mail(town, "max@hosp.test", f"k{number}@tls.test", "bob@pgp.test"))
        if number % 3 == 1:
            until(lambda: town.site.service_pids("deliveries"), 60, "the follower runs again")
            town.site.kill_service("deliveries")
    for number, message_id in enumerate(message_ids):
        until_told(town, message_id, f"k{number}@tls.test", "sent")
        until_told(town, message_id, "bob@pgp.test", "sent")
    counted = [len(found) for one in message_ids for found in deliveries(town, one).values()]
    assert counted == [1] * 18
    assert town.site.json("audit", "verify")["ok"] is True
