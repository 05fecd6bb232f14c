"""The gateway: what is decided is built whole, carried out durable first, and answered."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pysequoia
import pytest
from tests.fakes import FakeJournal, World, opened
from tests.gateways import BODY, OUTSIDE, SHIPPED_RULES, gateway_over, message, processed

from gatepost.decision.demand import Treatment
from gatepost.decision.plan import Answer, Judgement, Plan
from gatepost.decision.reader import read_rules
from gatepost.directory.key import Trust
from gatepost.directory.thread import hashed
from gatepost.errors import AddressError, CryptoError, DeliveryError, StorageError, WorkerError
from gatepost.gateway.aliases import Destination
from gatepost.gateway.budget import Budget
from gatepost.gateway.gateway import Gateway
from gatepost.gateway.journal import Journal
from gatepost.gateway.notices import Notice
from gatepost.gateway.verdict import Accept, Awaited, Discard, Reject, TempFail, Verdict
from gatepost.message import address
from gatepost.message.address import Address
from gatepost.message.body import MemoryBody
from gatepost.message.edit import apply
from gatepost.message.field import Field, named
from gatepost.message.transaction import Transaction

Build = Callable[..., Gateway]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def gateway(world: World, tmp_path: Path) -> Build:
    """Build a gateway with the shipped rules, or others."""

    def build(rules_text: str = "", no_rung: Treatment = Treatment.QUARANTINE) -> Gateway:
        directory = SHIPPED_RULES
        if rules_text:
            directory = tmp_path
            (tmp_path / "rules.toml").write_text(rules_text)
        return gateway_over(world, rules=read_rules(directory, frozenset()), no_rung=no_rung)

    return build


def released(gateway: Gateway, transaction: Transaction) -> None:
    """Release a message as if it had been held."""
    budget = Budget(60, keepalive=lambda: None)
    attempt = Journal(FakeJournal(World()), holder="release").release(UUID(int=1), transaction, budget)
    with attempt:
        attempt.find()
        gateway.release(transaction, budget, attempt)


def in_place(verdict: Verdict, transaction: Transaction) -> tuple[Field, ...]:
    assert isinstance(verdict, Accept)
    return apply(transaction.fields, verdict.form.edits)


class TestOut:
    def test_what_needs_nothing_passes_untouched_without_its_body(self, world: World, gateway: Build) -> None:
        """A message without any demand is accepted as it is; the milter need not even take its body."""
        transaction = message("bob@out.test", "carol@hosp.test")
        survey = gateway().survey(transaction)

        assert not survey.needs_body
        assert Accept() == processed(gateway(), transaction)
        assert [] == world.submitted
        assert {"pass"} == {one.treatment for one in world.events}

    def test_one_encrypted_copy_stays_in_place(self, world: World, gateway: Build) -> None:
        """Tagged mail to a partner with a key is edited in place: content encrypted, subject marked."""
        world.key("partner.test")
        content = Field(b"Content-Type", b" text/html;\n charset=utf-8")
        transaction = message("bob@partner.test", subject="*secure* results", fields=(content,))

        verdict = processed(gateway(), transaction)

        fields = in_place(verdict, transaction)
        assert isinstance(verdict, Accept)
        assert verdict.form.body is not None
        body = verdict.form.body.read()
        inner = b"Content-Type: text/html;\r\n charset=utf-8\r\n\r\n" + BODY
        assert b"ENCRYPTED TO partner.test\r\n" in body
        assert inner.hex().encode() in body
        assert BODY not in body
        assert [b" [-Encrypted-] results"] == [one.value for one in named(fields, b"subject")]
        assert [b"multipart/encrypted"] == [
            one.value.split(b";")[0].strip() for one in named(fields, b"content-type")
        ]
        assert [] == world.submitted
        assert () == verdict.removed

    def test_rows_are_durable_before_the_verdict(self, world: World, gateway: Build) -> None:
        """The thread row of a protected copy is committed, with inside and outside address."""
        world.key("partner.test")

        processed(gateway(), message("bob@partner.test", subject="*secure*"))

        assert [(hashed("<1@hosp.test>"), "alice@hosp.test", "bob@partner.test", "protected")] == [
            (row.message_id, row.inside, row.outside, row.cause) for row in world.rows
        ]
        assert world.happened.index("encrypt") < world.happened.index("commit") < world.happened.index("post")

    def test_mixed_recipients_are_split(self, world: World, gateway: Build) -> None:
        """
        The internal copy stays and keeps the tag; the encrypted one is submitted with its ESMTP parameters; who
        cannot be reached safely is held; nobody else stays on the original.
        """
        world.key("partner.test")
        transaction = message(
            "carol@hosp.test",
            "bob@partner.test",
            "eve@nokey.test",
            subject="*secure* x",
            parameters=("BODY=8BITMIME", "SIZE=100", "RET=FULL", "ENVID=1"),
        )

        verdict = processed(gateway(), transaction)

        assert isinstance(verdict, Accept)
        assert [b" *secure* x"] == [one.value for one in named(in_place(verdict, transaction), b"subject")]
        assert verdict.form.body is None
        assert ["bob@partner.test", "eve@nokey.test"] == [one.text for one in verdict.removed]
        copy, notice = world.submitted
        assert ["bob@partner.test"] == [one.address.text for one in copy.recipients]
        assert ("NOTIFY=NEVER",) == copy.recipients[0].parameters
        assert ("BODY=8BITMIME", "RET=FULL", "ENVID=1") == copy.parameters
        assert b"ENCRYPTED TO partner.test" in copy.body.read()
        assert ["eve@nokey.test"] == [one.recipient.address.text for one in world.held]
        assert notice.sender.is_null

    def test_tls_copies_go_by_the_tls_route(self, world: World, gateway: Build) -> None:
        """Alone it stays in place with the route field; beside an internal copy it goes to the second listener."""
        world.partner("tls.test", demand="tls", tls="verify", nexthop="[mx.tls.test]:25")
        alone = message("bob@tls.test")
        mixed = message("bob@tls.test", "carol@hosp.test")

        route = named(in_place(processed(gateway(), alone), alone), b"gatepost-route")
        processed(gateway(), mixed)

        assert [b" [mx.tls.test]:25"] == [one.value for one in route]
        assert world.submitted[0].tls_route
        assert [b" [mx.tls.test]:25"] == [one.value for one in named(world.submitted[0].fields, b"gatepost-route")]
        assert BODY == world.submitted[0].body.read()

    def test_a_standing_demand_alone_leaves_the_subject(self, world: World, gateway: Build) -> None:
        """A partner's standing demand encrypts, but the subject is not marked."""
        world.key("partner.test")
        world.partner("partner.test", demand="encrypt")
        transaction = message("bob@partner.test")

        fields = in_place(processed(gateway(), transaction), transaction)

        assert [b" hello"] == [one.value for one in named(fields, b"subject")]
        assert ["encrypt"] == world.happened[-3:-2]

    def test_all_held_is_discarded_only_after_it_is_durable(self, world: World, gateway: Build) -> None:
        """With no copy that may leave, the original is dropped once the vault has it."""
        verdict = processed(gateway(), message("eve@nokey.test", subject="*secure*"))

        assert Discard() == verdict
        assert ["eve@nokey.test"] == [one.recipient.address.text for one in world.held]

    def test_no_rung_may_refuse_the_whole_message(self, world: World, gateway: Build) -> None:
        """`no_rung = reject`: nothing is sent or stored, and the reply names the recipient and why."""
        world.key("partner.test")

        verdict = processed(
            gateway(no_rung=Treatment.REJECT), message("bob@partner.test", "eve@nokey.test", subject="*secure*")
        )

        assert isinstance(verdict, Reject)
        assert any("eve@nokey.test" in line for line in verdict.lines)
        assert not any("bob@partner.test" in line for line in verdict.lines)
        assert [] == world.submitted == world.held

    def test_a_reply_in_a_protected_thread_is_encrypted(self, world: World, gateway: Build) -> None:
        """A Message-ID of a protected conversation in References demands encryption, without any tag."""
        world.key("partner.test")
        world.threads = {hashed("<before@partner.test>")}
        transaction = message(
            "bob@partner.test", fields=(Field(b"References", b" <0@x.test>\n <before@partner.test>"),)
        )

        verdict = processed(gateway(), transaction)

        assert isinstance(verdict, Accept)
        assert verdict.form.body is not None

    def test_steering_and_forged_fields_do_not_reach_outsiders(self, world: World, gateway: Build) -> None:
        """What steers the gateway is taken out of what leaves, encrypted or not."""
        steering = (Field(b"X-Gatepost-Encrypt", b" yes"), Field(b"Gatepost-Route", b" evil.test"))
        world.key("partner.test")
        transaction = message("bob@partner.test", fields=steering)

        names = {field.key for field in in_place(processed(gateway(), transaction), transaction)}

        assert "encrypt" in world.happened
        assert names.isdisjoint({b"x-gatepost-encrypt", b"gatepost-route"})

    @pytest.mark.parametrize(
        ("trust", "refusal", "reason"),
        [
            (Trust.HARVESTED, "", "trust harvested is below min_trust wkd"),
            (Trust.ADMIN, "expired on 2020-01-01", "expired on 2020-01-01"),
        ],
    )
    def test_a_key_that_is_not_usable_is_not_used(
        self, world: World, gateway: Build, trust: Trust, refusal: str, reason: str
    ) -> None:
        """A key below min_trust, or one that must not be encrypted to, leads to the next rung, with its reason."""
        world.key("partner.test", trust=trust, refusal=refusal)

        assert Discard() == processed(gateway(), message("bob@partner.test", subject="*secure*"))
        assert any(reason in text for text in world.held[0].reasons)

    def test_a_recipients_own_key_comes_before_the_domains(self, world: World, gateway: Build) -> None:
        """Only the best owner's key is used."""
        world.key("partner.test")
        world.key("bob@partner.test")

        verdict = processed(gateway(), message("bob@partner.test", subject="*secure*"))

        assert isinstance(verdict, Accept)
        assert verdict.form.body is not None
        assert b"ENCRYPTED TO bob@partner.test\r\n" in verdict.form.body.read()


