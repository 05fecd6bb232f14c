"""
The subject: tags that ask for protection, and the mark that tells outsiders of it.

Tags are found as a reader would see them: encoded words decoded (RFC 2047), folded lines joined, full-width and
other compatibility forms (Unicode NFKD) and characters without width seen through, case ignored. A tag in stars
matches with more stars and with blanks inside them. A tag that ends in a slash matches at the start (after Re:,
Fwd: and the like), or before a blank or the end. Any other tag matches where it stands; as a word, if it is one.

Finding and rewriting take time linear in the length of the subject, whatever a sender writes.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from gatepost.message import encoded_word
from gatepost.message.edit import Change, Edit, Prepend
from gatepost.message.field import Field, unfold

MARK = "[-Encrypted-]"
_NAME = b"Subject"
_COLUMN = len("Subject:")
_LINE = 78  # RFC 5322 section 2.1.1
_PASSES = 8
_REPLY = re.compile(
    r"\s*(?:(?:re|r|fwd|fw|aw|wg|antw|antwort|sv|vs|vb|rv|tr|rif|ref|res|enc|odp|pd|ynt|ilt|vl|i|doorst|回复|答复|转发)"
    r"(?:\s?[\[(]\d{1,4}[\])]|\^\d{1,4})?\s?:\s*)*",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_HOLLOW = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")  # shown as nothing, though not of category Cf


@dataclass(frozen=True, slots=True)
class Match:
    """A tag found: the tag as configured, and where it stands in the text."""

    tag: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Tag:
    word: str
    core: str  # every match holds it, in normal form
    pattern: re.Pattern[str]
    stars: bool
    slash: bool


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags to look for, ready to be used."""

    words: tuple[str, ...]
    tags: tuple[_Tag, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> "Tags":
        """Prepare tags; raises ValueError for one that holds nothing to look for."""
        kept = tuple(dict.fromkeys(words))
        return cls(kept, tuple(_prepared(word) for word in kept))

    def with_mark(self) -> "Tags":
        """Give these tags and the mark."""
        return _with_mark(self)


@lru_cache(maxsize=64)
def _with_mark(tags: Tags) -> Tags:
    return Tags.of((*tags.words, MARK))


def _prepared(word: str) -> _Tag:
    normal = " ".join(_normal(word)[0].split())
    stars = len(normal) > 2 and normal[0] == normal[-1] == "*"  # noqa: PLR2004 - two stars and something inside
    core = normal.strip("*").strip() if stars else normal
    if not core.strip("*/ "):
        raise ValueError(f"the tag {word!r} holds nothing to look for")
    body = r"\s+".join(re.escape(part) for part in core.split())
    slash = normal.endswith("/")
    if stars:
        body = rf"\*\s*{body}\s*\*"
    else:
        body = (r"(?<!\w)" if core[0].isalnum() else "") + body + (r"(?!\w)" if core[-1].isalnum() else "")
    return _Tag(word, core.split()[0], re.compile(body, re.IGNORECASE), stars, slash)


def is_subject(field: Field) -> bool:
    """Tell whether this is a Subject field, `Subject :` with a blank (RFC 5322 section 4.5) included."""
    return field.key == b"subject"


def decode(value: bytes) -> str:
    """Give the subject as people read it: one line, encoded words decoded, without blanks around it."""
    return encoded_word.decode(_text(unfold(_clean(value)))).strip()


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def tags_in(text: str, tags: Tags) -> tuple[Match, ...]:
    """Find every tag in a decoded subject, in the order in which they stand."""
    if text.isascii() and not _CONTROL.search(text):
        return _found(text.lower(), tags)
    normal, origin = _normal(text)
    return tuple(
        Match(match.tag, origin[match.start], origin[match.end - 1] + 1) for match in _found(normal, tags)
    )


def _found(normal: str, tags: Tags) -> tuple[Match, ...]:
    found: list[Match] = []
    for tag in tags.tags:
        if tag.core not in normal:
            continue
        start = _REPLY.match(normal).end() if tag.slash else -1  # type: ignore[union-attr] # matches always
        for match in tag.pattern.finditer(normal):
            if tag.slash and match.start() != start and normal[match.end() : match.end() + 1].strip():
                continue
            found.append(Match(tag.word, *(_stretched(normal, *match.span()) if tag.stars else match.span())))
    found.sort(key=lambda match: (match.start, -match.end))
    return tuple(found)


def _stretched(text: str, start: int, end: int) -> tuple[int, int]:
    """Take in all stars around a match."""
    while start and text[start - 1] == "*":
        start -= 1
    while end < len(text) and text[end] == "*":
        end += 1
    return start, end


def _normal(text: str) -> tuple[str, list[int]]:
    """Give the text as it is compared, and for each of its characters where it comes from."""
    characters: list[str] = []
    origin: list[int] = []
    for place, char in enumerate(text):
        if unicodedata.category(char) in {"Cf", "Cc"} and not char.isspace():
            continue
        if char in _HOLLOW or "\ufe00" <= char <= "\ufe0f":
            continue
        for part in unicodedata.normalize("NFKD", char).casefold():
            characters.append(part)
            origin.append(place)
    return "".join(characters), origin


def marked(value: bytes, tags: Tags) -> bytes:
    """
    Give the raw field value for a protected copy.

    The first tag becomes the mark, all others go; without a tag the mark is appended; it never stands twice.
    An ASCII subject without encoded words keeps its bytes and folding around the tag.
    """
    wanted = tags.with_mark()
    if _is_plain(value):
        return _marked(_clean(value).decode("ascii"), wanted).encode("ascii")
    text = decode(value)
    if value.isascii():  # encoded words that need no change stay as they were encoded
        spans = _spans(tags_in(text, wanted))
        if not spans:
            return _appended(_clean(value).decode("ascii")).encode("ascii")
        if [text[start:end] for start, end in spans] == [MARK]:
            return _clean(value)
    return encoded_word.encode(_marked(text, wanted), _COLUMN)


def unmarked(value: bytes) -> bytes:
    """Give the raw field value without any mark; the value itself where there is none."""
    return cleared(value, _with_mark(Tags((), ())))


def cleared(value: bytes, tags: Tags) -> bytes:
    """Give the raw field value without any of the tags; the value itself where there is none."""
    text = _clean(value).decode("ascii") if _is_plain(value) else decode(value)
    if not tags_in(text, tags):
        return value
    for _ in range(_PASSES):
        spans = _spans(tags_in(text, tags))
        if not spans:
            return text.encode("ascii") if _is_plain(value) else encoded_word.encode(text, _COLUMN)
        for start, end in reversed(spans):
            text = _without(text, start, end)
    return b" "


def _is_plain(value: bytes) -> bool:
    return value.isascii() and b"=?" not in value


def _clean(value: bytes) -> bytes:
    """Take out what no field value may hold: NUL, CR, and line ends that would start another field."""
    if b"\n" not in value and b"\r" not in value and b"\0" not in value:
        return value
    return re.sub(rb"\n(?![ \t])", b"\n ", value.translate(None, b"\r\0").rstrip(b"\n"))


def _marked(text: str, tags: Tags) -> str:
    for _ in range(_PASSES):
        spans = _spans(tags_in(text, tags))
        if not spans:
            return _appended(text)
        start, end = spans[0]
        if len(spans) == 1 and text[start:end] == MARK:
            return text
        for other in reversed(spans[1:]):
            text = _without(text, *other)
        text = _framed(text[:start], text[end:])
    return f" {MARK}"  # tags nested in tags, again and again: nobody's words are lost with them


def _spans(matches: Iterable[Match]) -> list[tuple[int, int]]:
    """Join matches that overlap."""
    spans: list[tuple[int, int]] = []
    for match in matches:
        if spans and match.start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], match.end))
        else:
            spans.append((match.start, match.end))
    return spans


