"""Which recipients share a copy, and which copy stays in place."""

from dataclasses import replace
from typing import Any

import pytest

from gatepost.decision.copies import shared
from gatepost.decision.demand import Demand, Treatment
from gatepost.decision.plan import Copy, Judgement
from gatepost.decision.view import View
from gatepost.directory.key import Key, Trust
from gatepost.message import address
from gatepost.message.direction import Direction
from gatepost.message.field import Field
from gatepost.message.subject import Tags
from gatepost.message.transaction import Recipient

T = Treatment


def judgement(to: str, treatment: Treatment, *keys: str, **more: Any) -> Judgement:
    return Judgement(
        recipient=Recipient(address.parse(f"<{to}>".encode())),
        direction=more.pop("direction", Direction.OUT),
        demand=Demand.NONE,
        rules=(),
        treatment=treatment,
        reasons=(),
        keys=tuple(Key(name, "openpgp", to, b"", Trust.ADMIN) for name in keys),
        **more,
    )


def copies(*judgements: Judgement, to: bytes = b"", cc: bytes = b"") -> list[tuple[str, str]]:
    """Give each copy as (treatment, or !treatment if in place; its recipients' local parts)."""
    return [
        (("!" if copy.in_place else "") + copy.treatment, "".join(one.address.local for one in copy.recipients))
        for copy in plan(*judgements, to=to, cc=cc)
    ]


def plan(*judgements: Judgement, to: bytes = b"", cc: bytes = b"") -> tuple[Copy, ...]:
    fields = (Field(b"To", to), Field(b"CC", cc))
    return shared(View(sender="s@hosp.test", fields=fields), judgements, Tags.of(()))


def test_all_that_passes_shares_the_copy_in_place() -> None:
    """Internal and passed recipients get the original, whatever their direction."""
    people = [
        judgement(f"{name}@x.test", T.PASS, direction=way) for name, way in zip("abcd", Direction, strict=True)
    ]

    assert copies(*people) == [("!pass", "abcd")]


@pytest.mark.parametrize("treatment", [T.OPENPGP, T.SMIME])
def test_visible_recipients_share_a_recipient_list(treatment: Treatment) -> None:
    """Recipients who see each other in To and Cc share one copy, encrypted to all their keys."""
    people = (judgement("a@x.test", treatment, "A"), judgement("B@y.test", treatment, "B", "A"))

    found = plan(*people, to=b' "A, the first" <A@x.test>', cc=b"\n b@y.test (Bob)")

    assert [len(copy.recipients) for copy in found] == [2]
    assert [key.fingerprint for key in found[0].keys] == ["A", "B"]


def test_visible_recipients_share_beside_one_who_passes() -> None:
    """Whoever else gets the message, recipients who see each other share their copy."""
    people = (
        judgement("a@x.test", T.OPENPGP, "A"),
        judgement("b@x.test", T.OPENPGP, "B"),
        judgement("c@x.test", T.PASS),
    )

    assert copies(*people, to=b" a@x.test, b@x.test") == [("openpgp", "ab"), ("!pass", "c")]


@pytest.mark.parametrize("treatment", [T.OPENPGP, T.SMIME])
def test_a_hidden_recipient_shares_no_recipient_list(treatment: Treatment) -> None:
    """The key of a Bcc recipient never shows in another recipient's copy."""
    people = [judgement(f"{name}@x.test", treatment, name.upper()) for name in "abcd"]

    assert copies(*people, to=b" a@x.test, b@x.test") == [
        (f"!{treatment}", "ab"),
        (treatment, "c"),
        (treatment, "d"),
    ]


def test_hidden_recipients_of_one_domain_key_share_a_copy() -> None:
    """A copy whose only key is the domain's tells nobody who else got it."""
    people = [judgement(f"{name}@x.test", T.OPENPGP, "DOMAIN") for name in "ab"]

    assert copies(*people) == [("!openpgp", "ab")]