REPORT = b"""\
--b
Content-Type: text/plain

failed
--b
Content-Type: %s

Message-ID: <1@partner.test>

canary
--b--
""".replace(b"\n", b"\r\n")


KIND_OF_REPORT = Field(b"Content-Type", b" multipart/report; report-type=delivery-status; boundary=b")
ENCRYPTED = (
    Field(b"Content-Type", b' multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"'),
    Field(b"MIME-Version", b" 1.0"),
)


class CountedBody(MemoryBody):
    """A body that counts how often it is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads = 0

    def read(self) -> bytes:
        self.reads += 1
        return super().read()


def rule(when: str, demand: str = "encrypt") -> str:
    return f'[[rule]]\nname = "asked for"\nwhen = {{ {when} }}\ndemand = "{demand}"\n'


class TestSurvey:
    def test_plain_mail_for_one_of_us_needs_no_body(self, gateway: Build) -> None:
        """What comes in and can be neither opened nor split is judged by its header alone."""
        transaction = message("carol@hosp.test", client=OUTSIDE, sender="bob@partner.test")

        assert not gateway().survey(transaction).needs_body

    @pytest.mark.parametrize(
        "transaction",
        [
            message("bob@out.test", sender="", fields=(KIND_OF_REPORT,)),
            message("carol@hosp.test", client=OUTSIDE, fields=ENCRYPTED),
            message("bob@out.test", subject="*secure*"),
        ],
    )
    def test_what_its_content_decides_about_needs_the_body(self, gateway: Build, transaction: Transaction) -> None:
        """A report may return what was protected, what comes in may open, and what is demanded encrypts."""
        assert gateway().survey(transaction).needs_body

    def test_a_size_that_is_not_known_yet_may_demand(self, gateway: Build) -> None:
        """Before the body is there, a rule about the size counts for everybody whom it may concern."""
        transaction = message("bob@out.test", "carol@hosp.test")

        demanded = gateway(rule('direction = "out", size_over = 1000000')).survey(transaction).reachable

        assert ["bob@out.test"] == [one.address.text for one in demanded]

    @pytest.mark.parametrize(
        ("recipients", "demanded"),
        [(("a@out.test", "b@out.test"), 2), (("a@out.test", "carol@hosp.test", "dave@hosp.test"), 0)],
    )
    def test_outside_recipients_are_counted(
        self, gateway: Build, recipients: tuple[str, ...], demanded: int
    ) -> None:
        """`recipients_over` counts those outside, and nobody else."""
        survey = gateway(rule('direction = "out", recipients_over = 1')).survey(message(*recipients))

        assert demanded == len(survey.reachable)


TLS_RULE = """[[rule]]
name = "on its way"
when = { direction = "out" }
demand = "tls"
"""


class TestLookUps:
    def test_they_begin_at_the_end_of_the_header(self, world: World, gateway: Build) -> None:
        """Who may take TLS is asked about while the body comes, each next hop once, and nobody else."""
        world.partner("row.test", tls="verify", nexthop="[mx.row.test]")
        built = gateway(TLS_RULE)

        built.survey(message("a@dane.test", "b@dane.test", "c@row.test", "d@hosp.test"))

        assert world.asked == ["dane.test", "[mx.row.test]"]

    def test_ordinary_mail_makes_none(self, world: World, gateway: Build) -> None:
        """What nothing asks to protect tells no stranger whom we write to."""
        processed(gateway(), message("bob@plain.test"))

        assert world.asked == []

    def test_mail_that_may_not_take_tls_makes_none(self, world: World, gateway: Build) -> None:
        """Where no ladder names TLS, nobody is asked: not at the end of the header, nor at that of the message."""
        world.key("keyed.test")

        verdict = processed(gateway(), message("bob@keyed.test", subject="*secure* results"))

        assert isinstance(verdict, Accept)
        assert "encrypt" in world.happened
        assert world.asked == []

    def test_a_message_that_never_ends_waits_for_nothing(self, world: World, gateway: Build) -> None:
        """An aborted message leaves its questions behind: nobody waits for them."""
        world.capabilities["dane.test"] = None  # type: ignore[assignment] # to wait for it would fail

        gateway(TLS_RULE).survey(message("a@dane.test"))

        assert world.asked == ["dane.test"]

    def test_assured_goes_by_tls(self, world: World, gateway: Build) -> None:
        """A domain without a row takes TLS that DANE or MTA-STS assures, at its own mail hosts."""
        world.assured("dane.test")
        alone = message("bob@dane.test")

        route = named(in_place(processed(gateway(TLS_RULE), alone), alone), b"gatepost-route")

        assert [b" dane.test"] == [one.value for one in route]

    def test_unknown_puts_the_whole_message_off(self, world: World, gateway: Build) -> None:
        """Nothing is sent, held or noted; the client is told for whom it waits, and why, and comes again."""
        world.unknown("dane.test")
        world.key("keyed.test")
        built = gateway(TLS_RULE)
        asked = message("bob@dane.test", "ann@keyed.test", "carol@hosp.test")

        verdict = processed(built, asked)

        assert isinstance(verdict, TempFail)
        assert "bob@dane.test: " in verdict.lines[1]
        assert "the resolver is silent" in verdict.lines[1]
        assert not any("keyed" in line or "carol" in line for line in verdict.lines)
        assert (world.submitted, world.held, world.rows, world.events) == ([], [], [], [])
        assert not {"journal add", "journal save"} & set(world.happened)

    def test_the_next_try_is_decided_anew(self, world: World, gateway: Build) -> None:
        """Once the resolver answers, the message goes; nothing of the first try stands in its way."""
        world.unknown("dane.test")
        built = gateway(TLS_RULE)
        asked = message("bob@dane.test", "carol@hosp.test")
        processed(built, asked)

        world.assured("dane.test")

        assert isinstance(processed(built, asked), Accept)
        assert world.submitted[0].tls_route

    def test_what_was_decided_goes_though_nobody_knows_now(self, world: World, gateway: Build) -> None:
        """A retry finishes the plan of the first try: the TLS route asks again at delivery."""
        world.assured("dane.test")
        built = gateway(TLS_RULE)
        asked = message("bob@dane.test", "carol@hosp.test")
        world.faults["submit"] = DeliveryError("not now")
        with pytest.raises(DeliveryError):
            processed(built, asked)

        world.faults.clear()
        world.unknown("dane.test")

        assert isinstance(processed(built, asked), Accept)
        assert [one.address.text for one in world.submitted[0].recipients] == ["bob@dane.test"]
        assert world.submitted[0].tls_route

    def test_an_outsider_learns_the_fact_alone(self, gateway: Build) -> None:
        """Only an inside client is told who waits for what."""
        plan = Plan(Answer.TEMPFAIL, (), ())
        built = gateway()

        told = built._delay(message("bob@hosp.test", client=OUTSIDE), plan)

        assert (told.enhanced, told.cause) == ("4.7.1", "unprotected")
        assert "bob" not in " ".join(told.lines)

    def test_requiretls_travels_with_every_copy(self, world: World, gateway: Build) -> None:
        """Who asked for verified TLS on the whole way gets it, and each copy asks the next server for it."""
        world.assured("dane.test")
        world.key("keyed.test")
        asked = message("bob@dane.test", "ann@keyed.test", "carol@hosp.test", parameters=("REQUIRETLS",))

        processed(gateway(), asked)

        assert {(one.tls_route, one.parameters) for one in world.submitted} == {
            (True, ("REQUIRETLS",)),
            (False, ("REQUIRETLS",)),
        }

    def test_tls_required_no_weakens_nothing(self, world: World, gateway: Build) -> None:
        """The field by which a sender waives TLS (RFC 8689 section 5) lowers no demand, and goes on as it is."""
        waived = Field(b"TLS-Required", b" No")
        asked = message("bob@dane.test", fields=(waived,))

        assert isinstance(processed(gateway(TLS_RULE), asked), Discard)
        assert [one.treatment for one in world.held] == [Treatment.QUARANTINE]

        world.assured("dane.test")
        other = message("bob@dane.test", subject="again", fields=(waived,))
        fields = in_place(processed(gateway(TLS_RULE), other), other)

        assert waived in fields
        assert named(fields, b"gatepost-route")


class TestPlan:
    def test_keys_are_asked_for_where_they_are_needed(self, world: World, gateway: Build) -> None:
        """One look-up a kind of key for the one recipient whose copy is to be protected; none for the others."""
        world.partner("partner.test", demand="encrypt")

        processed(gateway(), message("bob@partner.test", "eve@out.test", "carol@hosp.test"))

        assert 2 == world.happened.count("key")

    def test_nobody_inside_is_given_a_way_out(self, world: World, gateway: Build) -> None:
        """What is to be held inside is held: keys have no say in it."""
        processed(gateway(rule('direction = "internal"', "quarantine")), message("carol@hosp.test"))

        assert "key" not in world.happened
        assert ["carol@hosp.test"] == [one.recipient.address.text for one in world.held]

    def test_what_is_encrypted_already_passes(self, world: World, gateway: Build, encrypted_body: bytes) -> None:
        """A tagged message that its writer has truly encrypted goes as it is, also beside others."""
        transaction = message(
            "bob@nokey.test", "carol@hosp.test", subject="*secure*", fields=ENCRYPTED, body=encrypted_body
        )

        assert isinstance(processed(gateway(), transaction), Accept)
        assert [] == world.held

    def test_a_label_encrypts_nothing(self, world: World, gateway: Build) -> None:
        """What only says that it is encrypted is held like any other."""
        processed(gateway(), message("bob@nokey.test", subject="*secure*", fields=ENCRYPTED))

        assert ["bob@nokey.test"] == [one.recipient.address.text for one in world.held]


class TestRecords:
    def test_a_refusal_is_recorded(self, world: World, gateway: Build) -> None:
        """What was refused, and for whom, is in the event log."""
        processed(gateway(no_rung=Treatment.REJECT), message("eve@nokey.test", subject="*secure*"))

        assert [("reject", "eve@nokey.test")] == [(one.treatment, one.recipient) for one in world.events]

    def test_outsiders_learn_no_more_of_a_refusal_than_the_fact(self, gateway: Build) -> None:
        """The reply names neither rules nor recipients."""
        built = gateway(rule('direction = "in"', "reject"))

        verdict = processed(built, message("carol@hosp.test", client=OUTSIDE, sender="bob@partner.test"))

        assert Reject(("The message is refused by the policy of this site",)) == verdict


class TestOwnFields:
    @pytest.mark.parametrize(
        ("recipients", "kept"),
        [
            (("carol@hosp.test",), True),
            (("bob@out.test",), False),
            (("carol@hosp.test", "bob@out.test"), False),
        ],
    )
    def test_what_steers_stays_where_all_are_inside(
        self, gateway: Build, recipients: tuple[str, ...], kept: bool
    ) -> None:
        """A copy that anybody outside gets tells nothing of how the gateway is steered."""
        transaction = message(*recipients, fields=(Field(b"X-Gatepost-Anything", b" yes"),))

        fields = in_place(processed(gateway(), transaction), transaction)

        assert kept is bool(named(fields, b"x-gatepost-anything"))

    def test_what_steers_goes_in_transit_too(self, gateway: Build) -> None:
        """Mail from outside to outside is a copy for outsiders."""
        steering = (Field(b"X-Gatepost-Anything", b" yes"),)
        transaction = message("x@out.test", client=OUTSIDE, sender="bob@partner.test", fields=steering)

        assert () == named(in_place(processed(gateway(), transaction), transaction), b"x-gatepost-anything")


class TestReports:
    def test_one_that_cannot_be_cut_is_encrypted(self, world: World, gateway: Build) -> None:
        """It is protected like an answer in that conversation: with the key, where there is one."""
        world.threads = {hashed("<1@partner.test>")}
        world.key("partner.test")
        transaction = message("bob@partner.test", sender="", fields=(KIND_OF_REPORT,), body=REPORT % b"a/b")

        verdict = processed(gateway(), transaction)

        assert isinstance(verdict, Accept)
        assert verdict.form.body is not None
        assert b"ENCRYPTED TO partner.test" in verdict.form.body.read()

    @pytest.mark.parametrize(("media", "leaves"), [(b"message/rfc822", True), (b"application/zip", False)])
    def test_a_report_about_a_protected_message(
        self, world: World, gateway: Build, media: bytes, leaves: bool
    ) -> None:
        """A DSN leaves without the content that it returned; one that cannot be cut is protected like a reply."""
        world.threads = {hashed("<1@partner.test>")}
        transaction = replace(
            message("bob@partner.test", sender="", fields=(KIND_OF_REPORT,)), body=CountedBody(REPORT % media)
        )

        verdict = processed(gateway(), transaction)

        if leaves:
            assert isinstance(verdict, Accept)
            assert verdict.form.body is not None
            assert transaction.body.reads == 1
            assert b"canary" not in verdict.form.body.read()
            assert b"<1@partner.test>" in verdict.form.body.read()
        else:
            assert Discard() == verdict
            assert ["bob@partner.test"] == [one.recipient.address.text for one in world.held]

    def test_a_report_with_a_sender_is_protected_whole(self, world: World, gateway: Build) -> None:
        """What returns a protected message under an address of its own does not leave, cut or not."""
        world.threads = {hashed("<1@partner.test>")}
        kind = Field(b"Content-Type", b" multipart/report; report-type=disposition-notification; boundary=b")
        body = MemoryBody(REPORT % b"message/rfc822")
        transaction = replace(message("bob@partner.test", fields=(kind,)), body=body)

        assert Discard() == processed(gateway(), transaction)
        assert ["bob@partner.test"] == [one.recipient.address.text for one in world.held]


NOTIFYING = """
[[rule]]
name = "told"
when = { direction = "out" }
demand = "encrypt"
notify = true
"""


class TestNotify:
    def test_the_sender_is_told_once_what_was_protected(self, world: World, gateway: Build) -> None:
        """A rule's `notify` tells its sender for whom it was protected, and how; a second try does not."""
        world.key("partner.test")
        transaction = message("bob@partner.test", "eve@nokey.test", "carol@hosp.test")

        for _ in range(2):
            processed(gateway(NOTIFYING), transaction)

        (told,) = [
            one.body.read() for one in world.submitted if one.sender.is_null and b"protected" in one.body.read()
        ]
        assert b"bob@partner.test: encrypted with OpenPGP" in told
        assert b"nokey" not in told
        assert b"carol" not in told
        assert BODY.strip() not in told

    @pytest.mark.parametrize(
        ("sender", "rules", "fields"),
        [
            ("alice@hosp.test", NOTIFYING.replace("notify = true", ""), ()),
            ("noreply@hosp.test", NOTIFYING, ()),
            ("alice@hosp.test", NOTIFYING, (Field(b"Auto-Submitted", b" auto-replied"),)),
        ],
    )
    def test_nobody_is_told_otherwise(
        self, world: World, gateway: Build, sender: str, rules: str, fields: tuple[Field, ...]
    ) -> None:
        """Without `notify`, and for senders who are no people, there is no such notice."""
        world.key("partner.test")

        processed(gateway(rules), message("bob@partner.test", sender=sender, fields=fields))

        assert "encrypt" in world.happened
        assert [] == world.submitted


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("partner", StorageError("gone")),
            ("thread", StorageError("gone")),
            ("key", StorageError("gone")),
            ("encrypt", CryptoError("broken")),
            ("encrypt", WorkerError("slow")),
            ("hold", StorageError("full")),
            ("commit", StorageError("full")),
        ],
    )
    def test_a_fault_before_despatch_sends_nothing(
        self, world: World, gateway: Build, fault: str, error: Exception
    ) -> None:
        """Whatever fails while deciding, building or storing is raised, and no copy has been submitted."""
        world.key("partner.test")
        world.faults = {fault: error}

        with pytest.raises(type(error)):
            processed(
                gateway(), message("carol@hosp.test", "bob@partner.test", "eve@nokey.test", subject="*secure*")
            )

        assert [] == world.submitted

    def test_every_copy_is_built_before_any_is_sent(self, world: World, gateway: Build) -> None:
        """Two encrypted copies: both are encrypted before the first is submitted."""
        world.key("one.test")
        world.key("two.test")

        processed(gateway(), message("carol@hosp.test", "a@one.test", "b@two.test", subject="*secure*"))

        order = [what for what in world.happened if what in {"encrypt", "commit", "submit"}]
        assert order == sorted(order, key=["encrypt", "commit", "submit"].index)

    def test_a_listener_that_refuses_is_raised(self, world: World, gateway: Build) -> None:
        """A copy that was not taken leaves the original with its client."""
        world.key("partner.test")
        world.faults = {"submit": DeliveryError("4xx")}

        with pytest.raises(DeliveryError):
            processed(gateway(), message("carol@hosp.test", "bob@partner.test", subject="*secure*"))

    @pytest.mark.parametrize("fault", [DeliveryError("4xx"), WorkerError("no time left")])
    def test_a_notice_that_cannot_be_sent_undoes_nothing(
        self, world: World, gateway: Build, fault: Exception
    ) -> None:
        """The copies are on their way: a tempfail for the notice's sake would bring them all again."""
        world.faults = {"submit": fault}

        verdict = processed(gateway(), message("carol@hosp.test", "eve@nokey.test", subject="*secure*"))

        assert isinstance(verdict, Accept)
        assert ["eve@nokey.test"] == [one.recipient.address.text for one in world.held]

        world.faults = {}
        for _ in range(2):
            processed(gateway(), message("carol@hosp.test", "eve@nokey.test", subject="*secure*"))
        assert [b"held\r\n"] == [one.body.read() for one in world.submitted]

    def test_a_copy_that_fails_leaves_the_notice_to_the_next_try(self, world: World, gateway: Build) -> None:
        """A notice counts as sent only once the copies are on their way: the second try still tells."""
        world.key("partner.test")
        world.faults = {"submit": DeliveryError("4xx")}
        transaction = message("carol@hosp.test", "bob@partner.test", "eve@nokey.test", subject="*secure*")
        with pytest.raises(DeliveryError):
            processed(gateway(), transaction)

        world.faults = {}
        processed(gateway(), transaction)

        assert b"held\r\n" in [one.body.read() for one in world.submitted]

    @pytest.mark.parametrize("fault", ["claim", "forget"])
    def test_a_log_that_fails_undoes_nothing(self, world: World, gateway: Build, fault: str) -> None:
        """Once copies are held and on their way, a database that fails brings no tempfail."""
        world.faults = {fault: StorageError("down"), "submit": DeliveryError("4xx")}

        verdict = processed(gateway(), message("carol@hosp.test", "eve@nokey.test", subject="*secure*"))

        assert isinstance(verdict, Accept)

    def test_time_that_has_run_out_is_raised(self, world: World, gateway: Build) -> None:
        """A message that takes longer than its budget is put off."""
        world.key("partner.test")
        transaction = message("bob@partner.test", subject="*secure*")
        built = gateway()

        with pytest.raises(WorkerError, match="max_seconds"):
            built.process(transaction, built.survey(transaction), Budget(-1, keepalive=lambda: None))


