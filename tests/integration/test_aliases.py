"""
Aliases through a real Postfix: whoever they lead to outside is decided about and gets nothing that must not leave.

What arrived is judged by its bytes: a canary in each body shows who could read it.
"""

from collections.abc import Iterator

import pytest
from lab.letter import canary, letter, pgp_mime
from lab.place import short_folder
from lab.town import Town, town_with_aliases

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

_CANONICAL = "old@hosp.test new@hosp.test\n"
_VIRTUAL = """\
away@hosp.test ann@pgp.test
lost@hosp.test nobody@plain.test
later@hosp.test late@plain.test
both@hosp.test doc@hosp.test, bob@pgp.test
self@hosp.test self@hosp.test, carl@plain.test
first@hosp.test second@hosp.test
second@hosp.test eve@pgp.test
team@hosp.test doc@hosp.test, nurse@hosp.test
new@hosp.test carl@plain.test
round@hosp.test about@hosp.test
about@hosp.test round@hosp.test
@all.hosp.test ann@pgp.test
"""
_LOCAL = """\
fwd carl@plain.test
tied /dev/null, ann@pgp.test
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    """Give a town whose Postfix has aliases of every kind."""
    with short_folder() as folder:
        (folder / "canonical").write_text(_CANONICAL)
        (folder / "patterns").write_text("/^ward-[0-9]+@hosp\\.test$/ nobody@plain.test\n")
        main = {
            "recipient_canonical_maps": f"texthash:{folder}/canonical",
            "virtual_alias_maps": f"texthash:{folder}/virtual, regexp:{folder}/patterns",
            "recipient_delimiter": "+",
        }
        domains = ["all.hosp.test"]
        with town_with_aliases(
            folder, virtual=_VIRTUAL, local=_LOCAL, main=main, internal_domains=domains
        ) as built:
            yield built


@pytest.fixture
def the_town(running: Town) -> Iterator[Town]:
    """Give the town with empty sinks; nothing may be left in the queue."""
    with running.emptied():
        yield running


class TestOut:
    @pytest.mark.parametrize(
        ("recipient", "end"),
        [
            ("away@hosp.test", "ann@pgp.test"),
            ("AWAY@HOSP.test", "ann@pgp.test"),
            ('"away"@hosp.test', "ann@pgp.test"),
            ("away+x@hosp.test", "ann+x@pgp.test"),
            ("first@hosp.test", "eve@pgp.test"),
            ("anybody@all.hosp.test", "ann@pgp.test"),
        ],
    )
    def test_an_alias_that_leads_outside_is_encrypted(self, the_town: Town, recipient: str, end: str) -> None:
        """Tagged mail to an insider whose alias leads outside goes encrypted to where it leads, and once."""
        word = the_town.send_tagged(recipient)

        message = the_town.outside.only(end)
        the_town.postfix.wait_queue_empty()
        assert word.encode() in the_town.gpg.decrypt(message.data).data
        assert not the_town.seen_outside(word)
        assert the_town.outside.addresses == [end]
        assert the_town.inside.messages == []

    @pytest.mark.parametrize(
        "recipient",
        ["lost@hosp.test", "old@hosp.test", "ward-7@hosp.test", "fwd@box.hosp.test", "fwd+team@box.hosp.test"],
    )
    def test_without_a_key_it_is_held(self, the_town: Town, recipient: str) -> None:
        """Tagged mail whose alias leads to an outsider without a key is held, whichever table says so."""
        word = the_town.send_tagged(recipient)

        notice = the_town.inside.only("sue@hosp.test")
        the_town.postfix.wait_queue_empty()
        assert f"the alias {recipient} leads here".encode() in notice.body
        assert the_town.outside.messages == []
        assert not the_town.seen_outside(word)

    def test_a_held_copy_goes_where_the_alias_led(self, the_town: Town) -> None:
        """Once there is a key, a held copy is released, encrypted, to whom the alias led when it was held."""
        word = the_town.send_tagged("later@hosp.test")
        the_town.inside.only("sue@hosp.test")
        held = the_town.site.json("quarantine", "list")["held"]
        (one,) = (held for held in held if "late@plain.test" in held["recipients"])
        the_town.gpg.key("Late <late@plain.test>")
        key = the_town.gpg.export_to(the_town.folder / "late.asc", "late@plain.test")
        the_town.site.gatepost("key", "import", key)
        the_town.site.gatepost("quarantine", "release", one["id"])

        message = the_town.outside.only("late@plain.test")
        assert word.encode() in the_town.gpg.decrypt(message.data).data
        assert not the_town.seen_outside(word)

    def test_inside_and_outside_part(self, the_town: Town) -> None:
        """An alias that leads inside and outside: the insider reads it, the outsider gets it encrypted."""
        word = the_town.send_tagged("both@hosp.test")

        assert word.encode() in the_town.inside.only("doc@hosp.test").body
        message = the_town.outside.only("bob@pgp.test")
        assert word.encode() in the_town.gpg.decrypt(message.data).data
        assert not the_town.seen_outside(word)

    def test_an_alias_to_itself_and_outside_parts(self, the_town: Town) -> None:
        """A mailbox that also forwards gets its own copy; what goes outside is held when nothing protects it."""
        word = the_town.send_tagged("self@hosp.test")

        assert word.encode() in the_town.inside.only("self@hosp.test").body
        the_town.inside.only("sue@hosp.test")
        the_town.postfix.wait_queue_empty()
        assert the_town.outside.messages == []

    def test_what_cannot_be_parted_is_held(self, the_town: Town) -> None:
        """A mailbox of local(8) that also forwards cannot be parted: tagged mail to it is held."""
        word = the_town.send_tagged("tied@box.hosp.test")

        notice = the_town.inside.only("sue@hosp.test")
        the_town.postfix.wait_queue_empty()
        assert b"cannot be parted" in notice.body
        assert not the_town.seen_outside(word)

    def test_inside_aliases_work_as_ever(self, the_town: Town) -> None:
        """An alias that stays inside is Postfix's affair: the message is accepted in place."""
        word = the_town.send_tagged("team@hosp.test")

        for address in ("doc@hosp.test", "nurse@hosp.test"):
            assert word.encode() in the_town.inside.only(address).body

    def test_what_needs_no_protection_follows_its_aliases(self, the_town: Town) -> None:
        """Mail that nothing protects still reaches everybody behind an alias, once each."""
        word = canary()
        assert the_town.send("sue@hosp.test", "self@hosp.test", "fwd@box.hosp.test", message=letter(word)).ok

        the_town.postfix.wait_queue_empty()
        assert word.encode() in the_town.inside.only("self@hosp.test").body
        assert word.encode() in the_town.outside.only("carl@plain.test").body
        assert the_town.outside.addresses == ["carl@plain.test"]

    def test_a_loop_is_an_error(self, the_town: Town) -> None:
        """Aliases in a circle lead nowhere: one line names the entry."""
        done = the_town.site.gatepost("explain", "--from", "sue@hosp.test", "--to", "round@hosp.test", check=False)

        assert done.returncode == 1
        assert "virtual_alias_maps: the entries for round@hosp.test lead in a circle" in done.stderr

    def test_a_table_that_cannot_be_asked_puts_mail_off(self, the_town: Town) -> None:
        """A table that is gone is never taken for an empty one."""
        table = the_town.folder / "virtual"
        text = table.read_text()
        table.unlink()
        try:
            outcome = the_town.send("sue@hosp.test", "unasked@hosp.test", message=letter(canary()))
        finally:
            table.write_text(text)

        assert outcome.reply.temporary
        assert f"the alias table texthash:{table} cannot be asked" in the_town.site.log()


