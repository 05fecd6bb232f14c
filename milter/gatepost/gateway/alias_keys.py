"""
Alias keys: under what an address is looked up, in Postfix's order.

canonical(5), virtual(5): user+tag@domain, user@domain; where the domain is $myorigin or served by local(8) also
user+tag, user; then @domain. Tables of patterns (regexp, pcre, cidr, tcp) are asked for the whole address alone.
aliases(5): name+tag, name. A tag that was taken off to find an entry may be put on its targets
(propagate_unmatched_extensions).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_ATOMS = re.compile(r"[^\s\"()<>@,;:\\\[\].]+(?:\.[^\s\"()<>@,;:\\\[\].]+)*")
_NEVER_SPLIT = frozenset({"postmaster", "mailer-daemon", "double-bounce"})


@dataclass(frozen=True, slots=True)
class Key:
    """What is looked up; `tag` was taken off with its delimiter. `whole` tells that it is the whole address."""

    text: str
    tag: str = ""
    whole: bool = False


def address_keys(address: str, delimiters: str, *, by_name: bool) -> tuple[Key, ...]:
    """Give the keys of `local@domain`; `by_name` adds those without domain."""
    local, _, domain = address.rpartition("@")
    name = unquoted(local)
    bare, tag = split_tag(name, delimiters)
    keys = [Key(f"{one}@{domain}", whole=True) for one in _spellings(name)]
    if tag:
        keys += [Key(f"{one}@{domain}", tag) for one in _spellings(bare)]
    if by_name:
        keys += name_keys(local, delimiters)
    return (*keys, Key(f"@{domain}"))


def name_keys(local: str, delimiters: str) -> tuple[Key, ...]:
    """Give the keys of a name in aliases(5)."""
    name = unquoted(local)
    bare, tag = split_tag(name, delimiters)
    keys = [Key(one) for one in _spellings(name)]
    return (*keys, *(Key(one, tag) for one in _spellings(bare))) if tag else tuple(keys)


def split_tag(name: str, delimiters: str) -> tuple[str, str]:
    """Take the tag off a local part, with its delimiter; some names are never split (split_addr in Postfix)."""
    if name.lower() in _NEVER_SPLIT:
        return name, ""
    if "-" in delimiters and (name.lower().startswith("owner-") or name.lower().endswith("-request")):
        return name, ""
    place = next((index for index, sign in enumerate(name) if sign in delimiters), 0)
    return (name[:place], name[place:]) if place else (name, "")


def tagged(targets: Sequence[str], tag: str) -> tuple[str, ...]:
    """Put the tag on each target that has a mailbox name."""
    return tuple(_with_tag(target, tag) for target in targets) if tag else tuple(targets)


def _with_tag(target: str, tag: str) -> str:
    local, at, domain = target.rpartition("@") if "@" in target else (target, "", "")
    return f"{local}{tag}{at}{domain}"


def unquoted(local: str) -> str:
    """Give a local part without the quotes of RFC 5321 section 4.1.2."""
    if len(local) > 1 and local.startswith('"') and local.endswith('"'):
        return re.sub(r"\\(.)", r"\1", local[1:-1])
    return local


def _spellings(name: str) -> Iterator[str]:
    """Give a local part with the quotes that it needs, and without: Postfix asks for both."""
    if not _ATOMS.fullmatch(name):
        yield '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    yield name