class TestAwaited:
    """Where a verdict needs thread rows and nothing else, no thread waits for them."""

    @pytest.fixture
    def process(self, gateway: Build) -> Callable[[Transaction], Verdict | Awaited]:
        built = gateway()
        return lambda one: built.process(one, built.survey(one), Budget(60, keepalive=lambda: None))

    def test_one_copy_in_place(self, world: World, process: Callable[[Transaction], Verdict | Awaited]) -> None:
        """The copy is built, then its rows are written; only the verdict tells, records and counts it."""
        world.key("partner.test")
        told: list[Exception | None] = []

        awaited = process(message("bob@partner.test", subject="*secure*"))

        assert isinstance(awaited, Awaited)
        assert "encrypt" in world.happened
        assert world.rows == []
        awaited.begin(told.append)
        assert told == [None]
        assert [row.outside for row in world.rows] == ["bob@partner.test"]
        assert (world.events, world.submitted) == ([], [])
        assert isinstance(awaited.conclude(), Accept)
        assert [one.treatment for one in world.events] == ["openpgp"]
        assert world.happened.index("commit") < world.happened.index("post")

    def test_rows_that_cannot_be_written(
        self, world: World, process: Callable[[Transaction], Verdict | Awaited]
    ) -> None:
        """Who began them hears of it; nothing is recorded, as there was no verdict."""
        world.key("partner.test")
        world.faults["commit"] = StorageError("down")

        awaited = process(message("bob@partner.test", subject="*secure*"))

        assert isinstance(awaited, Awaited)
        with pytest.raises(StorageError, match="down"):
            awaited.begin(pytest.fail)
        assert world.events == []

    def test_a_further_copy(self, world: World, process: Callable[[Transaction], Verdict | Awaited]) -> None:
        """Where a copy leaves on its own, its rows are durable first, and the verdict is there at once."""
        world.key("partner.test")

        verdict = process(message("bob@partner.test", "carol@hosp.test", subject="*secure*"))

        assert isinstance(verdict, Accept)
        assert len(world.submitted) == 1
        assert world.happened.index("commit") < world.happened.index("submit") < world.happened.index("post")

    def test_a_held_copy(self, world: World, process: Callable[[Transaction], Verdict | Awaited]) -> None:
        """Where a copy is held, the journal knows the message: its rows are waited for on the spot."""
        world.key("partner.test")

        verdict = process(message("bob@partner.test", "eve@nokey.test", subject="*secure*"))

        assert isinstance(verdict, Accept)
        assert [row.outside for row in world.rows] == ["bob@partner.test"]
        assert world.happened.index("hold") < world.happened.index("commit") < world.happened.index("post")

    def test_what_has_no_thread(self, world: World, process: Callable[[Transaction], Verdict | Awaited]) -> None:
        """A message that nothing is written for gets its verdict at once."""
        assert process(message("bob@out.test")) == Accept()
        assert "commit" not in world.happened


