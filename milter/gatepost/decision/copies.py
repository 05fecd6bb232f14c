"""
Copies: which recipients share one form of the message, and which copy stays in place.

Recipients share a copy if treatment, next hop, mark, signing and the weakest cipher allowed are the same. Those
who do not see each other share no OpenPGP or CMS recipient list: a recipient who is not named in To or Cc shares
a copy only with others who have exactly the same keys. At most one copy stays in place: one that passes, else
over TLS, else the largest encrypted one; a held copy never. Recipients to whom aliases lead do not stand in the
envelope: they share no copy with those who do, and theirs never stays in place.
"""

from collections.abc import Sequence

from gatepost.decision.demand import ENCRYPTING, PROTECTING, Treatment
from gatepost.decision.plan import Copy, Judgement
from gatepost.decision.view import View
from gatepost.directory.key import Key
from gatepost.message import subject
from gatepost.message.field import Field
from gatepost.message.subject import MARK, Tags

_LISTED = frozenset({Treatment.OPENPGP, Treatment.SMIME})
_SEPARATORS = bytes.maketrans(b'<>,;:"()[]\t\r\n', b" " * 13)

_Group = tuple[Treatment, str, bool, tuple[str, ...], str, str, bool]


def shared(view: View, judgements: Sequence[Judgement], tags: Tags) -> tuple[Copy, ...]:
    """Group the recipients of a message that is not rejected into copies, in the order of the recipients."""
    groups: dict[_Group, list[Judgement]] = {}
    seen = _visible(view.fields) if _needs_seen(judgements) else frozenset()
    for judgement in judgements:
        groups.setdefault(_group(judgement, seen), []).append(judgement)
    stays = _staying(groups)
    return tuple([_copy(view, members, tags, in_place=group == stays) for group, members in groups.items()])


def _needs_seen(judgements: Sequence[Judgement]) -> bool:
    return len(judgements) > 1 and any(judgement.treatment in _LISTED for judgement in judgements)


def _group(judgement: Judgement, seen: frozenset[bytes]) -> _Group:
    treatment = judgement.treatment
    aliased = judgement.recipient.alias is not None
    if treatment not in PROTECTING:
        return (treatment, "", False, (), judgement.signed, "", aliased)
    hidden: tuple[str, ...] = ()
    if treatment in _LISTED and str(judgement.recipient.address).lower().encode() not in seen:
        hidden = ("hidden", *sorted(key.fingerprint for key in judgement.keys))
    nexthop = judgement.nexthop if treatment is Treatment.TLS else ""
    floor = judgement.floor if treatment is Treatment.SMIME else ""
    return (treatment, nexthop, judgement.mark, hidden, judgement.signed, floor, aliased)


def _visible(fields: Sequence[Field]) -> frozenset[bytes]:
    """
    Name every address that stands in To or Cc, in lower case.

    Whatever is not plainly there, such as an address in an encoded word, counts as hidden.
    """
    words: set[bytes] = set()
    for field in fields:
        if field.key in {b"to", b"cc"}:
            text = field.value.translate(_SEPARATORS).lower()
            words.update(word for word in text.split() if b"@" in word)
    return frozenset(words)


def _staying(groups: dict[_Group, list[Judgement]]) -> _Group | None:
    """Choose the copy that stays in place; of several equals the one with the most recipients."""
    if not groups:
        return None
    best = max(groups, key=lambda group: (_rank(group), len(groups[group])))
    return best if _rank(best) else None


def _rank(group: _Group) -> int:
    treatment, *_, aliased = group
    if aliased:
        return 0
    if treatment is Treatment.PASS:
        return 3
    if treatment is Treatment.TLS:
        return 2
    return 1 if treatment in ENCRYPTING else 0


def _copy(view: View, members: Sequence[Judgement], tags: Tags, *, in_place: bool) -> Copy:
    first = members[0]
    mark = first.mark and first.treatment in PROTECTING
    keys: dict[str, Key] = {key.fingerprint: key for member in members for key in member.keys}
    return Copy(
        treatment=first.treatment,
        recipients=tuple([member.recipient for member in members]),
        subject=_subject(view, tags) if mark else next(iter(view.subjects), ""),
        in_place=in_place,
        keys=tuple(keys.values()),
        nexthop=first.nexthop,
        mark=mark,
        signed=first.signed,
        floor=first.floor,
    )


def _subject(view: View, tags: Tags) -> str:
    values = (field.value for field in view.fields if subject.is_subject(field))
    return next((subject.decode(subject.marked(value, tags)) for value in values), MARK)
