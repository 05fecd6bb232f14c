"""What a rule's `when` can ask."""

import time
from collections.abc import Callable
from itertools import product

import pytest

from gatepost.decision.condition import AllOf, Answer, AnyOf, Everything, Not, SizeOver
from gatepost.decision.facts import RecipientFacts
from gatepost.decision.rules import RuleSet
from gatepost.decision.view import View
from gatepost.message import address
from gatepost.message.body import MemoryBody
from gatepost.message.direction import Direction
from gatepost.message.field import Field
from gatepost.message.transaction import Client, Recipient, Transaction

Read = Callable[[str], RuleSet]
HEADER = (
    Field(b"Subject", b" Quarterly\n Report"),
    Field(b"Subject ", b" =?utf-8?q?Gr=C3=BC=C3=9Fe?="),
    Field(b"X-Class", b" Strictly =?utf-8?q?Confidential?="),
)
FACTS = RecipientFacts(Recipient(address.parse(b"<Bob+x@Partner.test>")), Direction.OUT)


def message(**more: object) -> Transaction:
    return Transaction(
        client=Client(authenticated="anna"),
        sender=address.parse(b"<Anna@Hosp.test>"),
        parameters=(),
        recipients=(FACTS.recipient,),
        fields=HEADER,
        body=MemoryBody(b"x" * 1000),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("everything = true", True),
        ('direction = "out"', True),
        ('direction = ["in", "internal"]', False),
        ('sender = "anna@hosp.test"', True),
        ('sender = "ANNA@*"', True),
        ('sender = ["x@*", "anna@*"]', True),
        ('sender = "*@test"', False),
        ('sender = "<>"', False),
        ('recipient = ["*@other.test", "bob*@partner.test"]', True),
        ('recipient = "bob@partner.test"', False),
        ('recipient = "*@*.partner.test"', False),
        ('recipient = "*.test"', True),
        ('subject = "quarterly report"', True),
        ('subject = "^report"', False),
        ('subject = ["x", "^grüsse|grüße$"]', True),
        ('header.x-class = "^strictly confidential$"', True),
        ('"header.X-Class" = "secret"', False),
        ('header.X-None = ".*"', False),
        ("size_over = 1000", True),
        ("size_over = 1113", True),
        ("size_over = 1114", False),
        ("authenticated = true", True),
        ("authenticated = false", False),
        ("recipients_over = 2", True),
        ("recipients_over = 3", False),
        ('detect = "us-ssn", at_least = 2', True),
        ('detect = "us-ssn", at_least = 3', False),
        ('detect = "payment-card"', True),
        ('sender = "anna@*", recipient = "x@*"', False),
        ('not = { sender = "anna@*", recipient = "x@*" }', True),
        ('any = [{ sender = "x@*" }, { recipient = "bob*@*" }]', True),
        ('all = [{ sender = "anna@*" }, { not = { recipient = "bob*@*" } }]', False),
    ],
)
def test_conditions(rules_of: Read, when: str, *, expected: bool) -> None:
    """Each condition asks what the rule language says; several in one table must all hold."""
    rules = rules_of(f'[[rule]]\nname = "r"\nwhen = {{ {when} }}\ndemand = "encrypt"')
    view = View.of(message(), rules.tags, outside=3, finds={"us-ssn": 2, "payment-card": 1})

    assert rules.rules[0].condition.holds(view, FACTS) is expected


def test_size_is_that_of_the_message_on_the_wire() -> None:
    """Header, the empty line and body count, line ends included."""
    view = View.of(message(), RuleSet().tags, outside=1)

    assert view.size == sum(len(field.wire()) for field in HEADER) + 2 + 1000
    assert View.of(message(), RuleSet().tags, outside=1, complete=False).size is None


def test_the_null_sender_can_be_named(rules_of: Read) -> None:
    """Bounces have a sender that globs can match."""
    rules = rules_of('[[rule]]\nname = "r"\nwhen = { sender = "<>" }\ndemand = "tls"')

    assert rules.rules[0].condition.holds(View(sender="<>"), FACTS)


@pytest.mark.parametrize(("one", "two"), list(product([True, False, None], repeat=2)))
def test_three_values(one: Answer, two: Answer) -> None:
    """Unknown stays unknown unless the other side decides (Kleene)."""
    conditions = tuple(map(answering, (one, two)))
    both = False if False in (one, two) else None if None in (one, two) else True
    either = True if True in (one, two) else None if None in (one, two) else False

    assert AllOf(conditions).holds(View(sender=""), FACTS) is both
    assert AnyOf(conditions).holds(View(sender=""), FACTS) is either
    assert Not(conditions[0]).holds(View(sender=""), FACTS) is (None if one is None else not one)


def answering(answer: Answer) -> Everything | Not | SizeOver:
    return {True: Everything(), False: Not(Everything()), None: SizeOver(1)}[answer]


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|aa)+$", "(a*)*b", "a*a*a*a*b"])
def test_no_expression_hangs_on_a_hostile_subject(rules_of: Read, expression: str) -> None:
    """An admin's careless expression takes time linear in the text."""
    rules = rules_of(f'[[rule]]\nname = "r"\nwhen = {{ subject = "{expression}" }}\ndemand = "encrypt"')
    view = View(sender="", subjects=("a" * 50_000 + "!",))
    started = time.process_time()

    assert rules.rules[0].condition.holds(view, FACTS) is False
    assert time.process_time() - started < 10


def test_no_glob_hangs_on_a_hostile_address(rules_of: Read) -> None:
    """A glob with many stars takes bounded time on the longest address."""
    rules = rules_of('[[rule]]\nname = "r"\nwhen = { sender = "*a*a*a*a*a*a*a*a*a*a*b@*" }\ndemand = "encrypt"')
    started = time.process_time()

    assert rules.rules[0].condition.holds(View(sender="a" * 500 + "@x.test"), FACTS) is False
    assert time.process_time() - started < 10