@pytest.fixture(scope="module")
def encrypted_body() -> bytes:
    """Give the body of a message that is truly encrypted."""
    certificate = pysequoia.Tsk.generate("carol@hosp.test").extract_certificate()
    armor = pysequoia.encrypt(b"anything", [certificate]).replace(b"\n", b"\r\n")
    return (
        b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
        b"--b\r\nContent-Type: application/octet-stream\r\n\r\n" + armor + b"\r\n--b--\r\n"
    )


PLAINTEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + BODY


class TestIn:
    def test_encrypted_mail_meets_what_a_partners_row_asks(
        self, world: World, gateway: Build, encrypted_body: bytes
    ) -> None:
        """What is truly encrypted came as the row asks; what only says so is put off."""
        world.partner("partner.test", inbound="encrypt", inbound_action="tempfail")
        truly, labelled = (
            message("carol@hosp.test", client=OUTSIDE, sender="boss@partner.test", fields=ENCRYPTED, body=body)
            for body in (encrypted_body, b"--b--\r\n")
        )

        assert isinstance(processed(gateway(), truly), Accept)
        assert isinstance(processed(gateway(), labelled), TempFail)

    def test_plain_mail_gets_results_and_loses_forged_ones(self, gateway: Build) -> None:
        """Result fields are added on top; forged ones and a mark that proves nothing are gone, no more."""
        forged = (
            Field(b"Gatepost-Result", b" gw.hosp.test; decrypted=openpgp"),
            Field(b"Authentication-Results", b" gw.hosp.test; pgp=pass"),
            Field(b"Authentication-Results", b" mx.hosp.test; dkim=pass"),
        )
        transaction = message(
            "carol@hosp.test", client=OUTSIDE, sender="bob@partner.test", subject="x [-Encrypted-]", fields=forged
        )

        verdict = processed(gateway(), transaction)

        fields = in_place(verdict, transaction)
        assert isinstance(verdict, Accept)
        assert verdict.form.body is None
        assert [b" gw.hosp.test; decrypted=no; signed=none; came=plain"] == [
            one.value for one in named(fields, b"gatepost-result")
        ]
        assert [b" gw.hosp.test; none", b" mx.hosp.test; dkim=pass"] == [
            one.value for one in named(fields, b"authentication-results")
        ]
        assert [b" x"] == [one.value for one in named(fields, b"subject")]
        assert b"gatepost-result" == fields[0].key

    def test_the_mark_stays_in_a_protected_thread(self, world: World, gateway: Build) -> None:
        """An answer to what we protected keeps the mark."""
        world.threads = {hashed("<ours@hosp.test>")}
        transaction = message(
            "carol@hosp.test",
            client=OUTSIDE,
            sender="bob@partner.test",
            subject="Re: x [-Encrypted-]",
            fields=(Field(b"In-Reply-To", b" <ours@hosp.test>"),),
        )

        fields = in_place(processed(gateway(), transaction), transaction)

        assert [b" Re: x [-Encrypted-]"] == [one.value for one in named(fields, b"subject")]

    def test_what_opens_is_put_in_place(self, world: World, gateway: Build, encrypted_body: bytes) -> None:
        """The content is byte for byte what was encrypted; a bounce of it will carry headers only."""
        world.opens = {"carol@hosp.test": opened(PLAINTEXT, "none")}
        transaction = message(
            "carol@hosp.test", client=OUTSIDE, sender="bob@partner.test", fields=ENCRYPTED, body=encrypted_body
        )

        verdict = processed(gateway(), transaction)

        fields = in_place(verdict, transaction)
        assert isinstance(verdict, Accept)
        assert verdict.headers_only_bounces
        assert verdict.form.body is not None
        assert verdict.form.body.read() == BODY
        assert [b" text/plain; charset=utf-8"] == [one.value for one in named(fields, b"content-type")]
        assert [b" gw.hosp.test; decrypted=openpgp; signed=none; came=plain; flag=unauthenticated"] == [
            one.value for one in named(fields, b"gatepost-result")
        ]
        assert [("carol@hosp.test", "bob@partner.test", "decrypted")] == [
            (row.inside, row.outside, row.cause) for row in world.rows
        ]

    def test_others_get_the_message_as_it_came(self, world: World, gateway: Build, encrypted_body: bytes) -> None:
        """A key opens mail for its own address alone: the accomplice beside gets ciphertext, flagged."""
        world.opens = {"carol@hosp.test": opened(PLAINTEXT, "none")}
        transaction = message(
            "dave@hosp.test",
            "carol@hosp.test",
            client=OUTSIDE,
            sender="bob@partner.test",
            fields=ENCRYPTED,
            body=encrypted_body,
        )

        verdict = processed(gateway(), transaction)

        fields = in_place(verdict, transaction)
        assert isinstance(verdict, Accept)
        assert verdict.form.body is None
        assert b"flag=undecryptable" in named(fields, b"gatepost-result")[0].value
        assert ["carol@hosp.test"] == [one.text for one in verdict.removed]
        (copy,) = world.submitted
        assert copy.body.read() == BODY
        assert "RET=HDRS" in copy.parameters
        assert not copy.tls_route

    def test_a_signature_counts_for_the_author_alone(
        self, world: World, gateway: Build, encrypted_body: bytes
    ) -> None:
        """A valid signature names its key and how well that key is known."""
        world.key("bob@partner.test", trust=Trust.WKD)
        world.opens = {"carol@hosp.test": opened(PLAINTEXT, "pass", "FPR-bob@partner.test")}
        transaction = message(
            "carol@hosp.test", client=OUTSIDE, sender="bob@partner.test", fields=ENCRYPTED, body=encrypted_body
        )

        fields = in_place(processed(gateway(), transaction), transaction)

        signed = b"signed=pass by=bob@partner.test key=FPR-bob@partner.test trust=wkd"
        assert [b" gw.hosp.test; decrypted=openpgp; " + signed + b"; came=plain"] == [
            one.value for one in named(fields, b"gatepost-result")
        ]
        assert "open for carol@hosp.test from bob@partner.test" in world.happened

    def test_without_the_key_worker_mail_waits(self, world: World, gateway: Build, encrypted_body: bytes) -> None:
        """Nobody gets a message as it came only because the key worker is down."""
        world.faults = {"open for carol@hosp.test from bob@partner.test": WorkerError("down")}

        with pytest.raises(WorkerError):
            processed(
                gateway(),
                message(
                    "carol@hosp.test",
                    client=OUTSIDE,
                    sender="bob@partner.test",
                    fields=ENCRYPTED,
                    body=encrypted_body,
                ),
            )

    def test_what_is_submitted_needs_its_body(self, world: World, gateway: Build) -> None:
        """Plain mail for us and for others takes two forms, so its body is taken: one form is submitted whole."""
        transaction = message("carol@hosp.test", "x@out.test", client=OUTSIDE, sender="bob@partner.test")

        assert gateway().survey(transaction).needs_body
        processed(gateway(), transaction)
        assert BODY == world.submitted[0].body.read()

    def test_transit_is_passed_on(self, world: World, gateway: Build, encrypted_body: bytes) -> None:
        """Mail from outside to outside is neither opened nor protected; forged fields still go."""
        transaction = message(
            "x@out.test",
            client=OUTSIDE,
            sender="bob@partner.test",
            subject="*secure*",
            fields=(*ENCRYPTED, Field(b"Gatepost-Result", b" forged")),
            body=encrypted_body,
        )

        verdict = processed(gateway(), transaction)

        fields = in_place(verdict, transaction)
        assert not any(what.startswith("open") for what in world.happened)
        assert () == named(fields, b"gatepost-result")
        assert [b" *secure*"] == [one.value for one in named(fields, b"subject")]


