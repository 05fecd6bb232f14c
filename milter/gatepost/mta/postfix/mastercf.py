"""
The text of master.cf: its services with their options and lines, and the same text with Gatepost's in it.

Options of ours are added after a service's own, where the later one wins (master(5)); services of ours
stand in one block at the end. The admin's lines stay, but for a first line whose chroot column changes: that
one is put aside (see `marks`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gatepost.errors import ConfigError
from gatepost.mta.postfix.marks import lines_of, with_marks

_COLUMNS = 8
_CHROOT_COLUMN = 4


@dataclass(frozen=True, slots=True)
class Service:
    """One service of master.cf: the eight columns, the arguments, and the lines where it stands."""

    name: str
    type: str
    private: str
    unprivileged: str
    chroot: str
    wakeup: str
    limit: str
    command: str
    arguments: tuple[str, ...] = ()
    first: int = 0
    last: int = 0

    @property
    def options(self) -> dict[str, str]:
        """Name the values given with -o; the last of a name wins, as for Postfix."""
        return dict(_options(self.arguments))


@dataclass(frozen=True, slots=True)
class ServiceEdit:
    """What is changed on a service of the admin's: options added, the chroot column set to `n` or left."""

    service: Service
    options: Mapping[str, str] = field(default_factory=dict)
    leave_chroot: bool = False


def services_of(text: str) -> tuple[Service, ...]:
    """Read all services, ConfigError for a line with fewer than eight columns."""
    return tuple(_service(words, first, last) for words, first, last in _logical_lines(lines_of(text)))


def with_edits(text: str, edits: Sequence[ServiceEdit], added: Sequence[str]) -> str:
    """Apply the edits to the admin's services and append the lines `added`. `text` is without marks."""
    lines = lines_of(text)
    aside: set[int] = set()
    blocks: dict[int, list[str]] = {}
    for edit in edits:
        service = edit.service
        if edit.leave_chroot:
            aside.add(service.first)
            blocks[service.first + 1] = [_without_chroot(lines[service.first], service)]
        if edit.options:
            blocks.setdefault(service.last + 1, []).extend(option_lines(edit.options))
    blocks.setdefault(len(lines), []).extend(added)
    return with_marks(text, aside=aside, blocks=blocks)


def entry(service: Service, options: Mapping[str, str]) -> list[str]:
    """Write a service of ours: its columns and arguments, then `options`, a line each."""
    columns = (
        service.name,
        service.type,
        service.private,
        service.unprivileged,
        service.chroot,
        service.wakeup,
        service.limit,
        service.command,
    )
    return ["  ".join((*columns, *service.arguments)), *option_lines(options)]


def option_lines(options: Mapping[str, str]) -> list[str]:
    """Write options as continuation lines; a value with white space goes in braces."""
    return [
        f"  -o {{ {name} = {value} }}" if any(map(str.isspace, value)) else f"  -o {name}={value}"
        for name, value in options.items()
    ]


def _without_chroot(line: str, service: Service) -> str:
    words = line.split()
    if len(words) < _COLUMNS:
        raise ConfigError(
            f"master.cf: service {service.name} {service.type}: write its eight columns on one line, "
            "so that its chroot column can be changed"
        )
    words[_CHROOT_COLUMN] = "n"
    return "  ".join(words)


def _service(words: list[str], first: int, last: int) -> Service:
    if len(words) < _COLUMNS:
        raise ConfigError(f"master.cf: line {first + 1}: expected eight columns, found {len(words)}")
    name, kind, private, unprivileged, chroot, wakeup, limit, command, *arguments = words
    return Service(
        name, kind, private, unprivileged, chroot, wakeup, limit, command, tuple(arguments), first=first, last=last
    )


def _logical_lines(lines: list[str]) -> Iterator[tuple[list[str], int, int]]:
    text, first, last = "", 0, 0
    for index, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line[0].isspace():
            if text:
                yield list(_words(text)), first, last
            text, first = "", index
        text += line
        last = index
    if text:
        yield list(_words(text)), first, last


def _words(text: str) -> Iterator[str]:
    """Split at white space; a word that begins with a brace goes on to the brace that closes it."""
    word, depth = "", 0
    for character in text:
        if character.isspace() and depth == 0:
            if word:
                yield word
            word = ""
            continue
        if character == "{" and (depth or not word):
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        word += " " if character.isspace() else character
    if word:
        yield word


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    words = iter(arguments)
    for word in words:
        if word == "-o":
            setting = next(words, "")
        elif word.startswith("-o"):
            setting = word.removeprefix("-o")
        else:
            continue
        if setting.startswith("{"):
            setting = setting[1:-1]
        name, _, value = setting.partition("=")
        yield name.strip(), value.strip()
