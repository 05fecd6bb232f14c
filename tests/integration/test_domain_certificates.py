"""
Two Gatepost sites write to each other by certificates of their own authorities, one for each domain.

Meanwhile one of them gets new secrets and a new certificate, without a restart and before the other knows.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from lab.letter import canary, letter
from lab.place import short_folder
from lab.tap import Tap
from tests.integration.test_two_sites import BOB, CLINIC, HOSP, SUE, Place, _place

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture
def pair() -> Iterator[tuple[Place, Place]]:
    """Give two sites that know each other's domain certificate."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        to_hosp, to_clinic = stack.enter_context(Tap()), stack.enter_context(Tap())
        hosp = _place(folder / "h", stack, [HOSP], to_hosp, {CLINIC: to_clinic.port})
        clinic = _place(folder / "c", stack, [CLINIC], to_clinic, {HOSP: to_hosp.port})
        for place in (hosp, clinic):
            place.site.gatepost("key", "generate", "smime", "--for", place.domain)
        for one, other in ((hosp, clinic), (clinic, hosp)):
            file = folder / f"{other.domain}.pem"
            file.write_text(other.site.gatepost("key", "export", other.domain, "--kind", "smime").stdout)
            one.site.gatepost("key", "import", file, "--for", other.domain)
            stack.enter_context(one.postfix)
            stack.callback(one.site.stop)
            one.site.start()
        yield hosp, clinic


def test_both_ways_through_a_rotation(pair: tuple[Place, Place]) -> None:
    """
    What is asked for once is signed and encrypted both ways, with content that is proved, and so arrives as it was
    written.

    After new secrets and a new certificate, mail to the certificate from before still opens.
    """
    hosp, clinic = pair
    words = [canary(), canary(), canary()]
    first = letter(f"{words[0]}\r\n", to=BOB, subject="*secure* x", message_id=f"<{words[0]}@{HOSP}>")
    assert hosp.send(SUE, BOB, message=first).ok
    assert words[0].encode() in clinic.message_to(BOB).body
    reply = letter(f"{words[1]}\r\n", sender=BOB, to=SUE, fields=[f"In-Reply-To: <{words[0]}@{HOSP}>"])
    assert clinic.send(BOB, SUE, message=reply).ok
    answered = hosp.message_to(SUE)
    assert words[1].encode() in answered.body
    (key,) = (one for one in clinic.site.json("key", "list")["keys"] if one["current"] and one["kind"] == "smime")
    signed = f"signed=pass by={BOB} key={key['fingerprint']} trust=admin"
    assert answered.values("Gatepost-Result") == [f"gatepost.mail.{HOSP}; decrypted=smime; {signed}; came=plain"]

    clinic.mailboxes.clear()
    clinic.site.gatepost("secret", "rotate")
    clinic.site.gatepost("key", "generate", "smime", "--for", CLINIC)
    assert hosp.send(SUE, BOB, message=letter(f"{words[2]}\r\n", to=BOB, subject="*secure* y")).ok
    assert words[2].encode() in clinic.message_to(BOB).body

    crossed = hosp.tap.seen + clinic.tap.seen
    assert crossed.count(b"smime-type=authEnveloped-data") == len(words)
    assert not [word for word in words if f"\r\n{word}\r\n".encode() in crossed]