class TestRecipients:
    @pytest.mark.parametrize(
        "text", [b"<x%out.test@hosp.test>", b"<out.test!x@hosp.test>", b'<"x@out.test"@hosp.test>', b"<>"]
    )
    def test_an_inside_address_that_names_a_route_is_refused(self, gateway: Build, text: bytes) -> None:
        """Postfix would send it outside although it reads as inside."""
        with pytest.raises(AddressError):
            gateway().check_recipient(address.parse(text))

    def test_an_empty_one_is_told_so(self, gateway: Build) -> None:
        """Mail to nobody is refused, and the error says what is wrong."""
        with pytest.raises(AddressError, match="the recipient is empty"):
            gateway().check_recipient(address.NULL_SENDER)

    @pytest.mark.parametrize(
        "text", [b"<x%out.test@localhost>", b"<out.test!x@localhost>", b"<x%out.test@[127.0.0.1]>"]
    )
    def test_so_is_one_at_a_name_that_postfix_may_take_for_its_own(self, gateway: Build, text: bytes) -> None:
        """No setting of ours names `localhost` and literals, and Postfix reads a route in front of them."""
        with pytest.raises(AddressError):
            gateway().check_recipient(address.parse(text))

    @pytest.mark.parametrize(
        "text",
        [b"<@relay.test:x@out.test>", b"<x@out.test >", b"<x@ out.test>", b"<x@out.test(y)>", b"< x@out.test>"],
    )
    def test_what_postfix_would_tidy_up_is_refused(self, gateway: Build, text: bytes) -> None:
        """It would be judged as another domain, or could not be taken off the message."""
        with pytest.raises(AddressError):
            gateway().check_recipient(address.parse(text))

    @pytest.mark.parametrize(
        "text",
        [
            b"<x%y@out.test>",
            b"<a!b@out.test>",
            b"<carol+tag@hosp.test>",
            b'<"odd local"@out.test>',
            b"<x@[192.0.2.1]>",
            b"<x@[IPv6:2001:db8::1]>",
            b"<postmaster>",
            b"x@out.test",
            b"<x@out.test.>",
            "<jürgen@bücher.test>".encode(),
        ],
    )
    def test_ordinary_addresses_are_not(self, gateway: Build, text: bytes) -> None:
        """Outside, such characters are the other site's business."""
        gateway().check_recipient(address.parse(text))