def _framed(before: str, after: str) -> str:
    """Put the mark between, apart from a word that touched the tag."""
    left = " " if before[-1:].isalnum() else ""
    right = " " if after[:1].isalnum() else ""
    return f"{before}{left}{MARK}{right}{after}"


def _without(text: str, start: int, end: int) -> str:
    """Cut a tag out, with the blanks before it; at the start with those after it."""
    before, after = text[:start], text[end:]
    if before.strip():
        return before.rstrip() + after
    return before + after.lstrip()


def _appended(text: str) -> str:
    if not text.strip():
        return f" {MARK}"
    last = text.rpartition("\n")[2]
    column = len(last) + (_COLUMN if last is text or "\n" not in text else 0)
    if text[-1].isspace():
        return text + MARK
    return f"{text} {MARK}" if column + 1 + len(MARK) <= _LINE else f"{text}\n {MARK}"


def mark_edits(fields: Iterable[Field], tags: Tags) -> tuple[Edit, ...]:
    """Mark every Subject field; a message that has none gets one."""
    values = [field.value for field in fields if is_subject(field)]
    if not values:
        return (Prepend(_NAME, f" {MARK}".encode("ascii")),)
    return tuple(_changes(values, [marked(value, tags) for value in values]))


def unmark_edits(fields: Iterable[Field]) -> tuple[Edit, ...]:
    """Take the mark out of every Subject field."""
    return changed(fields, unmarked)


def changed(fields: Iterable[Field], new: Callable[[bytes], bytes]) -> tuple[Edit, ...]:
    """Put into every Subject field what its raw value is to become."""
    values = [field.value for field in fields if is_subject(field)]
    return tuple(_changes(values, map(new, values)))


def _changes(old: Iterable[bytes], new: Iterable[bytes]) -> list[Change]:
    pairs = enumerate(zip(old, new, strict=True), start=1)
    return [Change(_NAME, index, after) for index, (before, after) in pairs if before != after]
