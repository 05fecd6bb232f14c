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
        log = str(folder / "p" / "maillog")
        built = build(folder, stack, settings={"postfix.log": log, "gateway.deferral_minutes": 0})
        stack.enter_context(built.postfix)
        stack.callback(built.site.stop)
        built.site.start()
        until(lambda: _rows(built, "SELECT * FROM log_position"), 60, "the follower has begun")
        yield built


def _rows(town: Town, statement: str, *values: str) -> list[tuple[Any, ...]]:
    """Read beside the services: the command line costs a second of CPU each time."""
    with closing(sqlite3.connect(town.site.folder / "gatepost.db")) as connection:
        return connection.execute(statement, values).fetchall()


def mail(town: Town, sender: str, *recipients: str) -> str:
    """Send a message, and give its Message-ID."""
    message_id = f"<{sender}.{recipients[0]}>"
    message = letter(b"Canary\r\n", sender=sender, to=recipients[0], subject="x", message_id=message_id)
    assert town.send(sender, *recipients, message=message).ok
    return message_id


def recorded(town: Town, recipient: str) -> list[tuple[str, str]]:
    """Give the recorded deliveries to a recipient: the copy's queue ID, and the status."""
    found = _rows(
        town,
        "SELECT queue_id, detail FROM event WHERE kind = 'delivery' AND recipient = ? ORDER BY sequence",
        recipient,
    )
    return [(queue_id, json.loads(detail)["status"]) for queue_id, detail in found]


def until_recorded(town: Town, recipient: str, status: str) -> None:
    """Wait until a delivery to a recipient is recorded."""
    until(
        lambda: status in dict(map(reversed, recorded(town, recipient))),  # type: ignore[arg-type]
        60,
        lambda: f"{recipient}: {status}; {town.site.log()[-2000:]}\n{town.postfix.log()[-3000:]}",
    )


def notices(town: Town, sender: str) -> list[Received]:
    return [one for one in town.inside.messages if one.sender == "" and one.addresses == (sender,)]


def test_how_copies_went(town: Town) -> None:
    """TLS with version, cipher and Verified; OpenPGP to a server without TLS; `why` tells people as well."""
    message_id = mail(town, "kay@hosp.test", "b@tls.test", "ann@pgp.test", "in@hosp.test")
    until_recorded(town, "b@tls.test", "sent")
    until_recorded(town, "ann@pgp.test", "sent")

    events = town.site.json("why", message_id)["events"]
    deliveries = {one["recipient"]: one["deliveries"] for one in events}
    (by_tls,), (encrypted,) = deliveries["b@tls.test"], deliveries["ann@pgp.test"]
    assert deliveries["in@hosp.test"] == []
    received = next(one for one in town.tls.messages if one.addresses == ("b@tls.test",))
    assert received.tls is not None
    assert (by_tls["peer"], by_tls["tls"], by_tls["cipher"]) == ("Verified", "TLSv1.3", received.tls.cipher)
    assert by_tls["relay"] == f"127.0.0.1[127.0.0.1]:{town.tls.port}"
    assert "tls" not in encrypted
    assert encrypted["reply"] == "250 2.0.0 kept"
    text = town.site.gatepost("why", by_tls["queue_id"]).stdout
    assert message_id in text
    assert "sent over TLSv1.3 (Verified, " in text


def test_the_sender_of_a_deferred_copy_is_told_once(town: Town) -> None:
    """One notice however often Postfix tries, also while others get theirs; `why` tells what became of it."""
    message_id = mail(town, "ida@hosp.test", "c@wrong.test")
    until(lambda: notices(town, "ida@hosp.test"), 90, lambda: f"a notice; {town.site.log()[-2000:]}")
    mail(town, "joe@hosp.test", "d@wrong.test")
    until(lambda: notices(town, "joe@hosp.test"), 90, lambda: f"a notice; {town.site.log()[-2000:]}")

    (notice,) = notices(town, "ida@hosp.test")
    assert b"c@wrong.test: the server's certificate could not be verified (4.7.5)" in notice.body
    assert b"with *secure* in the subject" in notice.body
    assert notice.values("In-Reply-To") == [message_id]
    ((queue_id, status),) = recorded(town, "c@wrong.test")
    assert status == "deferred"
    town.postfix.delete(queue_id)
    until_recorded(town, "c@wrong.test", "deleted")


def test_rotation(town: Town) -> None:
    """The log is renamed and made anew, then copied and cut: what is delivered before and after is recorded."""
    log = town.postfix.maillog
    mail(town, "lea@hosp.test", "1@tls.test")
    log.rename(log.with_name("maillog.1"))
    town.postfix.reload()
    mail(town, "lea@hosp.test", "2@tls.test")
    for recipient in ("1@tls.test", "2@tls.test"):
        until_recorded(town, recipient, "sent")
    log.write_bytes(b"")
    mail(town, "lea@hosp.test", "3@tls.test")
    until_recorded(town, "3@tls.test", "sent")


def test_killed_again_and_again(town: Town) -> None:
    """However often the follower is killed while mail flows, each delivery is recorded once; the chain holds."""
    recipients = [f"k{number}@tls.test" for number in range(9)]
    for number, recipient in enumerate(recipients):
        mail(town, "max@hosp.test", recipient, f"n{number}@pin.test")
        if number % 4 == 1:
            until(lambda: town.site.service_pids("deliveries"), 60, "the follower runs again")
            town.site.kill_service("deliveries")
    recipients += [f"n{number}@pin.test" for number in range(9)]
    for recipient in recipients:
        until_recorded(town, recipient, "sent")
    assert [len(recorded(town, one)) for one in recipients] == [1] * len(recipients)
    assert town.site.json("audit", "verify")["ok"] is True