def leads(world: World, alias: str, *ends: str) -> None:
    """Let an alias lead somewhere; a leading `=` stands for tied, which then leads to whoever follows it."""
    first, *others = ends
    found = [at(one) for one in (first.removeprefix("="), *others)]
    if first.startswith("="):
        world.aliases[alias] = (Destination(found[0], tied=True, leads_to=tuple(found[1:])),)
    else:
        world.aliases[alias] = tuple(map(Destination, found))


def at(text: str) -> Address:
    return address.parse(f"<{text}>".encode())


def sent_to(world: World) -> list[list[str]]:
    return [[one.address.text for one in submission.recipients] for submission in world.submitted]


class TestAliases:
    def test_who_is_outside_behind_an_alias_gets_an_encrypted_copy(self, world: World, gateway: Build) -> None:
        """Nobody behind an alias stays in place: it would be expanded again; the parameters go along."""
        world.key("partner.test")
        leads(world, "both@hosp.test", "doc@hosp.test", "bob@partner.test")
        transaction = message("both@hosp.test", subject="*secure* x")

        verdict = processed(gateway(), transaction)

        assert verdict == Discard()
        assert [["doc@hosp.test"], ["bob@partner.test"]] == sent_to(world)
        inside, outside = world.submitted
        assert BODY in inside.body.read()
        assert b"ENCRYPTED TO partner.test" in outside.body.read()
        assert {("NOTIFY=NEVER",)} == {
            one.parameters for submission in world.submitted for one in submission.recipients
        }

    def test_the_alias_is_taken_off_what_stays(self, world: World, gateway: Build) -> None:
        """Where others stay in place, the recipient that led outside is taken off."""
        leads(world, "away@hosp.test", "bob@out.test")
        transaction = message("carol@hosp.test", "away@hosp.test")

        verdict = processed(gateway(), transaction)

        assert isinstance(verdict, Accept)
        assert (at("away@hosp.test"),) == verdict.removed
        assert [{}, {"queued_as": "Q1", "alias": "away@hosp.test"}] == [one.detail for one in world.events]
        assert [["bob@out.test"]] == sent_to(world)

    def test_its_copy_needs_the_body(self, world: World, gateway: Build) -> None:
        """A copy of one's own is submitted, so the body is taken though nothing demands it."""
        leads(world, "away@hosp.test", "bob@out.test")

        assert gateway().survey(message("away@hosp.test")).needs_body
        assert not gateway().survey(message("carol@hosp.test")).needs_body

    def test_an_alias_inside_stays_and_is_followed_when_submitted(self, world: World, gateway: Build) -> None:
        """An alias that stays inside stays in place; a copy that is submitted goes to its targets, once each."""
        leads(world, "team@hosp.test", "a@hosp.test", "b@hosp.test")
        assert Accept() == processed(gateway(), message("team@hosp.test"))

        released(gateway(), message("team@hosp.test"))
        assert [["a@hosp.test", "b@hosp.test"]] == sent_to(world)

    def test_what_is_tied_is_held_when_protection_is_demanded(self, world: World, gateway: Build) -> None:
        """What cannot be parted goes in clear only if nothing demands protection, no partner behind it either."""
        world.key("partner.test")
        world.key("hosp.test")
        leads(world, "tied@hosp.test", "=tied@hosp.test", "bob@out.test", "eve@partner.test")

        processed(gateway(), message("tied@hosp.test", subject="*secure* x"))
        assert ["tied@hosp.test"] == [one.recipient.address.text for one in world.held]
        assert "cannot be parted" in world.held[0].reasons[0]

        processed(gateway(), message("tied@hosp.test"))
        assert sent_to(world)[-1] == ["tied@hosp.test"]

        world.partner("partner.test", demand="encrypt")
        processed(gateway(), message("tied@hosp.test"))
        assert [(Treatment.QUARANTINE, "tied@hosp.test")] * 2 == [
            (one.treatment, one.recipient.address.text) for one in world.held
        ]

    def test_notices_go_to_insiders_alone(self, world: World, gateway: Build) -> None:
        """A notice goes where its recipient's aliases lead inside; to nobody if that is nowhere."""
        leads(world, "alice@hosp.test", "al@hosp.test", "alice@home.test")
        processed(gateway(), message("bob@out.test", subject="*secure* x"))
        assert [["al@hosp.test"]] == sent_to(world)

        world.told.clear()
        leads(world, "alice@hosp.test", "alice@home.test")
        processed(gateway(), message("bob@out.test", subject="*secure* x"))
        assert [["al@hosp.test"]] == sent_to(world)

    def test_a_notice_is_about_those_behind_an_alias(
        self, world: World, gateway: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who got the message and who did not is told of the recipients behind aliases, not of the alias."""
        told: list[Address] = []

        def notice(transaction: Transaction, judgements: Sequence[Judgement]) -> Notice:
            told.extend(one.address for one in transaction.recipients)
            return World.notice(world, transaction, judgements)

        monkeypatch.setattr(world, "notice", notice)
        leads(world, "both@hosp.test", "doc@hosp.test", "eve@nokey.test")

        processed(gateway(), message("both@hosp.test", subject="*secure* x"))

        assert [at("doc@hosp.test"), at("eve@nokey.test")] == told

    def test_what_comes_in_is_opened_for_insiders_alone(
        self, world: World, gateway: Build, encrypted_body: bytes
    ) -> None:
        """Mail to an alias is opened with the alias's key for the insiders behind it; others get it as it came."""
        leads(world, "both@hosp.test", "doc@hosp.test", "x@out.test")
        world.opens = {"both@hosp.test": opened(PLAINTEXT, "none")}
        transaction = message(
            "both@hosp.test", client=OUTSIDE, sender="bob@partner.test", fields=ENCRYPTED, body=encrypted_body
        )

        assert processed(gateway(), transaction) == Discard()

        bodies = {tuple(one.address.text for one in copy.recipients): copy.body.read() for copy in world.submitted}
        assert {("doc@hosp.test",): BODY, ("x@out.test",): encrypted_body} == bodies

    def test_the_plan_tells_the_alias(self, world: World, gateway: Build) -> None:
        """Every judgement about someone behind an alias says so first."""
        leads(world, "away@hosp.test", "bob@out.test")
        transaction = message("away@hosp.test")
        built = gateway()

        (judgement,) = built.plan(transaction, built.survey(transaction)).judgements
        assert judgement.reasons[0] == "the alias away@hosp.test leads here"


def test_a_message_that_is_split_makes_room(world: World, gateway: Build) -> None:
    """Just before the journal is written, others may go on."""
    world.key("partner.test")
    world.partner("partner.test", demand="encrypt")
    transaction, built = message("bob@partner.test", "eve@plain.test"), gateway()
    room: list[int] = []
    budget = Budget(60, keepalive=lambda: None, aside=lambda: room.append(len(world.happened)))
    built.process(transaction, built.survey(transaction), budget)

    assert world.happened.index("journal add") in room


def test_a_release_is_noted_before_and_after(world: World, gateway: Build) -> None:
    """The journal knows of a release before its first copy goes and after its last; then it is recorded."""
    world.key("partner.test")
    transaction, budget = message("bob@partner.test", subject="*secure* x"), Budget(60, keepalive=lambda: None)

    with Journal(FakeJournal(world), holder="release").release(UUID(int=1), transaction, budget) as attempt:
        attempt.find()
        world.happened.clear()
        gateway().release(transaction, budget, attempt)

    steps = ("journal add", "commit", "journal save", "submit", "post")
    assert [one for one in world.happened if one in steps] == [
        "journal add",
        "commit",
        "journal save",
        "submit",
        "journal save",
        "post",
        "journal save",  # the lease is given back
    ]
    assert [event.kind for event in world.events] == ["release"]


class TestRelease:
    @pytest.fixture
    def journal(self) -> Journal:
        return Journal(FakeJournal(World()), holder="release")

    def release(self, gateway: Gateway, journal: Journal, *recipients: str) -> list[tuple[str, str]]:
        """Release one held message to these; gives for whom what was decided."""
        transaction, budget = message(*recipients), Budget(60, keepalive=lambda: None)
        with journal.release(UUID(int=1), transaction, budget) as attempt:
            attempt.find()
            judgements = gateway.release(transaction, budget, attempt)
        return [(one.recipient.address.text, str(one.treatment)) for one in judgements]

    def test_nobody_gets_a_second_copy(self, world: World, gateway: Build, journal: Journal) -> None:
        """Who got the message by an earlier release is told and recorded as such, and gets no other."""
        self.release(gateway(), journal, "a@out.test")
        world.events.clear()

        both = self.release(gateway(), journal, "b@out.test", "a@out.test")
        again = self.release(gateway(), journal, "b@out.test", "a@out.test")

        assert [["a@out.test"], ["b@out.test"]] == sent_to(world)
        assert [("a@out.test", "pass"), ("b@out.test", "pass")] == both == sorted(again)
        assert ["a@out.test", "b@out.test"] * 2 == sorted([one.recipient for one in world.events[:2]]) + sorted(
            [one.recipient for one in world.events[2:]]
        )
        assert {"release"} == {one.kind for one in world.events}

    def test_who_has_to_wait_holds_up_no_other(self, world: World, gateway: Build, journal: Journal) -> None:
        """While nobody knows whether TLS to one is assured, this one's copy stays held; the others go."""
        world.unknown("dane.test")

        found = self.release(gateway(TLS_RULE), journal, "a@dane.test", "b@hosp.test")

        assert sorted(found) == [("a@dane.test", "tempfail"), ("b@hosp.test", "pass")]
        assert [["b@hosp.test"]] == sent_to(world)

    def test_nothing_is_said_of_who_was_not_asked_for(
        self, world: World, gateway: Build, journal: Journal
    ) -> None:
        """A release to one recipient tells and records nothing of another's copy that went before."""
        self.release(gateway(), journal, "a@out.test")
        world.events.clear()

        assert [("b@out.test", "pass")] == self.release(gateway(), journal, "b@out.test")
        assert ["b@out.test"] == [one.recipient for one in world.events]

    def test_who_is_refused_holds_up_no_other(self, world: World, gateway: Build, journal: Journal) -> None:
        """The others get the message; what was decided is told of everybody."""
        built = gateway(rule('recipient = "*@no.test"', "reject"))

        told = self.release(built, journal, "a@out.test", "eve@no.test", "b@out.test")

        assert [("eve@no.test", "reject"), ("a@out.test", "pass"), ("b@out.test", "pass")] == told
        assert [["a@out.test", "b@out.test"]] == sent_to(world)

    def test_all_may_be_refused(self, world: World, gateway: Build, journal: Journal) -> None:
        """Then nothing goes, and everybody's refusal is told."""
        built = gateway(rule('recipient = "*@no.test"', "reject"))

        assert [("eve@no.test", "reject")] == self.release(built, journal, "eve@no.test")
        assert [] == world.submitted


def test_it_proves_that_its_writer_lives(world: World, gateway: Build) -> None:
    """The proof goes through what writes threads."""
    gateway().prove_alive()

    assert world.happened == ["commit"]


def test_closing_writes_what_waits(world: World, gateway: Build) -> None:
    """What is still to be recorded is written, and the engine's processes go."""
    gateway().close()

    assert world.happened == ["close", "close"]