@pytest.mark.parametrize(
    "to", [b" bb@x.test", b" b@x.test.evil", b" =?utf-8?q?b=40x.test?=", b" b @x.test", b" b%x.test"]
)
def test_in_doubt_a_recipient_counts_as_hidden(to: bytes) -> None:
    """Only an address that plainly stands in To or Cc is visible."""
    people = (judgement("a@x.test", T.OPENPGP, "A"), judgement("b@x.test", T.OPENPGP, "B"))

    assert len(copies(*people, to=to, cc=b" a@x.test")) == 2


def test_tls_copies_are_split_by_next_hop() -> None:
    """Each TLS copy goes to one next hop."""
    hops = {"a": "x.test", "b": "y.test", "c": "x.test"}
    people = [judgement(f"{name}@z.test", T.TLS, nexthop=hop) for name, hop in hops.items()]

    assert copies(*people) == [("!tls", "ac"), ("tls", "b")]
    assert [copy.nexthop for copy in plan(*people)] == ["x.test", "y.test"]


def test_copies_with_and_without_mark_differ() -> None:
    """Two subjects need two copies."""
    people = (judgement("a@x.test", T.TLS, mark=True), judgement("b@x.test", T.TLS))

    assert [(copy.mark, len(copy.recipients)) for copy in plan(*people)] == [(True, 1), (False, 1)]


def test_a_held_copy_is_one_whatever_the_mark() -> None:
    """Held copies keep the subject, so all held recipients share one."""
    people = (judgement("a@x.test", T.QUARANTINE, mark=True), judgement("b@x.test", T.QUARANTINE))

    assert copies(*people) == [("quarantine", "ab")]


@pytest.mark.parametrize(
    ("treatments", "expected"),
    [
        ("pass tls openpgp openpgp", "pass"),
        ("tls openpgp openpgp", "tls"),
        ("openpgp pickup pickup", "pickup"),
        ("pickup openpgp openpgp", "openpgp"),
        ("quarantine quarantine openpgp", "openpgp"),
        ("quarantine quarantine tls", "tls"),
    ],
)
def test_which_copy_stays_in_place(treatments: str, expected: str) -> None:
    """What passes stays, else TLS, else the largest encrypted copy; a held one never."""
    people = [judgement(f"u{number}@x.test", T(word), "K") for number, word in enumerate(treatments.split())]

    assert [copy.treatment for copy in plan(*people) if copy.in_place] == [expected]


def test_nothing_stays_where_all_is_held() -> None:
    """A plan of held copies leaves nothing in the queue."""
    assert copies(judgement("a@x.test", T.QUARANTINE)) == [("quarantine", "a")]


def test_who_is_behind_an_alias_stays_not_in_place() -> None:
    """Those whom aliases lead to are not in the envelope: they share no copy with those who are."""
    behind = judgement("b@x.test", T.PASS)
    behind = replace(behind, recipient=replace(behind.recipient, alias=address.parse(b"<a@hosp.test>")))

    assert copies(behind) == [(T.PASS, "b")]
    assert copies(judgement("c@x.test", T.PASS), behind) == [("!pass", "c"), (T.PASS, "b")]


def test_signing_and_floors_part_recipients() -> None:
    """One whose copy is signed and one whose is not share none; nor do those with different weakest ciphers."""
    people = (
        judgement("a@x.test", T.SMIME, "A", signed="smime"),
        judgement("b@x.test", T.SMIME, "B"),
        judgement("c@x.test", T.SMIME, "C", signed="smime", floor="aes256-gcm"),
        judgement("d@x.test", T.SMIME, "D", signed="smime"),
        judgement("e@x.test", T.TLS, floor="aes256-gcm"),
        judgement("f@x.test", T.TLS),
    )
    found = plan(*people, to=b"a@x.test, b@x.test, c@x.test, d@x.test, e@x.test, f@x.test")

    assert [
        ("".join(one.address.local for one in copy.recipients), copy.signed, copy.floor) for copy in found
    ] == [
        ("ad", "smime", ""),
        ("b", "", ""),
        ("c", "smime", "aes256-gcm"),
        ("ef", "", "aes256-gcm"),
    ]
