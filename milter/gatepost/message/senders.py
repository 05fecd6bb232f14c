"""
Everybody who might be taken for the sender of a message: the envelope sender, and whoever stands in From.

Generous on purpose, unlike `author`: what is asked of mail from a partner must not be dodged by a way of writing
that some mail program understands. Comments, blanks, quotes, encoded words and whatever else RFC 5322 section
3.4 and 4.4 allow around an address make no difference; a display name that looks like an address counts as one.
It takes time linear in the length.
"""

import re
from collections.abc import Iterable, Iterator

from gatepost.errors import AddressError
from gatepost.message import encoded_word
from gatepost.message.address import Address, parse
from gatepost.message.field import Field, named, unfold

_MOST = 100  # more than anybody needs, and look-ups that one message may cost
_MOST_LOCAL = 64  # RFC 5321 section 4.5.3.1.1
_NESTED = 20  # comments in comments
_COMMENT = re.compile(r"\([^()]*\)")
_ESCAPED = re.compile(r"\\[()]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_BLANK = re.compile(r" ?([@.]) ?")
_BETWEEN = frozenset(' <>",;:()[]\\')
_WORD = re.compile(r'[^ <>",;:()\\\[\]]+')


def senders(envelope: Address, fields: Iterable[Field]) -> tuple[Address, ...]:
    """
    Give the envelope sender and every address that a From field could be read to name; none is null.

    Raises AddressError for a From that names more than 100: nobody may hide one among them.
    """
    found: dict[str, None] = {}
    values = (field.value for field in named(fields, b"from"))
    for text in (envelope.text, *(unfold(value).decode("utf-8", "replace") for value in values)):
        for reading in _readings(text):
            found.update(dict.fromkeys(_addresses_in(reading)))
            if len(found) > _MOST:
                raise AddressError(f"From names more than {_MOST} addresses")
    return tuple([address for text in found if (address := _parsed(text)) is not None])


def _readings(text: str) -> Iterator[str]:
    """Give a text as it stands and its encoded words decoded, each also without comments and needless blanks."""
    for one in dict.fromkeys((text, encoded_word.decode(text))):
        plain = " ".join(_CONTROL.sub("", one).split())
        yield plain
        bare = _ESCAPED.sub("", plain)
        for _ in range(_NESTED if "(" in bare else 0):
            bare = _COMMENT.sub("", bare)
        yield _BLANK.sub(r"\1", " ".join(bare.split()))


def _addresses_in(text: str) -> Iterator[str]:
    """Give what stands around each @; without the quotes of a local part, and no more of it than may be."""
    before, *rest = text.split("@")
    for after in rest:
        domain = _WORD.match(after)
        local = _local(before)
        if domain is not None and local:
            yield f"{local[-_MOST_LOCAL:]}@{domain[0]}"
        before = after


def _local(before: str) -> str:
    if before.endswith('"'):
        return before[before.rfind('"', 0, -1) + 1 : -1].replace("\\", "")
    start = len(before)
    while start and before[start - 1] not in _BETWEEN:
        start -= 1
    return before[start:]


def _parsed(text: str) -> Address | None:
    """Read what stands in a header; None for what no mail server takes, and so is no partner's."""
    try:
        return parse(text.encode("utf-8", "replace"))
    except AddressError:
        return None