class TestIn:
    def test_the_outside_target_gets_the_ciphertext(self, the_town: Town) -> None:
        """Encrypted mail from outside is opened for an alias's insiders alone; the others get it as it came."""
        word = canary()
        inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
        line, body = pgp_mime(the_town.gpg.encrypt(inner, ["gatepost@hosp.test"]))
        message = letter(body, sender="ann@pgp.test", to="both@hosp.test", fields=[line])
        assert the_town.send_from_outside("ann@pgp.test", "both@hosp.test", message=message).ok

        assert word.encode() in the_town.inside.only("doc@hosp.test").body
        outside = the_town.outside.only("bob@pgp.test")
        assert "multipart/encrypted" in outside.values("Content-Type")[0]
        assert not the_town.seen_outside(word)
        assert the_town.outside.addresses == ["bob@pgp.test"]

    def test_what_cannot_be_parted_is_not_opened(self, the_town: Town) -> None:
        """Encrypted mail to a mailbox that also forwards, inseparably, is not opened."""
        word = canary()
        inner = b"Content-Type: text/plain\r\n\r\n" + word.encode() + b"\r\n"
        line, body = pgp_mime(the_town.gpg.encrypt(inner, ["gatepost@hosp.test"]))
        message = letter(body, sender="bob@pgp.test", to="tied@box.hosp.test", fields=[line])
        assert the_town.send_from_outside("bob@pgp.test", "tied@box.hosp.test", message=message).ok

        assert "multipart/encrypted" in the_town.outside.only("ann@pgp.test").values("Content-Type")[0]
        assert not the_town.seen_outside(word)


class TestExplain:
    def test_it_names_those_behind_the_alias(self, the_town: Town) -> None:
        """`explain` decides about whom the alias leads to, and says so."""
        arguments = ("--from", "sue@hosp.test", "--to", "both@hosp.test", "--subject", "*secure* x")
        recipients = the_town.site.json("explain", *arguments)["recipients"]

        shown = {one["address"]: (one["direction"], one["treatment"], one["reasons"][0]) for one in recipients}
        reason = "the alias both@hosp.test leads here"
        assert shown == {
            "doc@hosp.test": ("internal", "pass", reason),
            "bob@pgp.test": ("out", "openpgp", reason),
        }
